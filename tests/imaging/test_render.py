"""Previews and thumbnails: sizes, and nothing in them but pixels."""

import io
import json

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.imaging.conftest import Decode
from tests.imaging.files import dicom, ramp, saved, shown

MARK = "PLANTED-MARK"


def _everything(content: bytes) -> bytes:
    """The bytes, and what a reader of metadata finds in them."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return content + repr(image.info).encode() + repr(dict(image.getexif())).encode()


def _marked_png() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", MARK)
    text.add_itxt("Patient", MARK, zip=True)
    exif = Image.Exif()
    exif[0x010E] = MARK
    return saved(ramp(), "PNG", pnginfo=text, exif=exif, icc_profile=MARK.encode()) + MARK.encode()


def _marked_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = MARK, MARK
    return saved(ramp(), "JPEG", exif=exif, comment=MARK.encode(), icc_profile=MARK.encode())


def _marked_tiff() -> bytes:
    return saved(ramp(), "TIFF", tiffinfo={270: MARK, 315: MARK, 700: MARK.encode()})


def _marked_dicom() -> bytes:
    return dicom(ramp(), PatientName=MARK, StudyDescription=MARK, ImageComments=MARK)


@pytest.mark.parametrize("make", [_marked_png, _marked_jpeg, _marked_tiff, _marked_dicom])
def test_nothing_but_pixels_is_in_preview_and_thumbnail(decode: Decode, *, make: object) -> None:
    content = make()  # type: ignore[operator]
    assert MARK.encode() in content
    (rendering,) = decode(content)
    assert MARK.encode() not in _everything(rendering.preview) + _everything(rendering.thumbnail)
    assert Image.open(io.BytesIO(rendering.preview)).info == {}
    assert MARK not in json.dumps(rendering.attributes)


def test_large_pictures_are_fitted_and_small_ones_left(decode: Decode) -> None:
    (rendering,) = decode(saved(ramp(rows=1500, columns=3000)))
    assert (rendering.width, rendering.height) == (3000, 1500)
    assert shown(rendering).shape == (512, 1024)
    thumbnail = Image.open(io.BytesIO(rendering.thumbnail))
    assert (thumbnail.format, thumbnail.size) == ("JPEG", (320, 160))


def test_a_line_of_pixels_keeps_a_side(decode: Decode) -> None:
    (rendering,) = decode(saved(ramp(rows=1, columns=5000)))
    assert shown(rendering).shape == (1, 1024)


def test_the_digest_is_of_the_pixels_and_not_of_the_file(decode: Decode) -> None:
    (png,), (tiff,) = decode(saved(ramp())), decode(saved(ramp(), "TIFF"))
    (other,) = decode(saved(ramp(high=254)))
    assert png.pixel_sha256 == tiff.pixel_sha256 != other.pixel_sha256


def test_the_digest_tells_shapes_apart(decode: Decode) -> None:
    (wide,), (high,) = (decode(saved(np.zeros(shape, np.uint8))) for shape in ((2, 8), (8, 2)))
    assert wide.pixel_sha256 != high.pixel_sha256
