"""The weights that a network starts from: none, VGG16's from ImageNet, or those of a file, complete or in part."""

import errno
import hashlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor

from retrieval.network.architectures import ARCHITECTURES
from retrieval.network.errors import WeightsRefused, WeightsUnavailable
from retrieval.network.tensor_files import read_metadata, read_tensors
from retrieval.network.version_file import LoadedVersion, load_version, save_version
from retrieval.network.vgg import VGG, empty_network, weighted_layers

__all__ = [
    "LoadReport",
    "LoadedVersion",
    "Source",
    "initial_weights",
    "layer_names",
    "load_version",
    "save_version",
]

Source = Literal["imagenet", "none"] | Path

_CONNECT_SECONDS = 15.0
# torchvision's names, behind any prefix that a wrapping module may have added.
_KEY = re.compile(r"(?:.*\.)?((?:features|classifier)\.\d+)\.(weight|bias)")
# `vgg16().features` saved on its own.
_BARE_KEY = re.compile(r"(\d+)\.(weight|bias)")
# Of others torch does not know all that is asked of weights: eight bits can't be compared, to begin with.
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What became of the tensors. `loaded`, `missing` and `shape_mismatch` are the network's parameter names.

    Parameters that are missing or do not fit keep what they had. `unexpected` are names of the file that the network
    has no place for. `identity` are the missing ones that start as the identity: their absence changes nothing.
    `replaced` were in the file, and start fresh all the same.
    """

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shape_mismatch: list[str] = field(default_factory=list)
    identity: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)

    def with_fresh(self, layer: str) -> Self:
        """Return the report after the layer was made anew, whatever the file has of it."""
        own = [name for name in self.loaded if name.rpartition(".")[0] == layer]
        kept = [name for name in self.loaded if name not in own]
        return replace(self, loaded=kept, replaced=[*self.replaced, *own])

    def fresh_layers(self) -> set[str]:
        """Names of the layers that begin with random weights, at least in part."""
        fresh = {*self.missing, *self.shape_mismatch, *self.replaced} - set(self.identity)
        return {name.rpartition(".")[0] for name in fresh}

    def summary(self) -> str:
        """Return one sentence for people."""
        total = len(self.loaded) + len(self.missing) + len(self.shape_mismatch) + len(self.replaced)
        parts = [f"{len(self.loaded)} of {total} parameters loaded"]
        fresh = [name for name in self.missing if name not in self.identity]
        parts += [f"{len(self.identity)} start as the identity"] if self.identity else []
        why = "are not in the file and " if self.loaded else ""
        parts += [f"{len(fresh)} {why}start fresh"] if fresh else []
        parts += [f"{len(self.shape_mismatch)} have another shape and start fresh"] if self.shape_mismatch else []
        parts += [f"{len(self.replaced)} of the file are not used and start fresh"] if self.replaced else []
        parts += [f"{len(self.unexpected)} tensors of the file have no place"] if self.unexpected else []
        return "; ".join(parts) + "."


def initial_weights(network: VGG, *, source: Source) -> LoadReport:
    """Copy weights into `network`, by VGG16's layer names or by those of one of our own files.

    "none" leaves it as it was built. "imagenet" is torchvision's VGG16_Weights.IMAGENET1K_V1, from PyTorch's cache or
    downloaded into it. Raises WeightsUnavailable when that fails, WeightsRefused for a file that is damaged, has
    values that are not finite or no plain floating-point numbers, or in which nothing fits the network; the network is
    then unchanged.
    """
    if source == "none":
        return LoadReport(missing=list(network.state_dict()), identity=_identity_parameters(network))
    path = _imagenet_file() if source == "imagenet" else Path(source)
    return _copy_tensors(network, _named_for(network, tensors=read_tensors(path), metadata=read_metadata(path)))


def layer_names(*, source: str, target: str) -> dict[str, str]:
    """Return {layer name in architecture `source`: the same layer's name in `target`}, where both have it.

    The layers that VGG16 does not have shift the numbers of all that follow them.
    """
    ours, theirs = _roles(target), _roles(source)
    return {name: ours[role] for role, name in theirs.items() if role in ours}


def _roles(architecture: str) -> dict[str, str]:
    """Return {role: layer name}: VGG16's layers are numbered, the added ones keep their names as roles."""
    names = weighted_layers(empty_network(architecture, classes=1))
    added = ARCHITECTURES[architecture].added
    shared = enumerate(name for name in names if name not in added)
    return {str(number): name for number, name in shared} | {name: name for name in names if name in added}


def _named_for(network: VGG, *, tensors: dict[str, Tensor], metadata: dict[str, object]) -> dict[str, Tensor]:
    """Rename the file's tensors as the network names them; a name without a place there stays as it is."""
    # The projection in a file of our own belongs to the features that it was fitted on, not to a new training.
    tensors = {name: tensor for name, tensor in tensors.items() if not (metadata and name.startswith("projection."))}
    plain = {_plain_name(name): tensor for name, tensor in tensors.items()}
    if len(plain) < len(tensors):
        raise WeightsRefused("The file holds the same layer more than once, behind different prefixes.")
    named = metadata.get("architecture")
    origin = named if isinstance(named, str) and named in ARCHITECTURES else _likely_architecture(plain)
    places = layer_names(source=origin, target=network.architecture.name)
    return {_renamed(name, places=places): tensor for name, tensor in plain.items()}


def _plain_name(name: str) -> str:
    if match := _KEY.fullmatch(name):
        return f"{match[1]}.{match[2]}"
    return f"features.{name}" if _BARE_KEY.fullmatch(name) else name


def _renamed(name: str, *, places: dict[str, str]) -> str:
    layer, _, parameter = name.rpartition(".")
    return f"{places[layer]}.{parameter}" if layer in places else f"(file) {name}"


def _likely_architecture(names: Iterable[str]) -> str:
    """VGG16, unless the added convolution is there: in VGG16 that number is a max-pool, which has no weight."""
    return "published" if "features.4.weight" in names else "vgg16"


def _copy_tensors(network: VGG, tensors: dict[str, Tensor]) -> LoadReport:
    parameters = network.state_dict()
    fitting = {name for name, tensor in tensors.items() if name in parameters and _fits(tensor, parameters[name])}
    if not fitting:
        raise WeightsRefused(f"Nothing in the file fits the network {network.architecture.name!r}.")
    for name in sorted(fitting):
        _check_values(name, tensors[name])
    for name in fitting:
        parameters[name].copy_(tensors[name])
    return LoadReport(
        loaded=[name for name in parameters if name in fitting],
        missing=[name for name in parameters if name not in tensors],
        unexpected=sorted(name.removeprefix("(file) ") for name in tensors if name not in parameters),
        shape_mismatch=[name for name in parameters if name in tensors and name not in fitting],
        identity=[name for name in _identity_parameters(network) if name not in tensors],
    )


def _identity_parameters(network: VGG) -> list[str]:
    return [name for name in network.state_dict() if name.rpartition(".")[0] in network.architecture.added]


def _fits(tensor: Tensor, parameter: Tensor) -> bool:
    # A nested tensor has no shape to ask for.
    return not tensor.is_nested and tensor.shape == parameter.shape


def _check_values(name: str, tensor: Tensor) -> None:
    if tensor.layout != torch.strided or tensor.is_meta or tensor.dtype not in _FLOATS:
        raise WeightsRefused(
            f"The tensor {name} is of a kind that cannot be used as weights: save it with all its values, as "
            "floating-point numbers of 16, 32 or 64 bits."
        )
    # In float32 they are used, and large numbers of 64 bits are none there.
    if not torch.isfinite(tensor.float()).all():
        raise WeightsRefused(f"The tensor {name} holds values that are not finite numbers.")


def _imagenet_file() -> Path:
    """Return torchvision's file in PyTorch's cache, downloaded if it is not there yet, its checksum verified."""
    url = _imagenet_url()
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    expected = path.stem.rpartition("-")[2]
    if not path.exists():
        _download(url, path=path, checksum=expected)
    with path.open("rb") as file:
        if not hashlib.file_digest(file, "sha256").hexdigest().startswith(expected):
            raise WeightsRefused(f"{path} does not have the checksum in its name: delete it, it is fetched again.")
    return path


def _download(url: str, *, path: Path, checksum: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # torch.hub waits for ever where a firewall swallows packets: ask for the first byte within a limit.
        with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as reply:  # noqa: S310  a constant address
            reply.read(1)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=checksum, progress=False)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsUnavailable(
                f"The disk is full: the ImageNet weights could not be stored in {path.parent}. Free some space, then "
                "try again."
            ) from error
        raise WeightsUnavailable(
            f"The ImageNet weights could not be downloaded. Fetch {url} elsewhere and put it at {path}, "
            'or start from a weights file of your own, or without weights ("none").'
        ) from error


def _imagenet_url() -> str:
    # Imported late: torchvision takes a second, and only this source needs it.
    from torchvision.models import VGG16_Weights

    return VGG16_Weights.IMAGENET1K_V1.url
