"""PNG without texts, EXIF, time, colour profile, further pictures and whatever follows the picture."""

import zlib
from mmap import mmap

from retrieval.imaging.stored_form import Piece, Span

_SIGNATURE = 8
# What is needed to show the pixels as they are meant (PNG specification, 3rd edition, 11): numbers only.
_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"pHYs", b"bKGD")


def png_pieces(data: mmap, *, orientation: bytes) -> list[Piece]:
    """Return the pieces to keep; `orientation` is an EXIF block or b""."""
    pieces: list[Piece] = [Span(0, _SIGNATURE)]
    at, kind = _SIGNATURE, b""
    while kind != b"IEND" and at + 12 <= len(data):
        kind, length = data[at + 4 : at + 8], 12 + int.from_bytes(data[at : at + 4], "big")
        if kind in _NEEDED:
            pieces.append(Span(at, min(length, len(data) - at)))
        if kind == b"IHDR" and orientation:
            pieces.append(_chunk(b"eXIf", orientation.removeprefix(b"Exif\0\0")))
        at += length
    return pieces


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
