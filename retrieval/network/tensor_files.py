"""Files of tensors. One that is read may be damaged, foreign or hostile: nothing that it says is ever executed."""

import errno
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from retrieval.network.errors import WeightsRefused
from retrieval.network.headers import is_pytorch

# The key of the file's metadata under which a model version is described.
METADATA_KEY = "model_version"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or of a PyTorch file, on the CPU, mapped from the disk where possible.

    What it is, is told from its first bytes and not from its name. Raises WeightsRefused.
    """
    return _read_pytorch(path) if is_pytorch(path) else _read_safetensors(path)


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the description that save_version left in a safetensors file, {} where there is none.

    Raises WeightsRefused for a damaged file and for a description that is not a JSON object.
    """
    if is_pytorch(path):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(METADATA_KEY, "{}")
        described = json.loads(text)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise WeightsRefused(f"{path.name} is not a complete safetensors file.") from error
    if not isinstance(described, Mapping):
        raise WeightsRefused(f"{path.name} has a description that cannot be read.")
    return dict(described)


def write_tensors(path: Path, *, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file. Raises OSError with the system's number, as on a full disk."""
    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        # The library tells the system's error in its text only.
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            # The file's keys() is a method of its own, and iterating over the file itself is not supported.
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsRefused(f"{path.name} is not a complete safetensors file.") from error


def _read_pytorch(path: Path) -> dict[str, Tensor]:
    """`weights_only` admits tensors and plain containers: a pickle that would run code is refused before it does."""
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for damaged files, pickle as many again
        raise WeightsRefused(f"{path.name} is damaged, or holds something other than tensors.") from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping):
        raise WeightsRefused(f"{path.name} holds no named tensors.")
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
