"""DICOM by pydicom: one frame at a time as 8-bit pixels, as a viewer would first show it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import as_pixel_options, get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from retrieval.imaging.burned_in import review_reason
from retrieval.imaging.dicom_attributes import kept_attributes, pixel_aspect
from retrieval.imaging.dicom_bits import bit_frame
from retrieval.imaging.dicom_damage import check_complete, damaged, native_length, refusing_damage
from retrieval.imaging.dicom_grey import grey_levels
from retrieval.imaging.dicom_kind import check_kind, no_picture
from retrieval.imaging.dicom_palette import palette_levels
from retrieval.imaging.dicom_stream import plain_stream
from retrieval.imaging.errors import FileRefused
from retrieval.imaging.limits import Limits
from retrieval.imaging.picture import Picture, chosen_frames, levels
from retrieval.imaging.signatures import has_runnable_preamble, read_head

config.settings.reading_validation_mode = config.IGNORE

# Pixel Data, Float Pixel Data and Double Float Pixel Data (PS3.6).
_PIXEL_KEYWORDS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
# Of what is stored by them, the bits mean what the attributes say; other codecs give values.
_OF_BITS = (*_NATIVE, RLELossless)
_NEEDED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")


def read_dicom(path: Path, *, limits: Limits, frames: Literal["all", "middle"]) -> Iterator[Picture]:
    """Yield the frames of the file as Pictures, (H, W) or (H, W, 3) uint8, one in memory at a time.

    Grey frames pass the modality and VOI transformations (PS3.3, C.11.1 and C.11.2), colour becomes RGB.

    Raises FileRefused when the file is damaged, too large, holds no picture, or is compressed in a way not known here.
    """
    if has_runnable_preamble(read_head(path)):
        raise FileRefused("The DICOM file begins like a program. It is not accepted, since it could be run by mistake.")
    with path.open("rb") as file, refusing_damage("its structure cannot be read"):
        stream = plain_stream(file, limits=limits)
        dataset = dcmread(stream, stop_before_pixels=True, force=True)
        check_kind(dataset)
        options = pixel_options(stream, dataset=dataset)
        count = _frame_count(options, limits=limits)
        decoder = _decoder(options["transfer_syntax_uid"])
        check_complete(stream, options=options)
        attributes, reason = kept_attributes(dataset), review_reason(dataset)
        for index, pixels in _frames(
            decoder, stream=stream, options=options, chosen=chosen_frames(count=count, frames=frames)
        ):
            yield Picture(
                pixels=_eight_bit(pixels, dataset=dataset, options=options, index=index),
                frame_number=index + 1 if count > 1 else None,
                frame_count=count,
                aspect=pixel_aspect(dataset, index=index),
                attributes=attributes,
                review_reason=reason,
            )


def pixel_options(stream: BinaryIO, *, dataset: Dataset) -> dict[str, Any]:
    """Read the header of the pixel data element, where dcmread has stopped; the stream is left at its first byte."""
    keyword, value_representation, length = _pixel_header(stream, dataset=dataset)
    missing = [name for name in _NEEDED if dataset.get(name) is None]
    if missing:
        raise damaged(f"it does not say how its picture is stored ({missing[0]} is missing)")
    options = as_pixel_options(dataset)
    options.update(
        pixel_keyword=keyword,
        pixel_vr=value_representation,
        pixel_length=length,
        transfer_syntax_uid=UID(dataset.file_meta.TransferSyntaxUID),
        allow_excess_frames=False,
    )
    options["lowest_bit"] = _lowest_bit(dataset, options=options)
    if _is_whole(options):
        options["photometric_interpretation"] = "YBR_FULL"
    return options


def _is_whole(options: dict[str, Any]) -> bool:
    """Tell uncompressed frames that hold every sample though they are called subsampled.

    Some programs leave the label behind when they decompress.
    """
    if options["photometric_interpretation"] != "YBR_FULL_422" or options["transfer_syntax_uid"] not in _NATIVE:
        return False
    return options["pixel_length"] >= native_length(options | {"photometric_interpretation": "YBR_FULL"})


def _lowest_bit(dataset: Dataset, *, options: dict[str, Any]) -> int:
    """Return the bit at which stored values begin (PS3.5, 8.1.1): above it where High Bit is not Bits Stored - 1.

    A High Bit that cannot be says nothing.
    """
    high, stored = dataset.get("HighBit"), options.get("bits_stored")
    if options["transfer_syntax_uid"] not in _OF_BITS:
        return 0
    if not isinstance(high, int) or not isinstance(stored, int) or high >= options["bits_allocated"]:
        return 0
    return max(0, high + 1 - stored)


def _pixel_header(stream: BinaryIO, *, dataset: Dataset) -> tuple[str, str | None, int]:
    """Return keyword, VR (None when implicit) and length of the pixel data element (PS3.5, 7.1)."""
    implicit, little = dataset.original_encoding
    order: Literal["little", "big"] = "little" if little else "big"
    header = stream.read(8 if implicit else 12)
    tag = int.from_bytes(header[:2], order) << 16 | int.from_bytes(header[2:4], order)
    if len(header) < 8 or tag not in _PIXEL_KEYWORDS:
        raise FileRefused(no_picture(dataset))
    representation = None if implicit else header[4:6].decode("ascii")
    return _PIXEL_KEYWORDS[tag], representation, int.from_bytes(header[-4:], order)


def _frame_count(options: dict[str, Any], *, limits: Limits) -> int:
    count = int(options["number_of_frames"])
    if count > limits.frames:
        raise FileRefused(f"The DICOM file has more than {limits.frames:,} frames, the most that is read.")
    if min(options["rows"], options["columns"], count) < 1:
        raise damaged("its picture has no rows or columns")
    if options["rows"] * options["columns"] > limits.pixels:
        raise FileRefused(f"The picture has more than {limits.pixels // 1_000_000} megapixels, the most that is read.")
    return count


def _decoder(syntax: UID) -> Decoder:
    try:
        return get_decoder(syntax)
    except NotImplementedError as error:
        raise FileRefused(f"The picture is compressed as {_syntax_name(syntax)}, {_UNREADABLE}") from error


def _frames(
    decoder: Decoder, *, stream: BinaryIO, options: dict[str, Any], chosen: range | tuple[int, ...]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield index and decoded array of each chosen frame; YBR is already RGB, planes are interleaved."""
    lowest = options["lowest_bit"]
    decoded = _decoded(decoder, stream=stream, options=options, chosen=chosen)
    with refusing_damage(_undecodable(options["transfer_syntax_uid"])):
        for index in chosen:
            pixels = next(decoded)
            yield index, pixels >> lowest if lowest else pixels


