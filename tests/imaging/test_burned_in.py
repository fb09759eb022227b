"""Which DICOM pictures a person has to look at, and which not."""

import pytest
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    RTDoseStorage,
    RTImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from retrieval.imaging.burned_in import review_reason
from tests.imaging.conftest import Decode
from tests.imaging.files import dataset_of, dicom, ramp, saved

MARKED, FACE, ULTRASOUND = "text is burned into", "can be recognised", "Ultrasound devices"
LABEL_MAP, HEIGHT_MAP = (f"1.2.840.10008.5.1.4.1.1.66.{number}" for number in (7, 8))
SLIDE_LABEL = "the label of a slide or specimen"
CAPTURED, CAMERA, UNKNOWN = "captured, scanned or saved", "a camera or an endoscope", "what kind of picture"


def _reason(**elements: object) -> str:
    return review_reason(dataset_of(ramp(), **elements))


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"BurnedInAnnotation": "YES"}, MARKED),
        ({"BurnedInAnnotation": " yes "}, MARKED),
        ({"RecognizableVisualFeatures": "YES"}, FACE),
        ({"RecognizableVisualFeatures": "YES", "BurnedInAnnotation": "NO"}, FACE),
        ({"Modality": "US"}, ULTRASOUND),
        ({"Modality": "IVUS"}, ULTRASOUND),
        ({"Modality": "CT", "SOPClassUID": UltrasoundImageStorage}, ULTRASOUND),
        ({"Modality": "OT", "SOPClassUID": UltrasoundMultiFrameImageStorage}, ULTRASOUND),
        ({"Modality": "US", "BurnedInAnnotation": "MAYBE"}, ULTRASOUND),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, CAPTURED),
        ({"SOPClassUID": f"{SecondaryCaptureImageStorage}.4"}, CAPTURED),
        ({"Modality": "SC"}, CAPTURED),
        ({"ConversionType": "WSD"}, CAPTURED),
        ({"ConversionType": "DF"}, CAPTURED),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, CAPTURED),
        ({"SeriesDescription": "Dose report, screen save"}, CAPTURED),
        ({"SecondaryCaptureDeviceManufacturer": "Any"}, CAPTURED),
        ({"DateOfSecondaryCapture": "20200101"}, CAPTURED),
        ({"SOPClassUID": SegmentationStorage, "BurnedInAnnotation": "NO"}, "of the kind Segmentation"),
        ({"SOPClassUID": RTDoseStorage}, "of the kind RT Dose"),
        ({"SOPClassUID": LABEL_MAP, "BurnedInAnnotation": "NO"}, "of the kind Label Map Segmentation"),
        ({"SOPClassUID": HEIGHT_MAP}, "of the kind Height Map Segmentation"),
        ({"Modality": "SEG", "BurnedInAnnotation": "NO"}, "of the kind Segmentation"),
        ({"Modality": "SEG", "SOPClassUID": "1.2.3.4"}, "of the kind Segmentation"),
        ({"Modality": "rtdose ", "SOPClassUID": SecondaryCaptureImageStorage}, "of the kind RT Dose"),
        ({"Modality": "SM", "ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, SLIDE_LABEL),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL"], "BurnedInAnnotation": "NO"}, SLIDE_LABEL),
        ({"Modality": "SM", "SpecimenLabelInImage": "YES", "BurnedInAnnotation": "NO"}, SLIDE_LABEL),
        ({"Modality": "SM", "ImageType": ["ORIGINAL", "PRIMARY", "OVERVIEW"], "BurnedInAnnotation": "NO"}, SLIDE_LABEL),
        ({"SOPClassUID": VLWholeSlideMicroscopyImageStorage, "ImageType": ["DERIVED", "OVERVIEW"]}, SLIDE_LABEL),
        ({"Modality": "XC"}, CAMERA),
        ({"Modality": "ES"}, CAMERA),
        ({"Modality": "OT"}, UNKNOWN),
        ({"Modality": ""}, UNKNOWN),
        ({"Modality": None}, UNKNOWN),
    ],
)
def test_what_may_show_whose_it_is_is_to_be_looked_at(elements: dict[str, object], expected: str) -> None:
    assert expected in _reason(**elements)


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]},
        {"Modality": "US", "BurnedInAnnotation": "NO"},
        {"SOPClassUID": SecondaryCaptureImageStorage, "ConversionType": "WSD", "BurnedInAnnotation": "NO"},
        {"Modality": "OT", "BurnedInAnnotation": "NO"},
        {"Modality": "CT", "ImageType": ["DERIVED", "SECONDARY", "OVERVIEW"]},
        {"Modality": "SM", "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "SpecimenLabelInImage": "NO"},
        {"Modality": "RTIMAGE", "SOPClassUID": RTImageStorage, "ConversionType": "DI"},
        {"Modality": "CT", "SOPClassUID": CTImageStorage, "BurnedInAnnotation": ""},
    ],
)
def test_what_a_scanner_makes_is_shown_at_once(elements: dict[str, object]) -> None:
    assert _reason(**elements) == ""


def test_the_reason_comes_with_every_frame(decode: Decode) -> None:
    frames = decode(dicom(ramp(rows=60).reshape(3, 20, 30), Modality="US"))
    assert [ULTRASOUND in frame.review_reason for frame in frames] == [True] * 3


def test_no_text_of_the_file_is_in_the_reason(decode: Decode) -> None:
    (frame,) = decode(
        dicom(ramp(), ConversionType="WSD", SeriesDescription="SAVE Doe^Jane", ImageType=["SAVE", "JANE"])
    )
    assert CAPTURED in frame.review_reason
    assert "JANE" not in frame.review_reason.upper()


def test_ordinary_images_say_nothing_of_it(decode: Decode) -> None:
    assert [frame.review_reason for frame in decode(saved(ramp()))] == [""]


@pytest.mark.parametrize(
    ("syntax", "position", "held"),
    [
        (RLELossless, 12, True),
        (JPEG2000Lossless, 15, True),
        (RLELossless, 0, False),
        (RLELossless, None, False),
        (ExplicitVRLittleEndian, 12, False),
    ],
)
@pytest.mark.parametrize("group", [0x6000, 0x6010, 0x601E])
def test_an_overlay_in_compressed_pixels_is_to_be_looked_at(
    *, syntax: str, position: int | None, held: bool, group: int
) -> None:
    """From uncompressed pixels it is removed, and nothing is left to look at."""
    dataset = dataset_of(ramp(), syntax=syntax, BurnedInAnnotation="NO")
    if position is not None:
        dataset.add_new((group, 0x0102), "US", position)
    assert ("bits that the picture does not use" in review_reason(dataset)) == held
