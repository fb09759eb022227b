"""Grey DICOM pictures equal pydicom's own rendering within one grey level."""

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from tests.imaging.conftest import Decode
from tests.imaging.files import dataset_of, dicom, farthest, lut, ramp, shown, written
from tests.imaging.reference import reference_levels

SIGNED = ramp(low=-1200, high=2400, dtype="int16")
UNSIGNED = ramp(low=0, high=4095, dtype="uint16")
RESCALED = {"RescaleSlope": 2, "RescaleIntercept": -1024}
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def _assert_as_pydicom(decode: Decode, dataset: Dataset) -> None:
    content = written(dataset)
    for index, rendering in enumerate(decode(content)):
        expected = reference_levels(dataset, index=index)
        assert farthest(rendering, expected) <= 1


@pytest.mark.parametrize(
    ("pixels", "elements"),
    [
        (SIGNED, {}),
        (UNSIGNED, {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}),
        (SIGNED, RESCALED),
        (SIGNED, {**RESCALED, "WindowCenter": 40, "WindowWidth": 400}),
        (SIGNED, {**RESCALED, "WindowCenter": [40, 600], "WindowWidth": [400, 2800]}),
        (SIGNED, {"WindowCenter": 40, "WindowWidth": 400, "PhotometricInterpretation": "MONOCHROME1"}),
        (SIGNED, {"RescaleSlope": -1, "RescaleIntercept": 0, "WindowCenter": 40, "WindowWidth": 400}),
        (UNSIGNED, {"WindowCenter": 2000, "WindowWidth": 3000, "VOILUTFunction": "SIGMOID"}),
        (UNSIGNED, {"WindowCenter": 2000, "WindowWidth": 3000, "VOILUTFunction": "LINEAR_EXACT"}),
        (UNSIGNED, {"WindowCenter": 2000, "WindowWidth": 1}),
        (UNSIGNED, {"VOILUTSequence": lut([min(4095, value**2 // 4095) for value in range(4096)], first=0, bits=12)}),
        (UNSIGNED, {"ModalityLUTSequence": lut([4095 - value for value in range(4096)], first=0, bits=16)}),
        (
            UNSIGNED,
            {
                "ModalityLUTSequence": lut([value * 16 for value in range(4096)], first=0, bits=16),
                "WindowCenter": 30000,
                "WindowWidth": 20000,
            },
        ),
        (SIGNED, {"PixelPaddingValue": -1200, "PixelPaddingRangeLimit": -900}),
        (ramp(high=255), {"WindowCenter": 100, "WindowWidth": 50}),
        (ramp(low=0, high=2**31, dtype="uint32"), {}),
    ],
)
def test_the_grey_pipeline_is_that_of_the_standard(
    decode: Decode, *, pixels: np.ndarray, elements: dict[str, Any]
) -> None:
    _assert_as_pydicom(decode, dataset_of(pixels, **elements))


def test_a_voi_lut_of_bytes_counts_before_a_window(decode: Decode) -> None:
    """By the standard alone: pydicom's own index runs over in a LUT of bytes."""
    table = lut(list(range(256)), first=1000, bits=8)
    (rendering,) = decode(dicom(UNSIGNED, VOILUTSequence=table, WindowCenter=9, WindowWidth=9))
    assert np.array_equal(shown(rendering), np.clip(UNSIGNED.astype(int) - 1000, 0, 255))


@pytest.mark.parametrize("syntax", SYNTAXES[:3], ids=lambda syntax: syntax.name)
def test_a_voi_lut_may_begin_below_zero_where_modality_values_do(decode: Decode, *, syntax: str) -> None:
    """Implicit VR reads its first input by the sign of the stored values."""
    table = lut(list(range(256)), first=0, bits=8)
    table[0].LUTDescriptor = [256, 2**16 - 1024, 8]
    (rendering,) = decode(dicom(UNSIGNED, syntax=syntax, VOILUTSequence=table, RescaleSlope=1, RescaleIntercept=-1024))
    assert np.array_equal(shown(rendering), np.clip(UNSIGNED, 0, 255))


def test_large_values_within_a_small_range_are_shown(decode: Decode) -> None:
    (rendering,) = decode(dicom(ramp().astype(np.uint32) + 3_000_000_000))
    assert np.array_equal(shown(rendering), ramp())


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("pixels", [ramp(high=4095, dtype="uint16"), ramp(low=-2048, high=2047, dtype="int16")])
@pytest.mark.parametrize("shift", [2, 4])
def test_values_may_lie_in_the_upper_bits(decode: Decode, *, pixels: np.ndarray, shift: int, compressed: bool) -> None:
    """With an overlay below them, as devices stored it in old files."""
    (expected,) = decode(dicom(pixels, BitsStored=12, HighBit=11))
    overlay = np.arange(pixels.size).reshape(pixels.shape).astype(pixels.dtype) % 2**shift
    dataset = dataset_of((pixels << shift) | overlay, BitsStored=12, HighBit=11 + shift)
    if compressed:
        dataset.compress(RLELossless)
    (rendering,) = decode(written(dataset))
    assert rendering.pixel_sha256 == expected.pixel_sha256


@pytest.mark.parametrize("bits", range(8, 17))
@pytest.mark.parametrize("kind", ["u", "i"])
def test_eight_to_sixteen_bits_signed_and_not(decode: Decode, *, bits: int, kind: str) -> None:
    low, high = (0, 2**bits - 1) if kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    pixels = ramp(low=low, high=high, dtype=f"{kind}2")
    dataset = dataset_of(pixels, BitsStored=bits, HighBit=bits - 1, WindowCenter=high / 3, WindowWidth=high / 2)
    _assert_as_pydicom(decode, dataset)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("pixels", [SIGNED, UNSIGNED, ramp()], ids=["signed", "unsigned", "bytes"])
def test_every_plain_encoding_gives_the_same_picture(decode: Decode, *, syntax: str, pixels: np.ndarray) -> None:
    (expected,) = decode(dicom(pixels, **RESCALED))
    (rendering,) = decode(dicom(pixels, syntax=syntax, **RESCALED))
    assert rendering.pixel_sha256 == expected.pixel_sha256


def test_run_length_encoding_gives_the_same_picture(decode: Decode) -> None:
    (expected,) = decode(dicom(SIGNED))
    dataset = dataset_of(SIGNED)
    dataset.compress(RLELossless)
    (rendering,) = decode(written(dataset))
    assert rendering.pixel_sha256 == expected.pixel_sha256


@pytest.mark.parametrize("syntax", SYNTAXES[:3], ids=lambda syntax: syntax.name)
def test_files_without_preamble_are_read(decode: Decode, *, syntax: str) -> None:
    whole = dicom(SIGNED, syntax=syntax)
    meta_length = int.from_bytes(whole[140:144], "little")  # (0002,0000), always the first element
    (expected,), (without_preamble,) = decode(whole), decode(whole[132:])
    (without_meta,) = decode(whole[144 + meta_length :])
    assert without_preamble.pixel_sha256 == without_meta.pixel_sha256 == expected.pixel_sha256


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 40, "WindowWidth": 0},
        {"WindowCenter": 40, "WindowWidth": -5},
        {"WindowCenter": 40, "WindowWidth": None},
        {"WindowCenter": "40", "WindowWidth": "0.5"},
        {"VOILUTSequence": lut([], first=0, bits=12)},
        {"VOILUTSequence": [Dataset()]},
        {"ModalityLUTSequence": [Dataset()]},
    ],
)
def test_without_a_usable_window_the_full_range_is_shown(decode: Decode, *, window: dict[str, Any]) -> None:
    (expected,) = decode(dicom(UNSIGNED))
    (rendering,) = decode(dicom(UNSIGNED, **window))
    assert rendering.pixel_sha256 == expected.pixel_sha256


def test_padding_neither_stretches_the_range_nor_is_lost(decode: Decode) -> None:
    pixels = ramp(low=0, high=1000, dtype="int16")
    pixels[:5] = -2000
    (rendering,) = decode(dicom(pixels, PixelPaddingValue=-2000))
    assert not shown(rendering)[:5].any()
    assert shown(rendering)[-1, -1] == 255
    assert shown(rendering)[5, 0] == 0


def test_a_picture_of_nothing_but_padding_is_still_a_picture(decode: Decode) -> None:
    (rendering,) = decode(dicom(np.full((4, 4), 7, dtype=np.int16), PixelPaddingValue=7))
    assert shown(rendering).shape == (4, 4)


def test_float_pixels_are_shown_from_smallest_to_largest(decode: Decode) -> None:
    values = ramp(low=-3, high=9, dtype="float32")
    dataset = dataset_of(values.view("uint32"), BitsStored=None, HighBit=None, PixelRepresentation=None)
    del dataset.PixelData
    dataset.FloatPixelData = values.tobytes()
    (rendering,) = decode(written(dataset))
    expected = np.rint((values + 3) / 12 * 255)
    assert farthest(rendering, expected) <= 1
