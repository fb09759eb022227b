"""PNG, JPEG and TIFF: the pixels that come out, and what is refused."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.imaging.conftest import Decode
from tests.imaging.files import colours, farthest, ramp, saved, shown

GREY, COLOUR = ramp(), colours()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_lossless_pictures_are_shown_as_they_are(decode: Decode, *, kind: str, pixels: np.ndarray) -> None:
    (rendering,) = decode(saved(pixels, kind))
    assert np.array_equal(shown(rendering), pixels)
    assert (rendering.width, rendering.height) == (30, 20)
    assert (rendering.frame_number, rendering.frame_count, rendering.attributes) == (None, 1, {})


def test_jpeg_is_shown_as_pillow_decodes_it(decode: Decode) -> None:
    content = saved(GREY, "JPEG", quality=95)
    (rendering,) = decode(content)
    assert farthest(rendering, GREY) <= 4


def test_a_grey_picture_stored_in_colour_is_the_same_picture(decode: Decode) -> None:
    (grey,) = decode(saved(GREY))
    (stored_in_colour,) = decode(saved(np.stack([GREY] * 3, axis=-1)))
    assert stored_in_colour.pixel_sha256 == grey.pixel_sha256
    assert shown(stored_in_colour).ndim == 2


def test_one_bit_pictures_become_black_and_white(decode: Decode) -> None:
    (rendering,) = decode(saved(Image.fromarray(GREY).convert("1", dither=Image.Dither.NONE)))
    assert np.array_equal(shown(rendering), np.where(GREY > 127, 255, 0))


def test_palettes_become_colours(decode: Decode) -> None:
    image = Image.fromarray(GREY, "P")
    image.putpalette([channel for level in range(256) for channel in (level, 0, 255 - level)])
    (rendering,) = decode(saved(image))
    assert np.array_equal(shown(rendering), np.stack([GREY, 0 * GREY, 255 - GREY], axis=-1))


def test_print_colours_become_rgb(decode: Decode) -> None:
    (rendering,) = decode(saved(Image.fromarray(COLOUR).convert("CMYK"), "TIFF"))
    assert farthest(rendering, COLOUR) <= 1


def test_lab_colours_become_rgb(decode: Decode) -> None:
    mid_grey = Image.merge("LAB", [Image.new("L", (8, 8), level) for level in (128, 128, 128)])
    (rendering,) = decode(saved(mid_grey, "TIFF"))
    assert farthest(rendering, np.full((8, 8), 119)) <= 3  # L* 50 is sRGB 119


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_from_smallest_to_largest(decode: Decode, *, kind: str) -> None:
    (rendering,) = decode(saved(ramp(low=1000, high=5000, dtype="uint16"), kind))
    assert farthest(rendering, GREY) <= 1
    assert (shown(rendering).min(), shown(rendering).max()) == (0, 255)


def test_float_tiff_is_scaled_and_not_a_number_is_black(decode: Decode) -> None:
    values = ramp(low=-1000, high=3000, dtype="float32")
    values[5, 0], values[5, 1], values[5, 2] = np.nan, np.inf, -np.inf
    (rendering,) = decode(saved(Image.fromarray(values), "TIFF"))
    expected = GREY.copy()
    expected[5, :3] = 0, 255, 0
    assert farthest(rendering, expected) <= 1


@pytest.mark.parametrize(
    ("order", "values"),
    [("<", GREY.astype("<u2") + 1000), ("<", GREY.astype("<f4")), (">", GREY.astype(">f4"))],
)
@pytest.mark.parametrize("white_is_zero", [True, False])
def test_deep_tiff_in_which_zero_is_white_is_inverted(
    decode: Decode, *, order: str, values: np.ndarray, white_is_zero: bool
) -> None:
    (rendering,) = decode(_plain_tiff(values, order=order, photometric=0 if white_is_zero else 1))
    assert farthest(rendering, 255 - GREY if white_is_zero else GREY) <= 1


def _plain_tiff(values: np.ndarray, *, order: str, photometric: int, orientation: int = 1, after: bytes = b"") -> bytes:
    """One strip of grey samples or of colours, in either byte order; the next page of what comes before."""
    rows, columns, *channels = values.shape
    bits, sample_format = [8 * values.itemsize] * (channels or [1])[0], {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    start = len(after) or 8
    end = start + values.nbytes
    tags = {256: columns, 257: rows, 258: bits[0], 259: 1, 262: photometric, 273: start, 274: orientation}
    tags |= {277: len(bits), 278: rows, 279: values.nbytes, 339: sample_format}
    entries = {tag: struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items()}
    if channels:
        entries[258] = struct.pack(f"{order}HHII", 258, 4, len(bits), end)
    # What came before ends with the place of the next directory.
    head = after[:-4] or (b"II*\0" if order == "<" else b"MM\0*")
    head += struct.pack(f"{order}I", end + 4 * len(bits))
    directory = struct.pack(f"{order}H", len(tags)) + b"".join(entries.values()) + bytes(4)
    return head + values.tobytes() + struct.pack(f"{order}{len(bits)}I", *bits) + directory


@pytest.mark.parametrize("order", ["<", ">"])
def test_signed_bytes_of_a_tiff_are_scaled_from_smallest_to_largest(decode: Decode, *, order: str) -> None:
    values = (GREY.astype(np.int16) - 128).astype(np.int8)
    (rendering,) = decode(_plain_tiff(values, order=order, photometric=1))
    assert np.array_equal(shown(rendering), GREY)
    (brighter,) = decode(_plain_tiff(values // 2, order=order, photometric=1))
    assert farthest(brighter, GREY) <= 2


@pytest.mark.parametrize("turned", [False, True])
def test_large_unsigned_numbers_of_a_tiff_are_brightest(decode: Decode, *, turned: bool) -> None:
    values = np.linspace(0, 2**32 - 1, GREY.size).astype("<u4").reshape(GREY.shape)
    (rendering,) = decode(_plain_tiff(values, order="<", photometric=1, orientation=3 if turned else 1))
    assert farthest(rendering, np.rot90(GREY, 2) if turned else GREY) <= 1


def test_negative_numbers_of_a_tiff_are_darkest(decode: Decode) -> None:
    values = np.linspace(-(2**31), 2**31 - 1, GREY.size).astype("<i4").reshape(GREY.shape)
    (rendering,) = decode(_plain_tiff(values, order="<", photometric=1))
    assert farthest(rendering, GREY) <= 1


def _deep_colour_png(values: np.ndarray) -> bytes:
    """(rows, columns, 3) or 4 channels of 16 bits: Pillow writes none."""
    rows, columns, channels = values.shape
    header = struct.pack(">IIBBBBB", columns, rows, 16, 2 if channels == 3 else 6, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _deep_colour_tiff(values: np.ndarray, *, order: str, after: bytes = b"") -> bytes:
    return _plain_tiff(values.astype(f"{order}u2"), order=order, photometric=2, after=after)


def test_colours_of_sixteen_bits_are_shown_by_their_upper_eight(decode: Decode) -> None:
    deep = COLOUR.astype(np.uint16) * 257
    for content in (_deep_colour_png(deep), *(_deep_colour_tiff(deep, order=order) for order in "<>")):
        (rendering,) = decode(content)
        assert np.array_equal(shown(rendering), COLOUR)


def test_colours_of_twelve_bits_in_sixteen_are_refused(refusal: Callable[[bytes], str]) -> None:
    """Shown by their upper eight bits they would be sixteen shades, all of them nearly black."""
    deep = COLOUR.astype(np.uint16) * 16
    opaque = np.concatenate([deep, np.full_like(deep[..., :1], 2**16 - 1)], axis=-1)
    tiffs = [_deep_colour_tiff(deep, order=order) for order in "<>"]
    for content in (_deep_colour_png(deep), _deep_colour_png(opaque), *tiffs):
        assert "16 bits for each colour" in refusal(content)


@pytest.mark.parametrize("black_first", [True, False])
def test_a_black_page_among_bright_ones_of_deep_colour_is_shown(decode: Decode, *, black_first: bool) -> None:
    pages = [np.zeros(COLOUR.shape, dtype=np.uint16), COLOUR.astype(np.uint16) * 256]
    first, second = pages if black_first else pages[::-1]
    content = _deep_colour_tiff(second, order="<", after=_deep_colour_tiff(first, order="<"))
    assert [shown(each).any() for each in decode(content)] == [not black_first, black_first]


def test_a_black_picture_of_eight_bits_is_shown(decode: Decode) -> None:
    assert len(decode(saved(COLOUR // 32))) == 1


def test_a_constant_deep_picture_is_black(decode: Decode) -> None:
    (rendering,) = decode(saved(np.full((4, 5), 700, dtype=np.uint16)))
    assert not shown(rendering).any()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_parts_are_black(decode: Decode, *, mode: str) -> None:
    image = Image.new(mode, (4, 4), (200,) * (len(mode) - 1) + (255,))
    image.putpixel((0, 0), (200,) * (len(mode) - 1) + (0,))
    image.putpixel((1, 0), (200,) * (len(mode) - 1) + (128,))
    (rendering,) = decode(saved(image))
    assert shown(rendering)[0, :3].tolist() == [0, 100, 200]


def test_exif_orientation_is_applied(decode: Decode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    (rendering,) = decode(saved(GREY, "PNG", exif=exif))
    assert np.array_equal(shown(rendering), np.rot90(GREY, -1))
    assert (rendering.width, rendering.height) == (20, 30)


def test_an_unreadable_exif_block_costs_no_picture(decode: Decode) -> None:
    plain = saved(GREY, "JPEG")
    block = b"Exif\0\0" + b"MM\0*\xff\xff\xff\xff"
    (rendering,) = decode(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:])
    assert rendering.width == 30


def test_pages_of_a_tiff_are_frames(decode: Decode) -> None:
    pages = [Image.fromarray(ramp(high=high)) for high in (100, 150, 200)]
    content = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    renderings = decode(content)
    assert [(rendering.frame_number, rendering.frame_count) for rendering in renderings] == [(1, 3), (2, 3), (3, 3)]
    assert [shown(rendering).max() for rendering in renderings] == [100, 150, 200]
    (middle,) = decode(content, frames="middle")
    assert (middle.frame_number, shown(middle).max()) == (2, 150)


def test_of_an_animated_png_the_first_picture_is_read(decode: Decode) -> None:
    second = Image.fromarray(255 - GREY)
    (rendering,) = decode(saved(GREY, "PNG", save_all=True, append_images=[second]))
    assert np.array_equal(shown(rendering), GREY)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_huge_png_is_refused_by_its_header(refusal: Callable[[bytes], str]) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"") + _chunk(b"IEND", b"")
    assert refusal(content) == "The image has more than 100 megapixels, the most that is read."


def test_a_huge_later_page_is_refused_by_its_header(decode: Decode, refusal: Callable[[bytes], str]) -> None:
    content = saved(GREY, "TIFF", save_all=True, append_images=[Image.fromarray(GREY)])
    width = struct.pack("<HHII", 0x0100, 4, 1, 30)  # tag, LONG, one value
    at = content.rfind(width)
    assert at > content.find(width) >= 0
    height = content.find(struct.pack("<HHI", 0x0101, 4, 1), at)
    lying = bytearray(content)
    lying[at + 8 : at + 12] = lying[height + 8 : height + 12] = struct.pack("<I", 60_000)
    assert "megapixels" in refusal(bytes(lying))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_cut_picture_is_refused(refusal: Callable[[bytes], str], *, kind: str) -> None:
    content = saved(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8), kind)
    assert "damaged" in refusal(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty."),
        (b"hello, this is text", "not an image that can be read here. Accepted are PNG, JPEG, TIFF and DICOM"),
        (b"GIF89a" + bytes(100), "a GIF picture"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive; archives can be imported as a dataset"),
        (b"<html><script>alert(1)</script>", "not an image"),
        (b"\x89PNG\r\n\x1a\n" + b"nonsense", "cannot be opened"),
    ],
)
def test_other_files_are_refused_by_what_they_are(
    refusal: Callable[[bytes], str], *, content: bytes, words: str
) -> None:
    assert words in refusal(content)
