"""A model version as one safetensors file: the network, the projection, and a description as JSON."""

import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retrieval.disk import sync_folder
from retrieval.network.errors import WeightsRefused
from retrieval.network.preprocessing import Preprocessing
from retrieval.network.projection import Projection
from retrieval.network.tensor_files import METADATA_KEY, read_metadata, read_tensors, write_tensors
from retrieval.network.vgg import VGG, empty_network

_FORMAT = 1
_NETWORK = "network."
_MEAN = "projection.mean"
_MATRIX = "projection.matrix"


@dataclass(frozen=True, kw_only=True)
class LoadedVersion:
    """One model version. The network is in evaluation mode, float32, its parameters mapped from the file.

    `classes` names the network's outputs in order; it is empty for a network whose head was never trained.
    """

    architecture: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    network: VGG
    projection: Projection


def save_version(
    path: Path,
    *,
    network: VGG,
    preprocessing: Preprocessing,
    projection: Projection,
    classes: Sequence[str],
    notes: Mapping[str, Any] | None = None,
) -> str:
    """Write the file, whole or not at all, and return its SHA-256 in hex.

    `classes` is empty for a head that was never trained. `notes` are JSON values that tell whoever finds the file where
    it came from; nothing reads them here. Raises ValueError when the classes or the projection do not belong to the
    network, and OSError.
    """
    _check_classes(classes, network=network)
    if projection.mean.size not in _widths(network):
        raise ValueError(f"The projection is for {projection.mean.size} features.")
    description = {
        "format": _FORMAT,
        "architecture": network.architecture.name,
        "outputs": network.classes,
        "classes": list(classes),
        "preprocessing": preprocessing.to_dict(),
        "notes": dict(notes or {}),
    }
    return _write(path, tensors=_tensors(network, projection=projection), description=json.dumps(description))


def load_version(path: Path) -> LoadedVersion:
    """Return the version in `path`. Raises WeightsRefused for anything that save_version would not have written.

    The parameters stay in the file and are read as they are used: replace such a file, never write into it.
    """
    description = read_metadata(path)
    if description.get("format") != _FORMAT:
        raise WeightsRefused(f"{path.name} is not a model version of this system.")
    tensors = read_tensors(path)
    try:
        network = _network(description, tensors=tensors)
        return LoadedVersion(
            architecture=network.architecture.name,
            classes=tuple(description["classes"]),
            preprocessing=Preprocessing.from_dict(description["preprocessing"]),
            network=network,
            projection=_projection(tensors, network=network),
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsRefused(f"{path.name} is not a sound model version: {_first_lines(error)}") from error


def _check_classes(classes: Sequence[str], *, network: VGG) -> None:
    named = not isinstance(classes, str) and all(isinstance(name, str) and name for name in classes)
    if not named or len(set(classes)) < len(classes):
        raise ValueError("Classes are distinct names.")
    if len(classes) not in (0, network.classes):
        raise ValueError(f"The network has {network.classes} classes, not {len(classes)}.")


def _tensors(network: VGG, *, projection: Projection) -> dict[str, Tensor]:
    parameters = {_NETWORK + name: tensor.float().cpu().contiguous() for name, tensor in network.state_dict().items()}
    return parameters | {_MEAN: torch.from_numpy(projection.mean), _MATRIX: torch.from_numpy(projection.matrix)}


def _write(path: Path, *, tensors: dict[str, Tensor], description: str) -> str:
    """Temporary file, fsync, rename, fsync of the folder: a crash leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write_tensors(temporary, tensors=tensors, metadata={METADATA_KEY: description})
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return digest


def _network(description: dict[str, Any], *, tensors: dict[str, Tensor]) -> VGG:
    network = empty_network(str(description["architecture"]), classes=_count(description["outputs"]))
    _check_classes(description["classes"], network=network)
    parameters = {name.removeprefix(_NETWORK): t for name, t in tensors.items() if name.startswith(_NETWORK)}
    if foreign := [name for name in tensors if not name.startswith(_NETWORK) and name not in (_MEAN, _MATRIX)]:
        raise ValueError(f"it holds the foreign tensor {foreign[0]}.")
    if any(tensor.dtype != torch.float32 for tensor in parameters.values()):
        raise ValueError("its parameters are not float32.")
    network.load_state_dict(parameters, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def _count(value: Any) -> int:
    """A head of any size costs nothing before its tensors are compared, but it has to be a number."""
    if type(value) is not int:
        raise TypeError("its number of outputs is not a number.")
    return value


def _projection(tensors: dict[str, Tensor], *, network: VGG) -> Projection:
    mean, matrix = (np.array(tensors[name].numpy()) for name in (_MEAN, _MATRIX))
    if mean.dtype != np.float32 or matrix.dtype != np.float32 or mean.size not in _widths(network):
        raise ValueError("its projection does not fit the network.")
    return Projection(mean=mean, matrix=matrix)


def _widths(network: VGG) -> tuple[int, int]:
    """What a projection may be for: all features, or in a version of before local features the dense ones."""
    return network.architecture.width, network.architecture.dense_width


def _first_lines(error: Exception) -> str:
    """PyTorch names every tensor that does not fit; the first two lines say enough."""
    text = f"{error} is missing." if isinstance(error, KeyError) else str(error)
    return " ".join(line.strip() for line in text.splitlines()[:2])
