"""DICOM by the Basic Application Level Confidentiality Profile (PS3.15, table E.1-1), and stricter.

The profile says what must go, by the tables of dicom-anonymizer. Its own walk is not used: it looks at the top level
only, and draws new UIDs by chance. What the profile leaves is kept by what it is: numbers, the tables and coded
strings that a picture needs to be shown, and UIDs in mapped form. No free text stays, wherever it stands.
"""

import io
import os
import re
from pathlib import Path

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as profile
from pydicom import dcmread
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, empty_value_for_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID, UID_dictionary

from retrieval.imaging.dicom import pixel_options
from retrieval.imaging.dicom_damage import check_complete, refusing_damage
from retrieval.imaging.dicom_stream import is_deflated, plain_stream
from retrieval.imaging.limits import Limits
from retrieval.imaging.stored_form import Piece, Span
from retrieval.imaging.uids import mapped_uid

Rule = tuple[int, ...]
# Z: may be there without a value (type 2), so that readers that insist on it find it. What else it names goes.
_EMPTIED = {*profile.Z_TAGS, *profile.Z_D_TAGS, *profile.X_Z_TAGS, *profile.X_Z_D_TAGS}
# But for U, and for sequences of references (X/Z/U*): their UIDs are mapped.
_REMOVED = {*profile.D_TAGS, *profile.X_TAGS, *profile.X_D_TAGS}
_MASKED = [rule for rule in _EMPTIED | _REMOVED if len(rule) == 4]
_TEXTS = ("AE", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UT")
_NUMBERS = ("AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV")
_WRITTEN_NUMBER = re.compile(r"[-+0-9.eE]*")
_CODE = re.compile(r"[A-Z0-9_ ]{0,16}")
_CODES = {
    *("Modality", "BodyPartExamined", "ViewPosition", "Laterality", "ImageLaterality", "FrameLaterality"),
    *("PhotometricInterpretation", "BurnedInAnnotation", "PresentationLUTShape", "VOILUTFunction"),
    *("PixelIntensityRelationship", "PatientOrientation", "LossyImageCompression"),
}
_COLOURS = ("Red", "Green", "Blue", "Alpha")
_TABLES = {
    *(f"{colour}PaletteColorLookupTableData" for colour in _COLOURS),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in _COLOURS),
    *("LUTData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
}
_METHOD = "PS3.15 Basic Profile, and no free text"
_UNCLEAN = "what is written in it besides its picture cannot be removed"


def dicom_pieces(path: Path, *, limits: Limits, uid_key: str) -> list[Piece]:
    """Return a new header, and the element of the pixel data as it is. Nothing after it is kept."""
    with path.open("rb") as file, refusing_damage(_UNCLEAN):
        stream = plain_stream(file, limits=limits)
        dataset = dcmread(stream, stop_before_pixels=True, force=True)
        start = stream.tell()
        options = pixel_options(stream, dataset=dataset)
        length = stream.tell() - start + check_complete(stream, options=options)
        clean(dataset, uid_key=uid_key)
        _describe(dataset)
        header = _written(dataset, uid_key=uid_key)
        if is_deflated(file):
            stream.seek(start)
            return [header, stream.read(length)]
        # A stream with a file header of ours is longer than the file, but it ends with the same bytes.
        moved = path.stat().st_size - stream.seek(0, os.SEEK_END)
        return [header, Span(start + moved, length)]


def clean(dataset: Dataset, *, uid_key: str) -> None:
    """Leave of a data set, and of all that is nested in it, what the module's docstring says."""
    for tag in list(dataset.keys()):
        try:
            kept = _cleaned(dataset[tag], uid_key=uid_key)
        except RecursionError:
            raise
        except Exception:
            # What cannot be read cannot be judged.
            kept = None
        del dataset[tag]
        if kept is not None:
            dataset.add(kept)


def _cleaned(element: DataElement, *, uid_key: str) -> DataElement | None:
    """Return what stays of the element, None when nothing does."""
    tag = BaseTag(element.tag)
    keyword = keyword_for_tag(tag)
    if not keyword or element.VR not in dictionary_VR(tag).split(" or "):
        return None
    rule = _rule(tag)
    if rule in _EMPTIED and element.VR in _TEXTS:
        return DataElement(tag, element.VR, empty_value_for_VR(element.VR))
    if rule in _EMPTIED | _REMOVED:
        return None
    if element.VR == "SQ":
        for item in element.value:
            clean(item, uid_key=uid_key)
        return element
    if element.VR == "UI":
        element.value = [_mapped(uid, uid_key=uid_key) for uid in _values(element)]
        return element
    return element if _says_nothing(element, keyword=keyword) else None


def _rule(tag: BaseTag) -> Rule:
    """Return the profile's rule for the attribute as its tables name it; for what they do not name, its tag."""
    group, number = tag.group, tag.element
    for rule in _MASKED:
        if group & rule[2] == rule[0] & rule[2] and number & rule[3] == rule[1] & rule[3]:
            return rule
    return (group, number)


def _says_nothing(element: DataElement, *, keyword: str) -> bool:
    """Tell whether the value can only be a number, a table of them, or a code of those that are kept."""
    if element.VR in _NUMBERS or keyword in _TABLES:
        return True
    texts = [str(value) for value in _values(element)]
    if element.VR in ("DS", "IS"):
        return all(_WRITTEN_NUMBER.fullmatch(text.strip()) for text in texts)
    return keyword in _CODES and all(_CODE.fullmatch(text) for text in texts)


def _values(element: DataElement) -> list[object]:
    if element.value is None:
        return []
    return list(element.value) if isinstance(element.value, MultiValue | list) else [element.value]


def _mapped(uid: object, *, uid_key: str) -> str:
    """Those that the standard itself gives out name kinds of things; all others name things."""
    text = str(uid).strip(" \0")
    return text if text in UID_dictionary else mapped_uid(text, key=uid_key)


def _describe(dataset: Dataset) -> None:
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = _METHOD
    dataset.LongitudinalTemporalInformationModified = "REMOVED"


def _written(dataset: Dataset, *, uid_key: str) -> bytes:
    """Return the file up to its pixel data, with an empty preamble and a file header of our own."""
    old, meta = dataset.file_meta, FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0
    meta.FileMetaInformationVersion = b"\0\1"
    for keyword in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID"):
        uid = dataset.get(keyword.removeprefix("MediaStorage")) or _mapped(old.get(keyword, ""), uid_key=uid_key)
        setattr(meta, keyword, uid)
    meta.TransferSyntaxUID = UID(old.TransferSyntaxUID)
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    written = io.BytesIO()
    stream = DicomFileLike(written)
    stream.write(bytes(128) + b"DICM")
    write_file_meta_info(stream, meta, enforce_standard=False)
    implicit, little = dataset.original_encoding
    stream.is_implicit_VR, stream.is_little_endian = bool(implicit), bool(little)
    write_dataset(stream, dataset)
    return written.getvalue()
