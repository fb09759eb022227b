"""One file -> the form of it that may be kept, in this process: meant for the child of the sandbox (see decode.py).

Compressed pixels are never touched: all that changes is what stands around them.
"""

import mmap
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from retrieval.imaging.clean_dicom import dicom_pieces
from retrieval.imaging.clean_jpeg import jpeg_pieces
from retrieval.imaging.clean_png import png_pieces
from retrieval.imaging.clean_tiff import tiff_pieces
from retrieval.imaging.errors import FileRefused
from retrieval.imaging.limits import Limits
from retrieval.imaging.signatures import check_kind, read_head
from retrieval.imaging.stored_form import Piece

_ORIENTATION = 0x0112
_CANNOT = "What is written in this file besides its picture cannot be removed, so it is not kept. Save it as PNG."
_WITH_EXIF: dict[str, Callable[..., list[Piece]]] = {"JPEG": jpeg_pieces, "PNG": png_pieces}


def clean_file(path: Path, *, limits: Limits, uid_key: str) -> list[Piece]:
    """Return the pieces to store of a file that was rendered. Raises FileRefused."""
    kind = check_kind(read_head(path))
    if kind == "DICOM":
        return dicom_pieces(path, limits=limits, uid_key=uid_key)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if kind == "TIFF":
                return tiff_pieces(data)
            return _WITH_EXIF[kind](data, orientation=_orientation(path))
    except MemoryError:
        raise
    except Exception as error:
        raise FileRefused(_CANNOT) from error


def _orientation(path: Path) -> bytes:
    """Return an EXIF block that says how to hold the picture and nothing else, b"" where it stands upright."""
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            orientation = image.getexif().get(_ORIENTATION)
    except MemoryError:
        raise
    except Exception:
        return b""
    if orientation not in range(2, 9):
        return b""
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return exif.tobytes()
