"""A zip archive as a source: nothing is unpacked but into one temporary file at a time, named by us."""

import errno
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from retrieval.imaging.errors import FileRefused
from retrieval.imaging.folders import FolderSource
from retrieval.imaging.limits import GIB, ArchiveLimits
from retrieval.imaging.names import leads_out
from retrieval.imaging.signatures import ZIP, kind_of, read_head
from retrieval.imaging.source import CHUNK, Found, Source

# What zipfile unpacks no further than it is asked to. Of bzip2 and LZMA it unpacks all that a megabyte holds, be it
# gigabytes, before it looks at the claimed size.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENTRY = b"PK\x01\x02"
_DAMAGED = "The zip archive is damaged or incomplete: pack it again."
# What zipfile raises on malformed bytes; of OSError only what does not come from the disk, see _of_the_disk.
_MALFORMED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


def open_source(path: Path, *, limits: ArchiveLimits | None = None) -> Source:
    """Open a folder or a zip archive. Raises FileRefused when it is neither, damaged, or too large."""
    limits = limits or ArchiveLimits()
    try:
        if path.is_dir():
            return FolderSource(path, limits=limits)
        if not path.is_file():
            raise FileRefused("There is no such folder or file.")
        return ZipSource(path, limits=limits)
    except OSError as error:
        raise FileRefused("The folder or file cannot be read here: check its permissions.") from error


class ZipSource(Source):
    wrong_size = "The archive lies about the size of this file: pack the archive again."

    def __init__(self, path: Path, *, limits: ArchiveLimits) -> None:
        super().__init__(limits)
        _check_directory(path, limits=limits)
        try:
            self.zip = zipfile.ZipFile(path)
        except _MALFORMED as error:
            raise FileRefused(_DAMAGED) from error
        try:
            self._check_sizes(packed=path.stat().st_size)
            self.take(self._listed())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.zip.close()

    def _check_sizes(self, *, packed: int) -> None:
        unpacked = sum(entry.file_size for entry in self.zip.infolist())
        if unpacked > self.limits.total_bytes:
            raise FileRefused(
                f"The archive unpacks to more than {self.limits.total_bytes // GIB} GB: import it in parts."
            )
        if unpacked > max(self.limits.ratio_from_bytes, packed * self.limits.ratio):
            raise FileRefused("The archive unpacks to far more than its own size, as archives made to do harm do.")

    def _listed(self) -> Iterator[Found]:
        """The standard wants / between folders (APPNOTE 4.4.17), but some programs for Windows write a backslash."""
        for entry in self.zip.infolist():
            name = entry.filename.replace("\\", "/")
            if not name.endswith("/"):
                # Not PurePosixPath, which would take // at the beginning for a root of its own.
                path = "/".join(part for part in name.split("/") if part not in ("", "."))
                yield Found(path=path or "unnamed", size=entry.file_size, key=entry)

    def pieces(self, key: object) -> Iterator[bytes]:
        """Yield what the member holds: zipfile stops at the claimed size and then checks the CRC.

        It unpacks stored and deflated members piece by piece; others are refused, see _COMPRESSIONS.
        """
        assert isinstance(key, zipfile.ZipInfo)  # noqa: S101 - for the type checker
        _check_entry(key)
        try:
            with self.zip.open(key) as packed:
                while piece := packed.read(CHUNK):
                    yield piece
        except _MALFORMED as error:
            if _of_the_disk(error):
                raise
            raise FileRefused("The file is damaged inside the archive: pack the archive again.") from error


def _check_entry(entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & 0x1:
        raise FileRefused("This file is encrypted: pack the archive without a password.")
    if leads_out(entry.orig_filename):
        raise FileRefused("This file's name leads out of the archive.")
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise FileRefused("This is a link or a device, not a file: pack the file itself.")
    if entry.compress_type not in _COMPRESSIONS:
        raise FileRefused("This file is packed in an unusual way: pack the archive as an ordinary zip.")


def _of_the_disk(error: Exception) -> bool:
    """Tell a failing disk from bad offsets (EINVAL)."""
    return isinstance(error, OSError) and error.errno != errno.EINVAL


def _check_directory(path: Path, *, limits: ArchiveLimits) -> None:
    """Refuse a huge table of contents before zipfile makes objects of it (APPNOTE 4.3.12, 4.3.16)."""
    with path.open("rb") as file:
        size, end = _directory(file, path=path)
        if size > limits.directory_bytes:
            raise FileRefused("The archive's table of contents is too large: import it in parts.")
        file.seek(max(0, end - size))
        entries = file.read(min(size, end)).count(_ENTRY)
    # Folders and litter are entries as well.
    if entries > 2 * limits.members:
        raise FileRefused(f"There are more than {limits.members:,} files: import them in parts.")


def _directory(file: BinaryIO, *, path: Path) -> tuple[int, int]:
    """Return length and, at the latest, end of the table of contents in bytes.

    By zipfile's own finder, since one of ours could be shown another table than the one that zipfile then reads.
    """
    try:
        record = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    except _MALFORMED as error:
        if _of_the_disk(error):
            raise
        record = None
    if record is None:
        raise FileRefused(_no_zip(kind_of(read_head(path))))
    return record[zipfile._ECD_SIZE], record[zipfile._ECD_LOCATION]  # type: ignore[attr-defined]


def _no_zip(kind: str) -> str:
    if kind == ZIP:
        return _DAMAGED
    if kind.endswith("archive"):
        return f"This is a {kind}, and only zip archives are read: unpack it and pack it as a zip."
    return "This is neither a folder nor a zip archive."
