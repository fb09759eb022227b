"""Where a training run stands after an epoch, as files: a run that is interrupted goes on from the last one."""

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from retrieval.disk import sync_folder
from retrieval.network.tensor_files import write_tensors

_KEY = "state"
_DAMAGED = (SafetensorError, OSError, KeyError, ValueError)


def save_tensors(path: Path, *, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write the file, whole or not at all, and make sure that it is on the disk. Raises OSError, as on a full disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of a process that was killed while it wrote: a gigabyte each.
    for half in path.parent.glob(f".{path.name}.*"):
        half.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write_tensors(temporary, tensors=tensors, metadata={_KEY: json.dumps(state)})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and the state of a file, or None where there is none or it is damaged: then begin anew."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, _state(file)  # noqa: SIM118
    except _DAMAGED:
        return None


def load_state(path: Path) -> dict[str, Any]:
    """Return the state of a file without reading its tensors, {} where there is none or it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return _state(file)
    except _DAMAGED:
        return {}


def _state(file: Any) -> dict[str, Any]:
    return json.loads((file.metadata() or {})[_KEY])
