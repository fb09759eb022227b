"""A JPEG 2000 or High-Throughput JPEG 2000 frame without comments and whatever follows the picture.

Marker segments that are not needed become empty comments of the same length (ITU-T T.800, annex A); boxes of a JP2
file, which a frame may be though it should not (PS3.5, A.4.4), become free space (annex I).
"""

from collections.abc import Generator, Iterator

from retrieval.imaging.stored_form import Edit

_SOC, _SOT, _SOD, _EOC = b"\xff\x4f", b"\xff\x90", b"\xff\x93", b"\xff\xd9"
_COMMENT = b"\x64"
# How the samples are coded, in parts 1, 2 and 15. The tables of lengths (TLM, PLM, PLT), which only help to find one's
# way, may hold anything as long as nobody uses them.
_NEEDED = bytes.fromhex("50 51 52 53 56 59 5c 5d 5e 5f 60 61 72 73 74 75 76 77 78 79")
_WITHOUT_LENGTH = range(0x30, 0x40)
_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
# What is needed of each box at most: of the file type one compatible brand, of colours the number of their space, of
# depths and meanings of channels those of four.
_NEEDED_BOXES = {b"jP  ": 4, b"ftyp": 12, b"ihdr": 14, b"bpcc": 4, b"colr": 7, b"cdef": 26}
_COLOURS_BY_NUMBER = 1
# A profile goes, but decoders insist on the box.
_COLOURS_BY_PROFILE = 3
_PALETTES = (b"pclr", b"cmap")


def jpeg2000_edits(frame: bytes) -> Iterator[Edit]:
    """Yield what has to stand in place of everything but the picture. Raises ValueError when it cannot be walked."""
    if frame.startswith(_SIGNATURE):
        yield from _boxes(frame, at=0, end=len(frame))
    else:
        yield from _codestream(frame, at=0)


def _codestream(data: bytes, *, at: int) -> Iterator[Edit]:
    if not data.startswith(_SOC, at):
        raise ValueError("It does not begin as a codestream does.")
    at = yield from _header(data, at=at + 2, until=_SOT)
    while data.startswith(_SOT, at):
        length = int.from_bytes(data[at + 6 : at + 10], "big")
        samples = yield from _header(data, at=at + 12, until=_SOD)
        # No sample looks like the end of the codestream: bits are stuffed so that none does.
        found = data.find(_EOC, samples)
        end = found if found >= 0 else len(data)
        at = min(at + length, len(data)) if length else end
        if not samples <= at <= end:
            raise ValueError("A part of it does not end where it says.")
    if data.startswith(_EOC, at):
        at += 2
    elif len(data) - at > 1:  # more than a byte of padding
        raise ValueError("It does not end where it says.")
    yield at, bytes(len(data) - at)


def _header(data: bytes, *, at: int, until: bytes) -> Generator[Edit, None, int]:
    """Walk marker segments; return where the marker `until` is, of SOD where what follows it begins."""
    while not data.startswith(until, at):
        marker, length = data[at : at + 2], int.from_bytes(data[at + 2 : at + 4], "big")
        after = at + 2 + length
        if length < 2 or after > len(data) or marker[0] != 0xFF or marker[1] in _WITHOUT_LENGTH:
            raise ValueError("Its markers cannot be walked.")
        if marker[1] not in _NEEDED:
            yield at + 1, _COMMENT + data[at + 2 : at + 4] + bytes(length - 2)
        at = after
    return at + 2 if until == _SOD else at


def _boxes(data: bytes, *, at: int, end: int) -> Iterator[Edit]:
    while end - at >= 8:
        length, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        inside, after = at + head, at + length if length else end
        if not inside <= after <= end:
            raise ValueError("Its boxes cannot be walked.")
        if kind == b"jp2c":
            # It ends where it says itself, as decoders take it; what follows is not needed.
            yield from _codestream(data, at=inside)
            return
        if kind == b"jp2h":
            yield from _boxes(data, at=inside, end=after)
        else:
            yield from _box(data, kind=kind, at=at, inside=inside, after=after)
        at = after
    yield at, bytes(end - at)


def _box(data: bytes, *, kind: bytes, at: int, inside: int, after: int) -> Iterator[Edit]:
    if kind in _PALETTES:
        raise ValueError("Its palette could hold anything.")
    if kind not in _NEEDED_BOXES:
        yield at + 4, b"free"
    needed = _NEEDED_BOXES.get(kind, 0)
    if kind == b"colr" and data[inside] != _COLOURS_BY_NUMBER:
        needed = _COLOURS_BY_PROFILE
    used = min(inside + needed, after)
    yield used, bytes(after - used)
