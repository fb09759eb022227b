"""The few DICOM attributes that leave a file, cleaned; everything else stays inside."""

import math
import re
import unicodedata
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from retrieval.imaging.clean_codes import is_code
from retrieval.imaging.rendering import TEXT_ATTRIBUTES

# The first that holds a code counts.
_CODES = {
    "modality": ("Modality",),
    "body_part_examined": ("BodyPartExamined",),
    "view_position": ("ViewPosition",),
    "laterality": ("ImageLaterality", "Laterality"),
    "photometric_interpretation": ("PhotometricInterpretation",),
}
_BETWEEN = re.compile(r"[\s_-]")
_UIDS = {
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "sop_instance_uid": "SOPInstanceUID",
}
_NUMBERS = {"instance_number": "InstanceNumber"}
_UID_SHAPE = re.compile(r"[0-9]+(\.[0-9]+)*")
# Where the distance of rows and columns is found, best first (PS3.3, 10.7.1.3 and C.8.11.7).
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
_SQUARE_WITHIN = 0.01
# Outside of this a spacing is a mistake, and stretching by it would only cost memory.
_WIDEST_ASPECT = 20.0


def kept_attributes(dataset: Dataset) -> dict[str, str | int | float]:
    """Return the allow-list of TEXT_ATTRIBUTES and NUMBER_ATTRIBUTES; absent ones are "" or left out (numbers).

    `patient_id` is the raw PatientID: only for a keyed hash, see Rendering.
    """
    kept: dict[str, str | int | float] = {}
    kept["patient_id"] = clean_text(_value(dataset, keyword="PatientID"), length=TEXT_ATTRIBUTES["patient_id"])
    for name, keywords in _CODES.items():
        codes = (_code(dataset, keyword=keyword, length=TEXT_ATTRIBUTES[name]) for keyword in keywords)
        kept[name] = next(filter(None, codes), "")
    for name, keyword in _UIDS.items():
        kept[name] = clean_uid(_value(dataset, keyword=keyword))
    return kept | _numbers(dataset)


def _code(dataset: Dataset, *, keyword: str, length: int) -> str:
    """Return the code of the standard that the element holds, "" for any other word: devices let people type there.

    Some write `WHOLE BODY` or `L_SPINE` for a code.
    """
    text = clean_text(_value(dataset, keyword=keyword), length=length)
    return next((code for code in (text, _BETWEEN.sub("", text)) if is_code(code, keyword=keyword)), "")


def clean_text(value: object, *, length: int) -> str:
    """Return the text without control, format, surrogate and private characters, trimmed and cut.

    PostgreSQL refuses NUL and lone surrogates; direction overrides would garble a page.
    """
    text = "" if value is None else str(value)
    printable = "".join(letter for letter in text[: 4 * length] if unicodedata.category(letter)[0] != "C")
    return " ".join(printable.split())[:length].strip()


def clean_uid(value: object) -> str:
    """Return the UID, or "" when it is not one (PS3.5, 9.1: digits and dots, at most 64)."""
    text = "" if value is None else str(value).strip(" \0")
    return text if len(text) <= 64 and _UID_SHAPE.fullmatch(text) else ""


def pixel_aspect(dataset: Dataset, *, index: int) -> float:
    """Return height over width of a pixel of the frame, 1.0 when square, unknown or absurd."""
    for source in (macro(dataset, index=index, sequence="PixelMeasuresSequence"), dataset):
        for keyword in _SPACINGS:
            aspect = _aspect(element_values(source, keyword=keyword))
            if aspect is not None:
                return 1.0 if abs(aspect - 1) < _SQUARE_WITHIN else aspect
    return 1.0


def macro(dataset: Dataset, *, index: int, sequence: str) -> Dataset:
    """Return the functional group item that holds for the frame: its own, else the shared one, else the data set.

    PS3.3, C.7.6.16: enhanced objects keep spacing, rescale and window there.
    """
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in (*per_frame[index : index + 1], *shared[:1]):
        items = group.get(sequence)
        if items:
            return items[0]
    return dataset


def _value(dataset: Dataset, *, keyword: str) -> object:
    """Return the element's first value, None when absent or unreadable: one bad text must not cost the picture."""
    values = element_values(dataset, keyword=keyword)
    return values[0] if values else None


def element_values(dataset: Dataset, *, keyword: str) -> list[Any]:
    """Return all values of the element, none when it is absent or unreadable."""
    try:
        value = dataset.get(Tag(keyword))
        inner = value.value if value is not None else None
    except Exception:
        return []
    if inner is None:
        return []
    return list(inner) if isinstance(inner, (list, tuple)) or hasattr(inner, "insert") else [inner]


def _aspect(values: list[Any]) -> float | None:
    try:
        down, across = (float(value) for value in values[:2])
        aspect = down / across
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        return None
    usable = math.isfinite(aspect) and 1 / _WIDEST_ASPECT <= aspect <= _WIDEST_ASPECT
    return aspect if usable else None


def _numbers(dataset: Dataset) -> dict[str, int]:
    numbers = {}
    for name, keyword in _NUMBERS.items():
        try:
            number = int(str(_value(dataset, keyword=keyword)))
        except ValueError:
            continue
        if abs(number) < 2**31:  # the range of IS (PS3.5, 6.2) and of a database integer
            numbers[name] = number
    return numbers
