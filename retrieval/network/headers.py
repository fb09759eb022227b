"""What a file of tensors says of itself in its first bytes. Free of torch: any process may ask."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from retrieval.network.architectures import ARCHITECTURES
from retrieval.network.errors import WeightsRefused

_ZIP = b"PK\x03\x04"
_LENGTH_BYTES = 8
# Of the largest published networks it is a few hundred kilobytes.
_MOST_HEADER = 10 * 2**20


def is_pytorch(path: Path) -> bool:
    """Whether this is a PyTorch file: a zip archive, or a bare pickle, which begins with its protocol number."""
    head = _first_bytes(path, count=_LENGTH_BYTES + 1)
    # A safetensors file is a length of eight bytes and then a JSON object.
    return head.startswith(_ZIP) or (head.startswith(b"\x80") and not head.endswith(b"{"))


def check_fit(path: Path, *, architecture: str, frozen_blocks: int) -> None:
    """Raise WeightsRefused where the file is no safetensors file, none of its tensors has a shape of the network, or
    not all that frozen blocks need are there.

    A PyTorch file tells its shapes only when torch opens it: it passes, under a name of its own.
    """
    if is_pytorch(path) and path.suffix != ".safetensors":
        return
    network, shapes = ARCHITECTURES[architecture], _safetensors_shapes(path)
    if not set(shapes) & set(network.weight_shapes()):
        raise WeightsRefused(f"Nothing in {path.name} fits the network {architecture!r}: choose other weights.")
    convolutions = network.convolutions(blocks=frozen_blocks)
    if Counter(shape for name, shape in convolutions.items() if name not in network.added) - Counter(shapes):
        raise WeightsRefused(
            f"The first {frozen_blocks} blocks cannot be frozen: {path.name} does not hold all of their layers. Freeze "
            "fewer blocks, or choose other weights."
        )


def _safetensors_shapes(path: Path) -> list[tuple[int, ...]]:
    """From the header (safetensors' description of its format): a little-endian length, then names and shapes."""
    length = int.from_bytes(_first_bytes(path, count=_LENGTH_BYTES), "little")
    try:
        if length > _MOST_HEADER:
            raise ValueError(length)
        described = json.loads(_first_bytes(path, count=_LENGTH_BYTES + length)[_LENGTH_BYTES:])
        tensors = [each for name, each in described.items() if name != "__metadata__"]
        if not all(isinstance(each, Mapping) for each in tensors):
            raise ValueError(type(tensors))
        # The tensors follow the header without a gap, to the end of the file.
        if tensors and path.stat().st_size != _LENGTH_BYTES + length + max(each["data_offsets"][1] for each in tensors):
            raise ValueError(length)
        return [tuple(int(side) for side in each["shape"]) for each in tensors]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise WeightsRefused(f"{path.name} is not a complete safetensors file.") from error


def _first_bytes(path: Path, *, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise WeightsRefused(f"{path.name} cannot be read.") from error
