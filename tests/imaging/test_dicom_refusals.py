"""DICOM files that are refused, each with a sentence that says why."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    ComprehensiveSRStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    EnhancedUSVolumeStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    JPEGBaseline8Bit,
    MicroscopyBulkSimpleAnnotationsStorage,
    ParametricMapStorage,
    RLELossless,
    RTDoseStorage,
    RTImageStorage,
    RTPlanStorage,
    RTStructureSetStorage,
    TwelveLeadECGWaveformStorage,
)

from retrieval.imaging import FileRefused
from tests.imaging.conftest import Decode
from tests.imaging.files import dataset_of, dicom, ramp, saved, written
from tests.imaging.marks import APPENDED, GREY, compressed, segment

Refusal = Callable[[bytes], str]
PIXELS = ramp(low=0, high=4095, dtype="uint16")
MISSING = "a part of its picture data is missing"


@pytest.mark.parametrize("beginning", [b"MZ", b"\x7fELF", b"#!/bin/sh"])
def test_a_preamble_that_begins_like_a_program_is_refused(refusal: Refusal, *, beginning: bytes) -> None:
    content = dicom(PIXELS)
    assert "begins like a program" in refusal(beginning + content[len(beginning) :])


def test_a_preamble_of_a_tiff_is_no_obstacle(decode: Decode) -> None:
    """Slides are written as TIFF and DICOM in one (PS3.10, 7.1)."""
    content = dicom(PIXELS)
    (rendering,) = decode(b"II*\0" + content[4:])
    assert rendering.attributes["modality"] == "CT"


@pytest.mark.parametrize(
    ("uid", "words"),
    [
        (ComprehensiveSRStorage, "of the kind Comprehensive SR."),
        (RTStructureSetStorage, "of the kind RT Structure Set."),
        ("1.2.840.10008.5.1.4.1.1.2", "it was exported without its picture data."),
        ("1.2.3.4", "This DICOM file holds no picture."),
        ("1.2.840.10008.1.3.10", "a DICOMDIR, the table of contents of a disc"),
    ],
)
def test_objects_without_a_picture_are_refused_by_what_they_are(refusal: Refusal, *, uid: str, words: str) -> None:
    dataset = dataset_of(PIXELS, SOPClassUID=uid)
    del dataset.PixelData
    assert words in refusal(written(dataset))


@pytest.mark.parametrize(
    ("uid", "kind"),
    [
        (RTPlanStorage, "RT Plan"),
        (GrayscaleSoftcopyPresentationStateStorage, "Grayscale Softcopy Presentation State"),
        (TwelveLeadECGWaveformStorage, "12-lead ECG Waveform"),
        (MicroscopyBulkSimpleAnnotationsStorage, "Microscopy Bulk Simple Annotations"),
        (EncapsulatedPDFStorage, "Encapsulated PDF"),
    ],
)
def test_objects_that_are_no_picture_are_refused_though_they_have_pixels(
    refusal: Refusal, *, uid: str, kind: str
) -> None:
    assert f"it is of the kind {kind}." in refusal(dicom(PIXELS, SOPClassUID=uid))


@pytest.mark.parametrize(
    "uid",
    [
        *(RTImageStorage, ParametricMapStorage, EnhancedUSVolumeStorage, RTDoseStorage, "1.2.3.4"),
        *("1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.66.8"),
    ],
)
def test_pictures_of_unusual_classes_are_read(decode: Decode, *, uid: str) -> None:
    assert len(decode(dicom(PIXELS, SOPClassUID=uid))) == 1


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsAllocated", "SamplesPerPixel"])
def test_a_picture_that_is_not_described_is_refused(refusal: Refusal, *, keyword: str) -> None:
    assert f"{keyword} is missing" in refusal(dicom(PIXELS, **{keyword: None}))


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"Rows": 0}, "no rows or columns"),
        ({"Rows": 65535, "Columns": 65535}, "more than 100 megapixels"),
        ({"NumberOfFrames": 999_999}, "more than 2,000 frames"),
        ({"NumberOfFrames": 2}, MISSING),
        ({"Rows": 21}, MISSING),
        ({"BitsAllocated": 12}, "cannot be read"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "cannot be read"),
        ({"SamplesPerPixel": 7}, MISSING),
    ],
)
def test_impossible_pictures_are_refused(refusal: Refusal, *, elements: dict[str, Any], words: str) -> None:
    assert words in refusal(dicom(PIXELS, **elements))


def test_a_cut_file_is_refused(refusal: Refusal) -> None:
    content = dicom(PIXELS)
    assert MISSING in refusal(content[:-100])


@pytest.mark.parametrize("cut", [1, 8, 40, 200])
def test_a_cut_compressed_file_is_refused_even_where_a_decoder_would_draw_the_rest(
    refusal: Refusal, decode: Decode, *, cut: int
) -> None:
    jpeg = saved(ramp(rows=64, columns=64), "JPEG")
    dataset = dataset_of(ramp(rows=64, columns=64), syntax=JPEGBaseline8Bit, PixelData=encapsulate([jpeg]))
    content = written(dataset)
    assert len(decode(content)) == 1
    assert MISSING in refusal(content[:-cut])


def _jpeg(*, cut: int = 0, after: bytes = b"", **options: Any) -> bytes:
    """A frame without its last `cut` bytes; 2 are the marker that ends it."""
    frame = saved(GREY, "JPEG", quality=95, **options)
    return frame[: len(frame) - cut] + after


THUMBNAIL = segment(0xE1, b"Exif\0\0" + saved(ramp(), "JPEG"))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
@pytest.mark.parametrize("cut", [2, 3, 40])
def test_a_jpeg_without_its_end_is_refused_though_a_decoder_would_draw_the_rest(
    refusal: Refusal, *, cut: int, options: dict[str, Any]
) -> None:
    assert MISSING in refusal(written(compressed([_jpeg(cut=cut, **options)])))


def test_a_jpeg_that_is_cut_in_a_table_between_its_scans_is_refused(refusal: Refusal) -> None:
    frame = _jpeg(progressive=True)
    assert MISSING in refusal(written(compressed([frame[: frame.rindex(b"\xff\xc4") + 8]])))


def test_the_end_of_a_thumbnail_or_of_another_frame_is_none(refusal: Refusal) -> None:
    cut = _jpeg(cut=40)
    assert MISSING in refusal(written(compressed([cut[:2] + THUMBNAIL + cut[2:]])))
    assert MISSING in refusal(written(compressed([_jpeg(), cut, _jpeg()])))


@pytest.mark.parametrize("name", ["JPEGLSNearLossless_08.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_gdcm.dcm"])
def test_other_frames_of_the_family_end_alike(refusal: Refusal, *, name: str) -> None:
    dataset = dcmread(str(get_testdata_file(name)))
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[: frame.rindex(b"\xff\xd9")]])
    assert MISSING in refusal(written(dataset))


@pytest.mark.parametrize("after", [*APPENDED, bytes(40), b"\xff\xda" + bytes(40)])
def test_what_follows_the_end_of_a_jpeg_is_no_obstacle(decode: Decode, *, after: bytes) -> None:
    frame = _jpeg(after=after)
    assert len(decode(written(compressed([frame[:2] + THUMBNAIL + frame[2:]] * 2)))) == 2


def test_a_cut_deflated_file_is_refused(refusal: Refusal) -> None:
    noise = np.random.default_rng(0).integers(0, 4096, (64, 64), dtype=np.uint16)
    content = dicom(noise, syntax=DeflatedExplicitVRLittleEndian)
    assert "breaks off in the middle" in refusal(content[: len(content) // 2])


def test_a_deflated_file_that_unpacks_without_end_is_refused(refusal: Refusal) -> None:
    whole = dicom(PIXELS, syntax=DeflatedExplicitVRLittleEndian)
    meta = whole[: 144 + int.from_bytes(whole[140:144], "little")]
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    content = meta + b"".join(deflater.compress(bytes(2**20)) for _ in range(300)) + deflater.flush()
    assert len(content) < 1_000_000
    assert "unpacks to far more data" in refusal(content)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.53", "JPEG Spectral Selection"),
        ("1.2.840.10008.1.2.4.110", "JPEG XL Lossless"),
        ("1.2.840.10008.1.2.4.100", "MPEG2 Main Profile"),
        ("1.2.840.10008.1.2.8.1", "Deflated Image Frame Compression"),
        ("1.2.3.4.5", "an unknown transfer syntax"),
    ],
)
def test_unknown_compressions_are_refused_by_name(refusal: Refusal, *, syntax: str, name: str) -> None:
    content = written(dataset_of(ramp(), syntax=JPEGBaseline8Bit, PixelData=encapsulate([b"\xff\xd8" * 50])))
    known, wanted = JPEGBaseline8Bit.encode(), UID(syntax).encode()
    assert f"compressed as {name}" in refusal(_with_syntax(content, known=known, wanted=wanted))


def _with_syntax(content: bytes, *, known: bytes, wanted: bytes) -> bytes:
    """Replace the transfer syntax in the file meta and correct both lengths."""
    old, new = (value + b"\0" * (len(value) % 2) for value in (known, wanted))
    group_length = int.from_bytes(content[140:144], "little") + len(new) - len(old)
    element = content.index(b"\x02\x00\x10\x00UI")
    after = element + 8 + len(old)
    return (
        content[:140]
        + group_length.to_bytes(4, "little")
        + content[144 : element + 6]
        + len(new).to_bytes(2, "little")
        + new
        + content[after:]
    )


def _nested(depth: int) -> Dataset:
    dataset = Dataset()
    dataset.PatientComments = "innermost"
    for _ in range(depth):
        outer = Dataset()
        outer.ReferencedImageSequence = [dataset]
        dataset = outer
    return dataset


def test_sequences_nested_without_end_are_refused(refusal: Refusal) -> None:
    item, end = b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    sequence = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + item
    content = dicom(PIXELS)
    at = content.index(b"\x28\x00\x02\x00US")
    assert "nested too deeply" in refusal(content[:at] + sequence * 5000 + end * 5000 + content[at:])


def test_sequences_nested_a_little_are_no_obstacle(decode: Decode) -> None:
    assert len(decode(dicom(PIXELS, ReferencedImageSequence=[_nested(20)]))) == 1


def test_broken_run_lengths_are_refused(refusal: Refusal) -> None:
    dataset = dataset_of(PIXELS)
    dataset.compress(RLELossless)
    content = bytearray(written(dataset))
    at = content.index(b"\xfe\xff\x00\xe0", content.index(b"\xe0\x7f\x10\x00") + 20) + 8
    content[at : at + 12] = b"\xff" * 12  # the number of segments, and where the first two begin
    assert "its picture data is broken" in refusal(bytes(content))


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_ends_in_pictures_or_in_a_sentence(decode: Decode, *, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dataset = dataset_of(PIXELS, WindowCenter=2000, WindowWidth=1000)
    if seed % 2:
        dataset.compress(RLELossless)
    content = bytearray(written(dataset))
    for place in rng.integers(132, len(content), 20):
        content[place] = rng.integers(0, 256)
    try:
        decode(bytes(content))
    except FileRefused as refused:
        assert refused.reason.endswith(".")