def _decoded(
    decoder: Decoder, *, stream: BinaryIO, options: dict[str, Any], chosen: range | tuple[int, ...]
) -> Iterator[np.ndarray]:
    """Yield the chosen frames with what lies below their values still in them."""
    native = options["transfer_syntax_uid"] in _NATIVE
    if native and options["bits_allocated"] == 1:
        yield from (bit_frame(stream, options=options, index=index) for index in chosen)
        return
    known = {name: value for name, value in options.items() if name not in ("pixel_length", "lowest_bit")}
    if options["lowest_bit"]:
        # pydicom does not look at High Bit. What lies below the values, overlays in old files, is shifted out.
        known["bits_stored"] += options["lowest_bit"]
    # Without indices the frames of compressed data are found in one pass, with them each search starts anew.
    passes: list[tuple[int, ...] | None] = [chosen if isinstance(chosen, tuple) else None]
    if native:
        # After its first frame in one pass pydicom 3.0 takes YBR_FULL_422 for YBR_FULL, and looks in wrong places.
        passes = [(index,) for index in chosen]
    for indices in passes:
        for pixels, _ in decoder.iter_array(stream, indices=indices, validate=True, raw=False, **known):
            yield pixels


_UNREADABLE = "which cannot be read here. Export it uncompressed, as JPEG-LS or as JPEG 2000."


# Of the standard, but not among the names that pydicom knows (PS3.6, table A-1).
_NEWER_SYNTAXES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}


def _syntax_name(syntax: UID) -> str:
    return _NEWER_SYNTAXES.get(syntax, syntax.name if syntax.name != str(syntax) else "an unknown transfer syntax")


def _undecodable(syntax: UID) -> str:
    if not syntax.is_encapsulated:
        return "its picture data cannot be read"
    return f"its picture data is broken, or a variant of {_syntax_name(syntax)} that cannot be read here"


def _eight_bit(pixels: np.ndarray, *, dataset: Dataset, options: dict[str, Any], index: int) -> np.ndarray:
    """Return (H, W) or (H, W, 3) uint8."""
    if pixels.ndim == 3:
        return _colour_levels(pixels, options=options)
    if options["photometric_interpretation"] == "PALETTE COLOR":
        return palette_levels(pixels, dataset=dataset)
    return grey_levels(pixels, dataset=dataset, index=index)


def _colour_levels(pixels: np.ndarray, *, options: dict[str, Any]) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    return levels(pixels, lowest=0, highest=2 ** int(options["bits_stored"]) - 1)
