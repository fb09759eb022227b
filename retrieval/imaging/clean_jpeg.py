"""JPEG without EXIF, XMP, IPTC, colour profiles, comments, thumbnails and whatever follows the picture.

Of a file segments are dropped whole (ITU-T T.81, annex B): Pillow cannot do that without compressing the pixels once
more. In a DICOM file, where offsets tell frames apart, they are emptied instead.
"""

import re
from collections.abc import Iterator
from mmap import mmap

from retrieval.imaging.stored_form import Edit, Piece, Span

_END = b"\xff\xd9"
# End of this picture, and start of another one.
_ENDS = (0xD9, 0xD8)
_SCAN, _LINES, _JPEG_LS_PARAMETERS = 0xDA, 0xDC, 0xF8
# What describes the compressed picture: frame headers and tables (C0 to CF, without the reserved C8), scans, restart
# interval (DA to DF), and the frame header of JPEG-LS (ITU-T T.87). Tables are numbers, whatever is written in them.
_NEEDED = (*range(0xC0, 0xC8), *range(0xC9, 0xD0), 0xDA, 0xDB, *range(0xDD, 0xE0), 0xF7)
# Between two scans only a zero (a data byte of FF) or a restart may follow FF.
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)
# In frames of DICOM files: after a scan, where a zero bit follows a data byte of FF, and where no scan was.
_NEXT_OF_FRAME = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]", re.DOTALL)
_FIRST_OF_FRAME = re.compile(rb"\xff++[\xc0-\xcf\xd9-\xfe]", re.DOTALL)
# What of a segment says how colours are stored: a name with a version, of Adobe's also the transformation.
_COLOURS = ((b"JFIF", 7), (b"Adobe", 12))


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
    if marker == _LINES:
        return b"\xff\xdc\x00\x04" + data[at + 4 : at + 6]
    if marker == 0xE0 and data[at + 4 : at + 9] == b"JFIF\0" and end - at >= 18:
        return b"\xff\xe0\x00\x10" + data[at + 4 : at + 16] + b"\0\0"
    if marker == 0xEE and data[at + 4 : at + 9] == b"Adobe" and end - at >= 16:
        return b"\xff\xee\x00\x0e" + data[at + 4 : at + 16]
    return b""


def jpeg_edits(frame: bytes) -> Iterator[Edit]:
    """Yield zeros for what a JPEG or JPEG-LS frame, or a part of a TIFF file, holds besides its picture.

    Raises ValueError when its segments cannot be walked.
    """
    for marker, inside, after in _segments(frame):
        inside = min(inside + _needed_length(frame[inside:after], marker=marker), after)
        yield inside, bytes(after - inside)


def lost_its_end(frame: bytes) -> bool:
    """Tell a frame that no end follows after its last scan: a decoder draws the rest of it, and notices nothing."""
    try:
        return all(marker != _END[1] for marker, _, _ in _segments(frame))
    except ValueError:
        # Cut in a segment between two scans, or else broken: what has no scan the decoder refuses.
        scan = frame.rfind(bytes([0xFF, _SCAN]))
        return scan >= 0 and _END not in frame[scan:]


def _segments(frame: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, begin and end of what each segment holds; of the end of the picture, whatever follows it."""
    at, scanned = 2, False
    if not frame.startswith(b"\xff\xd8"):
        raise ValueError("It does not begin as a picture does.")
    while found := _NEXT_OF_FRAME.search(frame, at) if scanned else _FIRST_OF_FRAME.match(frame, at):
        at, marker = found.end(), found.group()[-1]
        if marker == _END[1]:
            yield marker, at, len(frame)
            return
        inside, after = at + 2, at + int.from_bytes(frame[at : at + 2], "big")
        if not inside <= after <= len(frame):
            raise ValueError("A segment of it does not end.")
        yield marker, inside, after
        at, scanned = after, marker == _SCAN
    # Within a TIFF file a picture whose end was lost is drawn all the same: its last scan takes the rest, nothing else.
    if not scanned:
        raise ValueError("What stands between its segments is none.")


def _needed_length(segment: bytes, *, marker: int) -> int:
    """Return how many bytes of the segment a decoder needs."""
    if marker in _NEEDED:
        return len(segment)
    if marker == _LINES:
        return 2
    if marker == _JPEG_LS_PARAMETERS:
        # Thresholds (1) and the reversible colour transformation (13).
        return {1: 11, 13: len(segment)}.get(segment[0], 0) if segment else 0
    if 0xE0 <= marker < 0xF0:
        return next((length for name, length in _COLOURS if segment.startswith(name)), 0)
    return 0
