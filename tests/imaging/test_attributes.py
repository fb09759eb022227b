"""Which texts of a DICOM file leave it: those of the allow-list, cleaned."""

import json

import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset

from retrieval.imaging.dicom_attributes import clean_text, clean_uid
from retrieval.imaging.rendering import NUMBER_ATTRIBUTES, TEXT_ATTRIBUTES
from tests.imaging.conftest import Decode
from tests.imaging.files import dataset_of, dicom, ramp, written

MARK = "MARK"
# The keywords behind the allow-list, as the standard names them.
ALLOWED = {
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "Laterality",
    "ImageLaterality",
    "PhotometricInterpretation",
    "PatientID",
}
_TEXTS = ("PN", "LO", "SH", "ST", "LT", "UT", "CS", "AE", "UC")


def _everywhere(mark: str) -> Dataset:
    """A picture with the mark in every text element that the standard knows, in a sequence and a private one too."""
    dataset, nested = dataset_of(ramp()), Dataset()
    for tag, (representation, _, _, _, keyword) in DicomDictionary.items():
        if representation in _TEXTS and keyword and keyword not in ALLOWED and tag >> 16 >= 0x0008:
            dataset.add_new(tag, representation, mark)
            nested.add_new(tag, representation, mark)
    del dataset.SpecificCharacterSet, nested.SpecificCharacterSet
    dataset.RequestAttributesSequence = [nested]
    dataset.private_block(0x0009, "SOMEBODY", create=True).add_new(0x01, "LO", mark)
    return dataset


def test_no_text_outside_of_the_allow_list_leaves_a_file(decode: Decode) -> None:
    dataset = _everywhere(MARK)
    assert dataset.PatientName == MARK and len(dataset) > 1000
    (rendering,) = decode(written(dataset))
    assert MARK not in json.dumps(rendering.attributes)
    assert set(rendering.attributes) <= {*TEXT_ATTRIBUTES, *NUMBER_ATTRIBUTES}


def test_the_allow_list_is_read(decode: Decode) -> None:
    (rendering,) = decode(
        dicom(
            ramp(),
            Modality="MR",
            BodyPartExamined="BRAIN",
            ViewPosition="AP",
            Laterality="L",
            PatientID="P-1",
            StudyInstanceUID="1.2.3",
            SeriesInstanceUID="1.2.3.1",
            InstanceNumber=7,
        )
    )
    assert rendering.attributes == {
        "modality": "MR",
        "body_part_examined": "BRAIN",
        "view_position": "AP",
        "laterality": "L",
        "photometric_interpretation": "MONOCHROME2",
        "patient_id": "P-1",
        "study_instance_uid": "1.2.3",
        "series_instance_uid": "1.2.3.1",
        "sop_instance_uid": "1.2.3.4",
        "instance_number": 7,
    }


@pytest.mark.parametrize(
    ("keyword", "name"),
    [
        ("Modality", "modality"),
        ("BodyPartExamined", "body_part_examined"),
        ("ViewPosition", "view_position"),
        ("Laterality", "laterality"),
        ("ImageLaterality", "laterality"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_code_of_the_standard_stays_inside(decode: Decode, *, keyword: str, name: str) -> None:
    (rendering,) = decode(dicom(ramp(), **{keyword: "DOE JANE 1957"}))
    assert rendering.attributes[name] == ""


def test_a_laterality_that_is_no_code_does_not_hide_one_that_is(decode: Decode) -> None:
    (rendering,) = decode(dicom(ramp(), ImageLaterality="DOE JANE", Laterality="L"))
    assert rendering.attributes["laterality"] == "L"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", ["CHEST", "HEADNECK", "Brain", " HAND "])
def test_body_parts_of_the_standard_stay(decode: Decode, *, value: str) -> None:
    (rendering,) = decode(dicom(ramp(), BodyPartExamined=value))
    assert rendering.attributes["body_part_examined"] == value.strip()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("value", "code"), [("WHOLE BODY", "WHOLEBODY"), ("L_SPINE", "LSPINE"), ("HEAD-NECK", "HEADNECK")]
)
def test_words_that_are_a_code_but_for_their_spaces_become_it(decode: Decode, *, value: str, code: str) -> None:
    (rendering,) = decode(dicom(ramp(), BodyPartExamined=value))
    assert rendering.attributes["body_part_examined"] == code


def test_image_laterality_counts_before_laterality(decode: Decode) -> None:
    (rendering,) = decode(dicom(ramp(), Laterality="L", ImageLaterality="R"))
    assert rendering.attributes["laterality"] == "R"


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ("CT\0PLANTED", "CTPLANTED"),
        ("  CHEST  \r\n ABDOMEN ", "CHEST ABDOMEN"),
        ("\u202egnip", "gnip"),
        ("a\ud800b", "ab"),
        ("x" * 100, "x" * 16),
        ("<b>'; DROP--", "<b>'; DROP--"),
        (None, ""),
        (12, "12"),
    ],
)
def test_texts_are_cleaned(*, value: object, cleaned: str) -> None:
    assert clean_text(value, length=16) == cleaned


def test_hostile_texts_are_cleaned_on_their_way_out_of_a_file(decode: Decode) -> None:
    dataset = dataset_of(ramp(), SpecificCharacterSet="ISO_IR 192", PatientID="Ma" + "\u202e" + "ker")
    content = written(dataset).replace(b"1.2.3.4\0", b"1.2'3.4\0").replace(b"CS\x02\x00CT", b"CS\x02\x00C\0")
    (rendering,) = decode(content)
    assert rendering.attributes["patient_id"] == "Maker"
    assert rendering.attributes["modality"] == ""
    assert rendering.attributes["sop_instance_uid"] == ""


@pytest.mark.parametrize(
    ("value", "uid"),
    [
        ("1.2.840.1", "1.2.840.1"),
        (" 1.2\0", "1.2"),
        ("../../etc/passwd", ""),
        ("1..2", ""),
        ("1." * 40 + "1", ""),
        (None, ""),
        ("1.\u0662", ""),
    ],
)
def test_uids_are_digits_and_dots_or_nothing(*, value: object, uid: str) -> None:
    assert clean_uid(value) == uid


def test_numbers_out_of_range_are_left_out(decode: Decode) -> None:
    content = written(dataset_of(ramp(), InstanceNumber="1000000001")).replace(b"1000000001", b"9999999999")
    (rendering,) = decode(content)
    assert "instance_number" not in rendering.attributes
