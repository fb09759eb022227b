"""DICOM by the Basic Application Level Confidentiality Profile (PS3.15, table E.1-1), and stricter.

The profile says what must go, by the tables of dicom-anonymizer. Its own walk is not used: it looks at the top level
only, and draws new UIDs by chance. What the profile leaves is kept by what it is: numbers, the tables and coded
strings that a picture needs to be shown, and UIDs in mapped form. No free text stays, wherever it stands, be it in the
pixel data.
"""

import io
import os
import re
import struct
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as profile
from pydicom import dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, empty_value_for_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID, UID_dictionary
from pydicom.valuerep import format_number_as_ds

from retrieval.imaging.clean_codes import is_code
from retrieval.imaging.clean_pixels import encapsulated_pieces, native_pieces
from retrieval.imaging.clean_tables import keep_lut, kept_tables, luts_looked_up
from retrieval.imaging.dicom import pixel_options
from retrieval.imaging.dicom_damage import UNDEFINED_LENGTH, check_complete, refusing_damage
from retrieval.imaging.dicom_grey import LUT_SEQUENCES
from retrieval.imaging.dicom_stream import is_deflated, plain_stream
from retrieval.imaging.limits import Limits
from retrieval.imaging.stored_form import Piece, Span, length_of
from retrieval.imaging.uids import mapped_uid

