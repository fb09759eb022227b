"""PNG, JPEG and TIFF by Pillow: one array of 8-bit pixels a page, upright, without alpha."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT, TiffImageFile

from retrieval.imaging.errors import FileRefused
from retrieval.imaging.limits import ACCEPTED, Limits
from retrieval.imaging.picture import Picture, chosen_frames, full_range_levels

# "MPO" is not a format that can be asked for: its files open as JPEG, and only their first picture is read.
_FORMATS = ("PNG", "JPEG", "TIFF")
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_PLAIN_MODES = ("L", "RGB")
# By mode and SampleFormat (TIFF 6.0): samples of which Pillow keeps the bits, but not the sign.
_MISTAKEN: dict[tuple[str, int], type[np.integer]] = {("L", 2): np.int8, ("I", 1): np.uint32}
# Of values that do not reach 13 of their 16 bits, the upper eight bits make a picture of sixteen shades.
_TOO_DARK = 16
_DEEP_COLOUR = (
    "The image has 16 bits for each colour, of which the upper 8 are read here, and it makes hardly any use of those. "
    "Save it with 8 bits for each colour, scaled to their full range."
)
_DAMAGED = "The image is damaged or incomplete: {}. Export it again from where it came from."


def read_raster(path: Path, *, limits: Limits, frames: Literal["all", "middle"]) -> Iterator[Picture]:
    """Yield the pages of the image as Pictures: (H, W) or (H, W, 3) uint8, one in memory at a time.

    Only TIFF has pages; of an animated PNG or a multi-picture JPEG the first picture is read. EXIF orientation is
    applied. More than 8 bits (16-bit and float) are scaled from the page's own smallest to its largest finite value,
    since such files rarely say which range they use; so are signed bytes. Of colours of 16 bits the upper 8 are shown.

    Raises FileRefused when the image is damaged, too large, not one of the three formats, or nearly black only
    because of colours of 16 bits that use the lower ones.
    """
    Image.MAX_IMAGE_PIXELS = None  # our own limit is lower than Pillow's error, and exact
    with path.open("rb") as file, _open(file) as image:
        count = _page_count(image)
        if count > limits.frames:
            raise FileRefused(f"The image has more than {limits.frames:,} pages.")
        is_cut, brightest = False, 0
        for index in chosen_frames(count=count, frames=frames):
            pixels, loses = _page_pixels(image, index=index, limits=limits)
            is_cut, brightest = is_cut or loses, max(brightest, int(pixels.max()))
            yield Picture(pixels=pixels, frame_number=index + 1 if count > 1 else None, frame_count=count)
        # Of the file, not of a page: a black one may well be the first of a stack.
        if is_cut and brightest < _TOO_DARK:
            raise FileRefused(_DEEP_COLOUR)


@contextlib.contextmanager
def _refusing_damage(what: str) -> Iterator[None]:
    """Turn whatever Pillow raises on malformed bytes into a refusal; it has no common exception for them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (FileRefused, MemoryError):
        raise
    except Exception as error:
        raise FileRefused(_DAMAGED.format(what)) from error


def _open(file: BinaryIO) -> Image.Image:
    try:
        with _refusing_damage("it cannot be opened"):
            return Image.open(file, formats=_FORMATS)
    except FileRefused as refused:
        raise FileRefused(f"The image cannot be opened: it is damaged or unusual inside. {ACCEPTED}") from refused


def _page_count(image: Image.Image) -> int:
    with _refusing_damage("its pages cannot be counted"):
        return getattr(image, "n_frames", 1) if image.format == "TIFF" else 1


def _page_pixels(image: Image.Image, *, index: int, limits: Limits) -> tuple[np.ndarray, bool]:
    with _refusing_damage("its picture data cannot be read"):
        if image.format == "TIFF":
            image.seek(index)
        _check_size(image, limits=limits)
        loses = _loses_lower_bytes(image)
        image.load()
        return _eight_bit(_upright(image), kind=_mistaken_kind(image), inverted=_white_is_zero(image)), loses


def _loses_lower_bytes(image: Image.Image) -> bool:
    """Tell a page that is not loaded yet, and of whose 16-bit colours Pillow will keep the upper bytes."""
    return image.mode not in _DEEP_MODES and any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))


def _mistaken_kind(image: Image.Image) -> type[np.integer] | None:
    """Return what the samples of a page of a TIFF file are, where Pillow takes them for something else."""
    if not isinstance(image, TiffImageFile):
        return None
    return _MISTAKEN.get((image.mode, image.tag_v2.get(SAMPLEFORMAT, (1,))[0]))


def _check_size(image: Image.Image, *, limits: Limits) -> None:
    """Refuse by the size in the header, before anything is decoded."""
    if image.width * image.height > limits.pixels:
        raise FileRefused(f"The image has more than {limits.pixels // 1_000_000} megapixels, the most that is read.")


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; an unreadable EXIF block is no reason to refuse the picture."""
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:
        return image


def _white_is_zero(image: Image.Image) -> bool:
    """Tell a page of a TIFF file whose smallest value is white (TIFF 6.0, PhotometricInterpretation)."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0


def _eight_bit(image: Image.Image, *, kind: type[np.integer] | None, inverted: bool) -> np.ndarray:
    """Return (H, W) or (H, W, 3) uint8. Up to 8 bits Pillow has inverted what is to be inverted, deeper ones never."""
    if kind:
        return full_range_levels(np.asarray(image).view(kind), inverted=inverted)
    if image.mode in _DEEP_MODES:
        return full_range_levels(np.asarray(image), inverted=inverted)
    if image.mode in _ALPHA_MODES or (image.info.get("transparency") is not None and image.mode in ("L", "P", "RGB")):
        return _on_black(image)
    if image.mode in _PLAIN_MODES:
        return np.asarray(image)
    return np.asarray(_CONVERSIONS.get(image.mode, _to_rgb)(image))


def _on_black(image: Image.Image) -> np.ndarray:
    """Composite on black, the background of medical pictures."""
    picture = image.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture).convert("RGB"))


def _to_rgb(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _to_grey(image: Image.Image) -> Image.Image:
    return image.convert("L")


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    """Convert by colour profiles: Pillow's convert() knows no LAB."""
    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # noqa: S101 - None only when asked to work in place
    return converted


_CONVERSIONS: dict[str, Callable[[Image.Image], Image.Image]] = {"1": _to_grey, "LAB": _lab_to_rgb}
