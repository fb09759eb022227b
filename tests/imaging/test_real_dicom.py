"""The real DICOM files: read or refused as their index says, and shown as pydicom itself shows them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from retrieval.imaging import Decoder, FileRefused, Limits
from tests.bad_inputs import index_of, is_readable
from tests.imaging.files import farthest, shown
from tests.imaging.reference import reference_levels

pytestmark = pytest.mark.real

EMPTY = dict.fromkeys(("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"))
# What pydicom's functions cannot render as it stands: why, and what has to be set (None: removed) so that they can.
FOR_PYDICOM: dict[str, tuple[str, dict[str, Any]]] = {
    "112_OT_leadtools-flowers-16-mono2-rle.dcm": ("empty modality LUT and rescale", EMPTY),
    "113_OT_leadtools-flowers-8-mono2-rle.dcm": ("empty modality LUT and rescale", EMPTY),
    "129_RTIMAGE_RI6XDosiGap.dcm": ("window width below 1", {"WindowWidth": None, "WindowCenter": None}),
    "092_OT_parametric_map_double_float.dcm": ("float needs no bits", {"BitsStored": 32, "PixelRepresentation": 1}),
    "093_OT_parametric_map_float.dcm": ("float needs no bits", {"BitsStored": 32, "PixelRepresentation": 1}),
}
# pydicom 3.0.2 reads the palettes of big-endian files as little-endian ones: compared with the same picture in
# little endian instead.
BIG_ENDIAN_PALETTES = {
    "151_US_OBXXXX1A_expb.dcm": "165_US_OBXXXX1A_rle.dcm",
    "152_US_OBXXXX1A_expb_2frame.dcm": "154_US_OBXXXX1A_2frame.dcm",
}


def _readable(folder: Path) -> list[str]:
    return [row["file"] for row in index_of(folder) if is_readable(row)]


def _prepared(path: Path) -> Dataset:
    dataset = dcmread(path, force=True)
    # A file without file meta does not name its encoding, and pydicom reads it without guessing one.
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    _, changes = FOR_PYDICOM.get(path.name, ("", {}))
    for keyword, value in changes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


def _stretched(expected: np.ndarray, *, like: np.ndarray) -> np.ndarray:
    """Oblong pixels are shown square: resample the reference in the same way."""
    if expected.shape[:2] == like.shape[:2]:
        return expected
    size = (like.shape[1], like.shape[0])
    return np.asarray(Image.fromarray(expected).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0))


def test_every_file_is_read_or_refused_as_its_index_says(real_data: Path, decoder: Decoder) -> None:
    unlike = {}
    for row in index_of(real_data / "dicom"):
        expected = is_readable(row)
        try:
            frames, reason = len(list(decoder.render(real_data / "dicom" / row["file"]))), ""
        except FileRefused as refused:
            frames, reason = 0, refused.reason
        if bool(reason) == expected or (expected and frames != int(row["frames"] or 1)):
            unlike[row["file"]] = (row["decodes_with_pydicom"], row["frames"], frames, reason)
    assert unlike == {}


@pytest.mark.filterwarnings("ignore")
def test_every_preview_is_pydicoms_own_rendering_within_one_grey_level(real_data: Path) -> None:
    far, compared = {}, set()
    with Decoder(Limits(preview_side=1_000_000)) as decoder:
        for name in _readable(real_data / "dicom"):
            if name in BIG_ENDIAN_PALETTES:
                continue
            dataset = _prepared(real_data / "dicom" / name)
            for index, rendering in enumerate(decoder.render(real_data / "dicom" / name)):
                expected = reference_levels(dataset, index=index)
                compared.add(name)
                difference = farthest(rendering, _stretched(expected, like=shown(rendering)))
                if difference > 1:
                    far[f"{name}, frame {index + 1}"] = difference
    assert far == {}
    assert compared == {*_readable(real_data / "dicom")} - {*BIG_ENDIAN_PALETTES}
    assert len(compared) > 100


@pytest.mark.parametrize("pair", BIG_ENDIAN_PALETTES.items())
def test_palettes_of_big_endian_files_are_those_of_little_endian_ones(
    real_data: Path, decoder: Decoder, *, pair: tuple[str, str]
) -> None:
    big, little = (list(decoder.render(real_data / "dicom" / name)) for name in pair)
    assert [one.pixel_sha256 for one in big] == [one.pixel_sha256 for one in little]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("150_US_will-jxl.dcm", "compressed as JPEG XL"),
        ("139_SEG_liver_nonbyte_aligned_deflate.dcm", "compressed as Deflated Image Frame Compression"),
        ("027_CT_CTImage.dcm_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm", "JPEG Full Progression"),
        # 12-bit JPEG Extended in these three variants needs gdcm, which has an open security hole and is not used.
        ("007_CR_RG3_JPLY.dcm", "a variant of JPEG Extended"),
        ("071_NM_JPEG-lossy.dcm", "a variant of JPEG Extended"),
        ("172_XA_XA1_JPLY.dcm", "a variant of JPEG Extended"),
        ("149_SR_report_dfl.dcm", "of the kind Enhanced SR"),
        ("182_NA_DICOMDIR-bigEnd.dcm", "a DICOMDIR"),
        ("188_NA_emri_small_jpeg_2k_lossless_too_short.dcm", "a part of its picture data is missing"),
    ],
)
def test_what_cannot_be_read_is_named(real_data: Path, decoder: Decoder, *, name: str, words: str) -> None:
    with pytest.raises(FileRefused) as refused:
        list(decoder.render(real_data / "dicom" / name))
    assert words in refused.value.reason
