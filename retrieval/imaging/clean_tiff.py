"""TIFF without texts, EXIF, XMP, profiles, previews and private tags.

A TIFF file is a web of offsets. None of them moves here: tags that are not needed leave their directory, and every byte
that nothing refers to any more becomes zero, wherever it lies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Literal

from retrieval.imaging.clean_jpeg import jpeg_edits
from retrieval.imaging.stored_form import Piece, Span, edited, length_of

_MANY = 2**32
# TIFF 6.0: sizes, compression, photometry, strips and tiles, palette, sample format, tables of JPEG. Numbers only, and
# no more of them than there can be: a list without an end has room for any text.
_NEEDED = {
    **dict.fromkeys((254, 256, 257, 259, 262, 266, 274, 277, 278, 282, 283, 284, 292, 293, 296, 317, 322, 323, 332), 1),
    **dict.fromkeys((258, 338, 339), 8),
    **dict.fromkeys((273, 279, 324, 325, 347), _MANY),
    **{320: 3 * 2**16, 529: 3, 530: 2, 531: 1, 532: 6},
}
_WIDTHS = {1: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
_UNDEFINED, _JPEG_TABLES = 7, 347
# A palette is looked up in pictures of indices alone.
_PALETTE, _PHOTOMETRY, _OF_INDICES = 320, 262, 3
# Where the pixels lie: strips and tiles, and the lengths of them.
_PIXELS = ((273, 279), (324, 325))
_TILE_OFFSETS = 324
_COMPRESSION, _UNCOMPRESSED, _OLD_JPEG, _JPEG = 259, 1, 6, 7
_MOST_DIRECTORIES = 100_000


@dataclass(frozen=True)
class _Layout:
    """Classic TIFF or BigTIFF: byte order, and the widths of offsets and of the count of a directory's entries."""

    order: Literal["little", "big"]
    offset: int
    count: int

    @property
    def entry(self) -> int:
        return 4 + 2 * self.offset


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The strips or tiles of a page: how many there are in a plane, their rows, the rows of all, bytes of a row."""

    planes: int
    in_plane: int
    rows: int
    height: int
    row: int

    @classmethod
    def of(cls, numbers: dict[int, list[int]], *, tiled: bool) -> "_Parts":
        width, height = numbers[256][0], numbers[257][0]
        samples, bits = numbers.get(277, [1])[0], numbers.get(258, [1])
        planes = samples if numbers.get(284) == [2] else 1
        pixel = max(bits) * (1 if planes > 1 else samples)
        if tiled:
            across, rows = numbers[322][0], numbers[323][0]
            in_plane = -(-width // across) * -(-height // rows)
            return cls(planes=planes, in_plane=in_plane, rows=rows, height=in_plane * rows, row=-(-across * pixel // 8))
        rows = min(numbers.get(278, [height])[0], height)
        in_plane = -(-height // rows)
        return cls(planes=planes, in_plane=in_plane, rows=rows, height=height, row=-(-width * pixel // 8))

    def bytes_of(self, index: int) -> int:
        """Return the most that the part takes without compression. Raises ValueError when there is no such part."""
        if index >= self.planes * self.in_plane:
            raise ValueError("It has more strips than it needs.")
        return self.row * min(self.rows, self.height - index % self.in_plane * self.rows)


def tiff_pieces(data: mmap) -> list[Piece]:
    """Return the pieces to keep. Raises ValueError for what cannot be told apart."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    big = int.from_bytes(data[2:4], order) == 43
    layout = _Layout(order=order, offset=8 if big else 4, count=8 if big else 2)
    header = 16 if big else 8
    kept: list[tuple[int, Piece]] = [(0, Span(0, header))]
    at, seen = int.from_bytes(data[header - layout.offset : header], order), set[int]()
    while at and at not in seen and len(seen) < _MOST_DIRECTORIES:
        seen.add(at)
        at = _keep_directory(data, at=at, layout=layout, kept=kept)
    return _zeros_between(kept, size=len(data))