Rule = tuple[int, ...]
# By their identity: elements that are equal may stand in other places.
Luts = dict[int, DataElement]
# Z: may be there without a value (type 2), so that readers that insist on it find it. What else it names goes.
_EMPTIED = {*profile.Z_TAGS, *profile.Z_D_TAGS, *profile.X_Z_TAGS, *profile.X_Z_D_TAGS}
# But for U, and for sequences of references (X/Z/U*): their UIDs are mapped.
_REMOVED = _EMPTIED | {*profile.D_TAGS, *profile.X_TAGS, *profile.X_D_TAGS}
_MASKED = [rule for rule in _REMOVED if len(rule) == 4]
_TEXTS = ("AE", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UT")
_NUMBERS = ("FD", "FL", "SL", "SS", "SV", "UL", "US", "UV")
# Characters of a written number (PS3.5, table 6.2-1), and the most of them where the standard sets no end.
_LONGEST = {"DS": 16, "IS": 12}
_MOST_NUMBERS = 6
_WRITTEN_NUMBER = re.compile(r"[-+0-9.eE]*")
# Overlays (PS3.3, C.9): their planes are not kept, and so nothing that describes them.
_OVERLAYS = range(0x6000, 0x6100)
_METHOD = "PS3.15 Basic Profile, and no free text"
_UNCLEAN = "what is written in it besides its picture cannot be removed"


def dicom_pieces(path: Path, *, limits: Limits, uid_key: str) -> list[Piece]:
    """Return a new header, and the pixels as they are. Nothing after them is kept."""
    with path.open("rb") as file, refusing_damage(_UNCLEAN):
        stream = plain_stream(file, limits=limits)
        dataset = dcmread(stream, stop_before_pixels=True, force=True)
        options = pixel_options(stream, dataset=dataset)
        check_complete(stream, options=options)
        encapsulated = options["transfer_syntax_uid"].is_encapsulated
        pixels = (encapsulated_pieces if encapsulated else native_pieces)(stream, options=options)
        tables = kept_tables(dataset, encapsulated=encapsulated)
        luts = luts_looked_up(dataset, frames=int(options["number_of_frames"]))
        clean(dataset, uid_key=uid_key, luts={id(lut): lut for lut in luts})
        for table in tables:
            dataset.add(table)
        if options["photometric_interpretation"] == "YBR_FULL":
            # What is stored says how it was shown, where the file itself is wrong about it.
            dataset.PhotometricInterpretation = "YBR_FULL"
        _describe(dataset)
        header = _written(dataset, uid_key=uid_key)
        header += _pixel_header(dataset, options=options, length=None if encapsulated else length_of(pixels))
        if is_deflated(file):
            return [header, *(_read(stream, piece) for piece in pixels)]
        # A stream with a file header of ours is longer than the file, but it ends with the same bytes.
        moved = path.stat().st_size - stream.seek(0, os.SEEK_END)
        return [header, *(_moved(piece, by=moved) for piece in pixels)]


def _read(stream: BinaryIO, piece: Piece) -> bytes:
    if isinstance(piece, bytes):
        return piece
    return b"".join(piece.chunks(stream))


def _moved(piece: Piece, *, by: int) -> Piece:
    return replace(piece, offset=piece.offset + by) if isinstance(piece, Span) else piece


def clean(dataset: Dataset, *, uid_key: str, luts: Luts) -> None:
    """Leave of a data set, and of all that is nested in it, what the module's docstring says; of LUTs these."""
    for tag in list(dataset.keys()):
        element = None
        try:
            element = dataset[tag]
            kept = _cleaned(element, uid_key=uid_key, luts=luts)
        except RecursionError:
            raise
        except Exception:
            # What cannot be read cannot be judged.
            kept = None
        if kept is None:
            del dataset[tag]
        elif kept is not element:
            dataset.add(kept)


def _cleaned(element: DataElement, *, uid_key: str, luts: Luts) -> DataElement | None:
    """Return what stays of the element, None when nothing does."""
    keyword, representations, rule = _known(element.tag)
    if element.VR not in representations or element.tag.group in _OVERLAYS:
        return None
    if rule in _EMPTIED and element.VR in _TEXTS:
        return DataElement(element.tag, element.VR, empty_value_for_VR(element.VR))
    if rule in _REMOVED:
        return None
    if keyword in LUT_SEQUENCES:
        return keep_lut(element) if id(element) in luts else None
    if element.VR == "SQ":
        for item in element.value:
            clean(item, uid_key=uid_key, luts=luts)
        return element
    if element.VR == "UI":
        element.value = [_mapped(uid, uid_key=uid_key) for uid in _values(element)]
        return element
    if element.VR in _LONGEST:
        return _short_numbers(element)
    return element if _says_nothing(element, keyword=keyword) else None


@lru_cache(maxsize=2**13)
def _known(tag: BaseTag) -> tuple[str, list[str], Rule]:
    """Return keyword, possible VRs (none of an unknown attribute) and the rule.

    A file of thousands of frames has the same few attributes for each of them.
    """
    keyword = keyword_for_tag(tag)
    return keyword, dictionary_VR(tag).split(" or ") if keyword else [], _rule(tag)


def _rule(tag: BaseTag) -> Rule:
    """Return the profile's rule for the attribute as its tables name it; for what they do not name, its tag."""
    group, number = tag.group, tag.element
    for rule in _MASKED:
        if group & rule[2] == rule[0] & rule[2] and number & rule[3] == rule[1] & rule[3]:
            return rule
    return (group, number)


def _says_nothing(element: DataElement, *, keyword: str) -> bool:
    """Tell whether the value can only be a few numbers, or codes that the standard defines."""
    if element.VR == "AT":
        return all(dictionary_has_tag(tag) for tag in _values(element))
    if element.VR in _NUMBERS:
        # A list of numbers without an end has room for any text.
        most = dictionary_VM(element.tag).rpartition("-")[2]
        return most.isdecimal() and len(_values(element)) <= int(most)
    return all(is_code(str(value), keyword=keyword) for value in _values(element))


def _short_numbers(element: DataElement) -> DataElement | None:
    """Leave no more numbers than the attribute has, each as long as its VR allows; None when one is no number.

    Cut and rounded, since our rendering looks at the first ones, and devices write more digits than they may.
    """
    limit = dictionary_VM(element.tag).rpartition("-")[2]
    values = _values(element)[: int(limit) if limit.isdecimal() else _MOST_NUMBERS]
    texts = [str(value).strip() for value in values]
    if not all(_WRITTEN_NUMBER.fullmatch(text) for text in texts):
        return None
    longest = _LONGEST[element.VR]
    if element.VR == "IS" and any(len(text) > longest for text in texts):
        return None
    shorter = [text if len(text) <= longest else format_number_as_ds(float(text)) for text in texts]
    if len(values) < len(_values(element)) or shorter != texts:
        element.value = shorter
    return element


def _values(element: DataElement) -> list[Any]:
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


def _pixel_header(dataset: Dataset, *, options: dict[str, Any], length: int | None) -> bytes:
    """Return what stands before the pixels (PS3.5, 7.1); without a length they end with a delimiter."""
    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    tag = BaseTag(tag_for_keyword(options["pixel_keyword"]) or 0)
    representation = b"" if implicit else options["pixel_vr"].encode("ascii") + b"\0\0"
    stated = UNDEFINED_LENGTH if length is None else length
    return struct.pack(f"{order}HH", tag.group, tag.element) + representation + struct.pack(f"{order}I", stated)


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
