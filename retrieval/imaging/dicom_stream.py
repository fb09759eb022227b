"""A DICOM file as pydicom reads it safely: inflated within bounds, and with the file meta that old files lack."""

import io
import zlib
from typing import Any, BinaryIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomFileLike
from pydicom.filereader import read_dataset, read_preamble
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from retrieval.imaging.dicom_damage import damaged
from retrieval.imaging.errors import FileRefused
from retrieval.imaging.limits import Limits

_PREAMBLE = bytes(128) + b"DICM"


def plain_stream(file: BinaryIO, *, limits: Limits) -> BinaryIO:
    """Return a stream at its start that holds the same data set with file meta and without deflation.

    The file itself when that is so already. pydicom would inflate without any bound (0.5 MB become 1 GB).
    """
    meta = _read_meta(file)
    syntax = meta.get("TransferSyntaxUID")
    most = limits.memory_bytes // 4
    if syntax == DeflatedExplicitVRLittleEndian:
        return _with_meta(_inflated(file, most=most), syntax=ExplicitVRLittleEndian)
    if syntax is None:
        return _with_meta(_rest(file, most=most), syntax=None)
    if not meta.get("FileMetaInformationGroupLength") or _begins_bare(file):
        return _with_meta(_rest(file, most=most), syntax=UID(syntax))
    file.seek(0)
    return file


def is_deflated(file: BinaryIO) -> bool:
    file.seek(0)
    return _read_meta(file).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian


def _read_meta(file: BinaryIO) -> Dataset:
    """Read group 2 and leave the file at the first byte after it (PS3.10, 7.1)."""
    read_preamble(file, force=True)
    return read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_after_meta)


def _after_meta(tag: int, *_: Any) -> bool:
    return tag >> 16 != 2


def _begins_bare(file: BinaryIO) -> bool:
    here = file.tell()
    file.seek(128)
    prefix = file.read(4)
    file.seek(here)
    return prefix != b"DICM"


def _inflated(file: BinaryIO, *, most: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(file.read(), most)
    if inflater.unconsumed_tail:
        raise FileRefused("The DICOM file unpacks to far more data than a picture needs. It is not accepted.")
    if not inflater.eof:
        raise damaged("it breaks off in the middle of its compressed data")
    return data


def _rest(file: BinaryIO, *, most: int) -> bytes:
    data = file.read(most + 1)
    if len(data) > most:
        raise FileRefused("The DICOM file lacks its file header and is too large to be read without it.")
    return data


def _with_meta(data: bytes, *, syntax: UID | None) -> BinaryIO:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax or _guessed_syntax(data)
    stream = io.BytesIO()
    stream.write(_PREAMBLE)
    write_file_meta_info(DicomFileLike(stream), meta, enforce_standard=False)
    stream.write(data)
    stream.seek(0)
    return stream


def _guessed_syntax(data: bytes) -> UID:
    """Tell the encoding by the first element: its VR in letters, and its group number's byte order."""
    if not (data[4:6].isalpha() and data[4:6].isupper()):
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if data[:1] == b"\x00" else ExplicitVRLittleEndian
