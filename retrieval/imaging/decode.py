"""One file -> its Renderings, in this process: meant for the child of the sandbox, never for a worker itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from retrieval.imaging.dicom import read_dicom
from retrieval.imaging.errors import FileRefused
from retrieval.imaging.limits import ACCEPTED, MIB, Limits
from retrieval.imaging.raster import read_raster
from retrieval.imaging.render import render
from retrieval.imaging.rendering import Rendering
from retrieval.imaging.signatures import kind_of, read_head

_RASTERS = ("PNG", "JPEG", "TIFF")


def render_file(path: Path, *, limits: Limits, frames: Literal["all", "middle"]) -> Iterator[Rendering]:
    """Yield the frames of the file. Raises FileRefused, also midway when a later frame is broken."""
    _check_length(path, limits=limits)
    kind = kind_of(read_head(path))
    if kind == "DICOM":
        pictures = read_dicom(path, limits=limits, frames=frames)
    elif kind in _RASTERS:
        pictures = read_raster(path, limits=limits, frames=frames)
    else:
        raise FileRefused(f"This file is {_named(kind)}. {ACCEPTED}")
    for picture in pictures:
        yield render(picture, limits=limits)


def _check_length(path: Path, *, limits: Limits) -> None:
    length = path.stat().st_size
    if not length:
        raise FileRefused("The file is empty.")
    if length > limits.file_bytes:
        raise FileRefused(f"The file is larger than {limits.file_bytes // MIB} MB, the most that is read.")


def _named(kind: str) -> str:
    if not kind:
        return "not an image that can be read here"
    if kind.endswith("archive"):
        return f"a {kind} inside the upload; archives are not unpacked twice"
    return f"a {kind}"
