"""Overlays that lie beside the values of uncompressed pixels, in bits that no picture uses, are not stored."""

import io
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from retrieval.imaging import Decoder
from retrieval.imaging.stored_form import Span
from tests.imaging.conftest import KEY, Clean, Decode
from tests.imaging.files import dataset_of, ramp, written

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
# Bits Allocated, Bits Stored, High Bit
LAYOUTS = [(16, 12, 11), (16, 12, 15), (16, 12, 13), (8, 6, 5), (8, 6, 6), (32, 20, 19), (32, 20, 30)]


def _values(*, stored: int, kind: str) -> np.ndarray:
    low, high = (0, 2**stored - 1) if kind == "u" else (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1)
    return ramp(rows=6, columns=10, low=low, high=high, dtype="int64")


def _with_overlay(values: np.ndarray, *, syntax: str, kind: str, layout: tuple[int, int, int]) -> Dataset:
    """Every second pixel has all its unused bits set, every other has none of them."""
    allocated, stored, high = layout
    used = (2**stored - 1) << (high + 1 - stored)
    words = values << (high + 1 - stored) & used
    words[:, ::2] |= (2**allocated - 1) & ~used
    pixels = words.astype(f"u{allocated // 8}").view(f"{kind}{allocated // 8}")
    return dataset_of(pixels, syntax=syntax, BitsStored=stored, HighBit=high)


def _words(dataset: Dataset) -> np.ndarray:
    order = ">" if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
    kind = f"{order}{'ui'[dataset.PixelRepresentation]}{dataset.BitsAllocated // 8}"
    return np.frombuffer(dataset.PixelData, dtype=kind).astype("int64").reshape(dataset.Rows, dataset.Columns)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("kind", ["u", "i"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_but_the_values_stays_in_the_words(
    clean: Clean, decode: Decode, *, syntax: str, kind: str, layout: tuple[int, int, int]
) -> None:
    values = _values(stored=layout[1], kind=kind)
    unclean = written(_with_overlay(values, syntax=syntax, kind=kind, layout=layout))
    stored = clean(unclean)
    lowest = layout[2] + 1 - layout[1]
    assert np.array_equal(_words(dcmread(io.BytesIO(stored))), values << lowest)
    assert [one.pixel_sha256 for one in decode(stored)] == [one.pixel_sha256 for one in decode(unclean)]


def test_an_overlay_in_a_later_frame_goes_too(clean: Clean, decode: Decode) -> None:
    """Many chunks of pixels, of which the last one alone has an overlay."""
    frames = np.stack([ramp(rows=600, columns=700, high=4095, dtype="uint16")] * 4)
    frames[3, 300:, ::3] |= 0xF000
    unclean = written(dataset_of(frames, BitsStored=12, HighBit=11))
    stored = clean(unclean)
    assert dcmread(io.BytesIO(stored)).PixelData == (frames & 0x0FFF).tobytes()
    assert [one.pixel_sha256 for one in decode(stored)] == [one.pixel_sha256 for one in decode(unclean)]


@pytest.mark.parametrize("pixels", [ramp(high=4095, dtype="uint16"), ramp(low=-2048, high=2047, dtype="int16")])
def test_words_without_an_overlay_are_taken_over_as_they_are(
    decoder: Decoder, tmp_path: Path, *, pixels: np.ndarray
) -> None:
    path = tmp_path / "file"
    path.write_bytes(written(dataset_of(pixels, BitsStored=12, HighBit=11)))
    form = decoder.clean(path, uid_key=KEY)
    end = path.stat().st_size
    assert Span(end - pixels.nbytes, pixels.nbytes) in form.pieces
    assert b"".join(form.chunks()).endswith(pixels.tobytes())


def test_pixels_of_any_size_are_cleaned_in_chunks(decoder: Decoder, tmp_path: Path) -> None:
    """What is held in memory is the header, however much there is to be overwritten."""
    frames = np.full((8, 512, 512), 0xF123, dtype="uint16")
    path = tmp_path / "file"
    path.write_bytes(written(dataset_of(frames, BitsStored=12, HighBit=11)))
    form = decoder.clean(path, uid_key=KEY)
    assert sum(len(piece) for piece in form.pieces if isinstance(piece, bytes)) < 2000
    assert b"".join(form.chunks()).endswith(b"\x23\x01" * frames.size)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_what_describes_overlays_goes(clean: Clean, *, syntax: str) -> None:
    dataset = dataset_of(ramp(), syntax=syntax)
    for group in (0x6000, 0x6002, 0x60FE):
        numbers = {0x0010: 20, 0x0011: 30, 0x0050: [1, 1], 0x0100: 16, 0x0102: 12}
        for element, value in numbers.items():
            dataset.add_new((group, element), "SS" if element == 0x0050 else "US", value)
        dataset.add_new((group, 0x0040), "CS", "G")
    stored = dcmread(io.BytesIO(clean(written(dataset))))
    assert not [element for element in stored if 0x6000 <= element.tag.group <= 0x60FF]
