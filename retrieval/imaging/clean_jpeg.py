"""JPEG without EXIF, XMP, IPTC, colour profiles, comments, thumbnails and whatever follows the picture.

Segments are dropped whole (ITU-T T.81, annex B). Pillow cannot do that without compressing the pixels once more.
"""

import re
from mmap import mmap

from retrieval.imaging.stored_form import Piece, Span

_END = b"\xff\xd9"
# End of this picture, and start of another one.
_ENDS = (0xD9, 0xD8)
_SCAN = 0xDA
# What describes the compressed picture: frame headers and tables (C0 to CF), scans, restart interval (DA to DF).
_NEEDED = (*range(0xC0, 0xD0), *range(0xDA, 0xE0))
# Between two scans only a zero (a data byte of FF) or a restart may follow FF.
_NEXT_MARKER = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]", re.DOTALL)


def jpeg_pieces(data: mmap, *, orientation: bytes) -> list[Piece]:
    """Return the pieces to keep; `orientation` is an EXIF block or b""."""
    pieces: list[Piece] = [Span(0, 2)]
    if orientation:
        pieces.append(b"\xff\xe1" + (len(orientation) + 2).to_bytes(2, "big") + orientation)
    at = 2
    while found := _NEXT_MARKER.search(data, at):
        at, marker = found.end() - 2, found.group()[-1]
        if marker in _ENDS:
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        pieces.append(_segment(data, marker=marker, at=at, end=end))
        if marker == _SCAN:
            following = _NEXT_MARKER.search(data, end)
            scanned = following.start() if following else len(data)
            pieces.append(Span(end, scanned - end))
            end = scanned
        at = end
    return [*(piece for piece in pieces if piece), _END]


def _segment(data: mmap, *, marker: int, at: int, end: int) -> Piece:
    """Return what stays of the segment. JFIF and Adobe say how colours are stored: these few bytes of them stay."""
    if marker in _NEEDED:
        return Span(at, end - at)
    if marker == 0xE0 and data[at + 4 : at + 9] == b"JFIF\0" and end - at >= 18:
        return b"\xff\xe0\x00\x10" + data[at + 4 : at + 16] + b"\0\0"
    if marker == 0xEE and data[at + 4 : at + 9] == b"Adobe" and end - at >= 16:
        return b"\xff\xee\x00\x0e" + data[at + 4 : at + 16]
    return b""
