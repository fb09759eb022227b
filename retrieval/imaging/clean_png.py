"""PNG without texts, EXIF, time, colour profile, further pictures and whatever follows the picture."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap
from typing import Any

from retrieval.imaging.stored_form import Piece, Span

_SIGNATURE, _CHUNK = 8, 2**20
# What is needed to show the pixels as they are meant (PNG specification, 3rd edition, 11): numbers only, and at most so
# many bytes of them.
_LENGTHS = {b"IHDR": 13, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"sBIT": 4, b"pHYs": 9, b"IEND": 0}
# By colour type: a palette is needed by indices alone, and opacity has a channel of its own or comes in a chunk.
_BY_COLOUR: dict[bytes, dict[int, int]] = {b"PLTE": {3: 768}, b"tRNS": {0: 2, 2: 6, 3: 256}}
# Of those a decoder reads what it needs and passes over the rest. Any other chunk that is too long is none.
_CUT = (b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"IEND")
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# First column and row, and the steps to the next ones, of the passes of an interlaced picture (8.1).
_INTERLACED = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_AT_ONCE = ((0, 0, 1, 1),)


def png_pieces(data: mmap, *, orientation: bytes) -> list[Piece]:
    """Return the pieces to keep; `orientation` is an EXIF block or b"".

    Raises ValueError or zlib.error for pixels that are followed by more data than the picture takes.
    """
    pieces: list[Piece] = [Span(0, _SIGNATURE)]
    pixels = _Pixels(most=_unpacked_length(data))
    at, kind = _SIGNATURE, b""
    while kind != b"IEND" and at + 12 <= len(data):
        kind, length = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4], "big")
        used = pixels.used(data, at=at + 8, length=length) if kind == b"IDAT" else _needed(kind, colour=data[25])
        if used is not None and used >= length:
            pieces.append(Span(at, min(12 + length, len(data) - at)))
        elif used is not None and kind in _CUT:
            pieces.append(_chunk(kind, data[at + 8 : at + 8 + used]))
        if kind == b"IHDR" and orientation:
            pieces.append(_chunk(b"eXIf", orientation.removeprefix(b"Exif\0\0")))
        at += 12 + length
    return pieces


def _needed(kind: bytes, *, colour: int) -> int | None:
    """Return how many bytes of the chunk are needed at most, None when it is not."""
    return _BY_COLOUR[kind].get(colour) if kind in _BY_COLOUR else _LENGTHS.get(kind)


@dataclass
class _Pixels:
    """The compressed pixels, from one chunk to the next. most: the bytes that they may unpack to."""

    most: int
    inflater: Any = field(default_factory=zlib.decompressobj)
    unpacked: int = 0

    def used(self, data: mmap, *, at: int, length: int) -> int | None:
        """Return how many bytes of the chunk are of the compressed pixels."""
        if self.inflater.eof:
            return None
        end = min(at + length, len(data))
        for start in range(at, end, _CHUNK):
            part = data[start : min(start + _CHUNK, end)]
            for unpacked in self._unpacked(part):
                self.unpacked += unpacked
                if self.unpacked > self.most:
                    raise ValueError("It holds more than its pixels.")
            if self.inflater.eof:
                return start + len(part) - len(self.inflater.unused_data) - at
        return length

    def _unpacked(self, part: bytes) -> Iterator[int]:
        while part and not self.inflater.eof:
            yield len(self.inflater.decompress(part, _CHUNK))
            part = self.inflater.unconsumed_tail


def _unpacked_length(data: mmap) -> int:
    """Return the bytes of all lines with their filter bytes (9.1), by the header."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    depth, colour, interlaced = data[24], data[25], data[28]
    length = 0
    for column, row, across, down in _INTERLACED if interlaced else _AT_ONCE:
        columns, rows = -((column - width) // across), -((row - height) // down)
        if columns > 0 and rows > 0:
            length += rows * (1 + -(-columns * depth * _SAMPLES[colour] // 8))
    return length


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