def _keep_directory(data: mmap, *, at: int, layout: _Layout, kept: list[tuple[int, Piece]]) -> int:
    """Add a page's directory, values and pixels; return where the next directory is."""
    start = at + layout.count
    end = start + int.from_bytes(data[at:start], layout.order) * layout.entry
    following = data[end : end + layout.offset]
    entries: list[tuple[int, bytes, list[tuple[int, Piece]]]] = []
    numbers: dict[int, list[int]] = {}
    for position in range(start, min(end, len(data)), layout.entry):
        entry = data[position : position + layout.entry]
        tag, kind, count = (int.from_bytes(entry[a:b], layout.order) for a, b in ((0, 2), (2, 4), (4, -layout.offset)))
        if count > _NEEDED.get(tag, 0) or kind not in _WIDTHS or (kind == _UNDEFINED) != (tag == _JPEG_TABLES):
            continue
        length, value = count * _WIDTHS[kind], entry[-layout.offset :]
        pieces: list[tuple[int, Piece]] = []
        if length <= layout.offset:
            raw = value[:length]
            entry = entry[: -layout.offset] + raw.ljust(layout.offset, b"\0")
        else:
            where = int.from_bytes(value, layout.order)
            raw = data[where : where + length]
            pieces = [(where, Span(where, length))]
            if tag == _JPEG_TABLES:
                pieces = list(_jpeg_pieces(data, offset=where, length=length))
        entries.append((tag, entry, pieces))
        numbers[tag] = _numbers(raw, width=_WIDTHS[kind], layout=layout)
    if numbers.get(_PHOTOMETRY) != [_OF_INDICES]:
        entries = [each for each in entries if each[0] != _PALETTE]
    for _, _, pieces in entries:
        kept.extend(pieces)
    directory = b"".join(entry for _, entry, _ in entries)
    kept.append((at, len(entries).to_bytes(layout.count, layout.order) + directory + following))
    kept.extend(_pixel_pieces(data, numbers=numbers))
    return int.from_bytes(following, layout.order)


def _pixel_pieces(data: mmap, *, numbers: dict[int, list[int]]) -> Iterator[tuple[int, Piece]]:
    compression = numbers.get(_COMPRESSION, [_UNCOMPRESSED])
    if compression == [_OLD_JPEG]:
        raise ValueError("Its pixels lie where only its decoder knows.")
    for offsets, lengths in _PIXELS:
        places = list(zip(numbers.get(offsets, ()), numbers.get(lengths, ()), strict=True))
        if not places:
            continue
        parts = _Parts.of(numbers, tiled=offsets == _TILE_OFFSETS)
        for index, (offset, length) in enumerate(places):
            most = parts.bytes_of(index)
            if compression == [_JPEG]:
                yield from _jpeg_pieces(data, offset=offset, length=length)
            else:
                yield offset, Span(offset, min(length, most) if compression == [_UNCOMPRESSED] else length)


def _jpeg_pieces(data: mmap, *, offset: int, length: int) -> Iterator[tuple[int, Piece]]:
    """Yield a strip, a tile or the tables of JPEG, emptied as frames of DICOM files are."""
    edits = ((offset + at, replacement) for at, replacement in jpeg_edits(data[offset : offset + length]))
    at = offset
    for piece in edited(Span(offset, length), edits=edits):
        yield at, piece
        at += length_of([piece])


def _numbers(raw: bytes, *, width: int, layout: _Layout) -> list[int]:
    return [int.from_bytes(raw[at : at + width], layout.order) for at in range(0, len(raw), width)]


def _zeros_between(kept: list[tuple[int, Piece]], *, size: int) -> list[Piece]:
    """Order the pieces, and fill what lies between them; where two overlap the first one stands."""
    pieces: list[Piece] = []
    at = 0
    for offset, piece in sorted(kept, key=lambda item: item[0]):
        length = piece.length if isinstance(piece, Span) else len(piece)
        end, skipped = min(offset + length, size), max(0, at - offset)
        if end <= at:
            continue
        if offset > at:
            pieces.append(bytes(offset - at))
        start = offset + skipped
        pieces.append(Span(start, end - start) if isinstance(piece, Span) else piece[skipped : end - offset])
        at = end
    return pieces
