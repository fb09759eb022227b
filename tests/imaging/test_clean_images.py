"""Places in PNG, JPEG and TIFF files where a text passes for a part of the picture."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from retrieval.imaging import FileRefused
from tests.imaging.conftest import Clean, Decode
from tests.imaging.files import colours, ramp, saved

MARK = b"MARKEDMARKED"
PICTURE = colours(rows=64, columns=64)
Check = Callable[[bytes], None]


@pytest.fixture
def check(clean: Clean, decode: Decode) -> Check:
    """Clean a marked file: it must lose its marks and look as before."""

    def of(unclean: bytes) -> None:
        stored = clean(unclean)
        assert b"MARKED" in unclean
        assert b"MARKED" not in stored
        assert [one.pixel_sha256 for one in decode(stored)] == [one.pixel_sha256 for one in decode(unclean)]

    return of


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


@pytest.mark.parametrize("kind", [b"PLTE", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"pHYs", b"bKGD"])
def test_a_chunk_longer_than_it_may_be_goes(check: Check, *, kind: bytes) -> None:
    header, *others = _chunks(saved(PICTURE))
    check(_png([header, (kind, MARK * 3), *others]))


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"IEND"])
def test_a_chunk_loses_what_a_decoder_passes_over(check: Check, *, kind: bytes) -> None:
    check(_png([(one, content + MARK * (one == kind)) for one, content in _chunks(saved(PICTURE))]))


def test_transparency_of_grey_pictures_is_one_number(check: Check) -> None:
    header, *others = _chunks(saved(ramp()))
    check(_png([header, (b"tRNS", b"\0\7" + MARK), *others]))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_with_more_lines_than_it_has_is_refused(clean: Clean, decode: Decode, *, mode: str) -> None:
    deep = Image.fromarray(ramp(rows=37, columns=53, high=60_000, dtype="uint16"))
    image = deep if mode == "I;16" else Image.fromarray(colours(rows=37, columns=53)).convert(mode)
    chunks = _chunks(saved(image))
    assert decode(clean(_png(chunks)))
    longer = [
        (kind, zlib.compress(zlib.decompress(content) + MARK, 0) if kind == b"IDAT" else content)
        for kind, content in chunks
    ]
    with pytest.raises(FileRefused, match="cannot be removed"):
        clean(_png(longer))


@pytest.mark.parametrize("size", [(37, 53), (1, 1), (2, 3), (8, 8), (5, 1)])
def test_an_interlaced_png_keeps_all_its_passes(check: Check, *, size: tuple[int, int]) -> None:
    pixels = ramp(rows=size[0], columns=size[1])
    starts = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    passes = [pixels[row::down, column::across] for column, row, across, down in starts]
    lines = b"".join(b"\0" + line.tobytes() for one in passes if one.size for line in one)
    header = struct.pack(">IIBBBBB", size[1], size[0], 8, 0, 0, 0, 1)
    check(_png([(b"IHDR", header), (b"IDAT", zlib.compress(lines) + MARK), (b"IEND", b"")]))


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def test_the_number_of_lines_of_a_jpeg_is_one_number(check: Check) -> None:
    jpeg = saved(PICTURE, "JPEG")
    check(jpeg[:-2] + _segment(0xDC, b"\0\x40" + MARK) + jpeg[-2:])


def test_a_long_run_of_fill_bytes_is_walked_at_once(clean: Clean, decode: Decode) -> None:
    jpeg = saved(PICTURE, "JPEG")
    scan = jpeg.index(b"\xff\xda") + 14
    filled = jpeg[:scan] + b"\xff" * 3_000_000 + jpeg[scan:]
    assert [one.pixel_sha256 for one in decode(clean(filled))] == [one.pixel_sha256 for one in decode(filled)]


def _tiff(*, tag: int, kind: int, value: object) -> bytes:
    tags = ImageFileDirectory_v2()
    tags.tagtype[tag] = kind
    tags[tag] = value
    return saved(PICTURE, "TIFF", tiffinfo=tags)


# Subfile type, orientation, resolution, white point, ink, dots, coefficients: as bytes they could spell anything.
@pytest.mark.parametrize("tag", [254, 274, 282, 296, 318, 332, 336, 340, 529, 530, 532])
def test_a_tag_with_more_numbers_than_it_has_goes(check: Check, *, tag: int) -> None:
    check(_tiff(tag=tag, kind=1, value=MARK))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_palette_that_no_pixel_is_looked_up_in_goes(check: Check, *, mode: str) -> None:
    tags = ImageFileDirectory_v2()
    tags.tagtype[320] = 3
    tags[320] = struct.unpack("<768H", MARK * 128)
    check(saved(Image.fromarray(PICTURE).convert(mode), "TIFF", tiffinfo=tags))


def _with_value(tiff: bytes, *, tag: int, value: int) -> bytes:
    """Put another number into the first directory of a little-endian file."""
    (directory,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, directory)
    entries = range(directory + 2, directory + 2 + 12 * count, 12)
    at = next(at for at in entries if struct.unpack_from("<H", tiff, at) == (tag,)) + 8
    return tiff[:at] + struct.pack("<I", value) + tiff[at + 4 :]


def test_a_strip_that_is_longer_than_its_rows_is_cut(check: Check) -> None:
    check(_with_value(saved(PICTURE, "TIFF"), tag=279, value=PICTURE.nbytes + len(MARK)) + MARK)


def test_a_tiff_that_names_no_compression_has_none(check: Check) -> None:
    """TIFF 6.0: the default is 1. The tag becomes an ignored one."""
    longer = _with_value(saved(PICTURE, "TIFF"), tag=279, value=PICTURE.nbytes + len(MARK)) + MARK
    named = struct.pack("<HHI", 259, 3, 1)
    assert longer.count(named) == 1
    check(longer.replace(named, struct.pack("<HHI", 260, 3, 1)))


def test_a_tiff_with_more_strips_than_it_needs_is_refused(clean: Clean) -> None:
    with pytest.raises(FileRefused, match="cannot be removed"):
        clean(_with_value(_by_hand(planar=2), tag=284, value=1))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_within_a_tiff_loses_its_comments(check: Check, *, mode: str) -> None:
    tiff = saved(Image.fromarray(PICTURE).convert(mode), "TIFF", compression="jpeg")
    tags = Image.open(io.BytesIO(tiff)).tag_v2
    strip = tiff[tags[273][0] : tags[273][0] + tags[279][0]]
    # An end that was lost too: Pillow draws such a strip.
    for end in (strip[-2:] + MARK, b""):
        marked = strip[:2] + _segment(0xFE, MARK) + _segment(0xE1, MARK) + strip[2:-2] + end
        moved = _with_value(tiff, tag=273, value=len(tiff))
        check(_with_value(moved, tag=279, value=len(marked)) + marked)


def test_a_tiff_in_planes_and_tiles_keeps_all_of_them(clean: Clean, decode: Decode) -> None:
    for how in ({"planar": 2}, {"tile": 16}):
        content = _by_hand(**how)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), PICTURE)
        assert [one.pixel_sha256 for one in decode(clean(content))] == [one.pixel_sha256 for one in decode(content)]


def _by_hand(*, planar: int = 1, tile: int = 0) -> bytes:
    """PICTURE uncompressed, in planes or in tiles: Pillow writes neither."""
    if tile:
        squares = [(row, column) for row in range(0, 64, tile) for column in range(0, 64, tile)]
        parts = [PICTURE[row : row + tile, column : column + tile].tobytes() for row, column in squares]
        layout = {322: tile, 323: tile}
    else:
        parts, layout = [PICTURE[..., plane].tobytes() for plane in range(3)], {278: 64}
    places = np.cumsum([8, *map(len, parts)])
    tags = {256: 64, 257: 64, 258: (8, 8, 8), 259: 1, 262: 2, 277: 3, 284: planar, **layout}
    tags |= {(324 if tile else 273): tuple(map(int, places[:-1])), (325 if tile else 279): tuple(map(len, parts))}
    values, at, entries = b"", int(places[-1]), b""
    for tag, value in sorted(tags.items()):
        numbers = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        entries += struct.pack("<HHI", tag, 4, len(numbers))
        entries += packed if len(packed) <= 4 else struct.pack("<I", at + len(values))
        values += packed if len(packed) > 4 else b""
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", at + len(values)) + b"".join(parts) + values + directory
