"""One file -> its Renderings, in this process: meant for the child of the sandbox, never for a worker itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from retrieval.imaging.dicom import read_dicom
from retrieval.imaging.errors import FileRefused
from retrieval.imaging.limits import MIB, Limits
from retrieval.imaging.raster import read_raster
from retrieval.imaging.render import render
from retrieval.imaging.rendering import Rendering
from retrieval.imaging.signatures import check_kind, read_head


def render_file(path: Path, *, limits: Limits, frames: Literal["all", "middle"]) -> Iterator[Rendering]:
    """Yield the frames of the file. Raises FileRefused, also midway when a later frame is broken."""
    _check_length(path, limits=limits)
    read = read_dicom if check_kind(read_head(path)) == "DICOM" else read_raster
    for picture in read(path, limits=limits, frames=frames):
        yield render(picture, limits=limits)


def _check_length(path: Path, *, limits: Limits) -> None:
    length = path.stat().st_size
    if not length:
        raise FileRefused("The file is empty.")
    if length > limits.file_bytes:
        raise FileRefused(f"The file is larger than {limits.file_bytes // MIB} MB, the most that is read.")
