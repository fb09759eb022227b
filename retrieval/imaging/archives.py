"""The files of a folder or of a zip archive, one at a time, whatever the archive claims about them."""

import os
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Self

from retrieval.imaging.errors import FileRefused
from retrieval.imaging.limits import GIB, MIB, ArchiveLimits
from retrieval.imaging.manifest import MANIFEST, Described, described, read_manifest

_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_CHUNK = MIB
_END_OF_DIRECTORY = b"PK\x05\x06"
_END_OF_DIRECTORY_64 = b"PK\x06\x06"
_DAMAGED = "The zip archive is damaged: pack it again."


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of a source. name: POSIX path below the source's root, printable; size: bytes, as claimed."""

    name: str
    size: int
    source: "Source" = field(repr=False, compare=False)
    key: object = field(repr=False, compare=False)

    @property
    def described(self) -> Described:
        return described(self.name, manifest=self.source.manifest)

    @contextmanager
    def fetch(self, folder: Path) -> Iterator[Path]:
        """Give a path to the file's bytes for as long as the context lasts; `folder` takes temporary files.

        Raises FileRefused when this file cannot be had: encrypted, damaged, leading out of its archive.
        """
        with self.source.fetch(self, folder=folder) as path:
            yield path


class Source:
    """A folder or archive that was opened. Members come in the order of their names."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.manifest: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the archive's file."""

    @contextmanager
    def fetch(self, member: Member, *, folder: Path) -> Iterator[Path]:
        raise NotImplementedError

    def _take(self, found: dict[str, tuple[int, object]], *, limits: ArchiveLimits) -> None:
        """Make members of {name: (size, key)}, without litter; a manifest's names count from its own folder."""
        names = [name for name in sorted(found) if not _is_litter(name)]
        if len(names) > limits.members:
            raise FileRefused(f"There are more than {limits.members:,} files: import them in parts.")
        manifest_name = _manifest_name(names)
        if manifest_name:
            self.manifest = self._read_manifest(manifest_name, found[manifest_name], limits=limits)
        self.members = [
            Member(name=printable(name), size=found[name][0], source=self, key=found[name][1])
            for name in names
            if name != manifest_name
        ]

    def _read_manifest(
        self, name: str, entry: tuple[int, object], *, limits: ArchiveLimits
    ) -> dict[str, dict[str, str]]:
        size, key = entry
        if size > limits.manifest_bytes:
            raise FileRefused(f"{MANIFEST} is larger than {limits.manifest_bytes // MIB} MB.")
        rows = read_manifest(self._content(key, limit=limits.manifest_bytes))
        base = PurePosixPath(name).parent
        return {str(base / file): values for file, values in rows.items()}

    def _content(self, key: object, *, limit: int) -> bytes:
        raise NotImplementedError


def open_source(path: Path, *, limits: ArchiveLimits | None = None) -> Source:
    """Open a folder or a zip archive. Raises FileRefused when it is neither, damaged, or too large."""
    limits = limits or ArchiveLimits()
    if path.is_dir():
        return FolderSource(path, limits=limits)
    if not path.is_file():
        raise FileRefused("There is no such folder or file.")
    if not zipfile.is_zipfile(path):
        raise FileRefused("This is neither a folder nor a zip archive.")
    return ZipSource(path, limits=limits)


class FolderSource(Source):
    def __init__(self, root: Path, *, limits: ArchiveLimits) -> None:
        super().__init__()
        self.root = root
        self._take(dict(self._walk()), limits=limits)

    def _walk(self) -> Iterator[tuple[str, tuple[int, object]]]:
        for folder, _, files in os.walk(self.root):
            for file in files:
                path = Path(folder) / file
                yield path.relative_to(self.root).as_posix(), (path.lstat().st_size, path)

    @contextmanager
    def fetch(self, member: Member, *, folder: Path) -> Iterator[Path]:  # noqa: ARG002
        path = Path(str(member.key))
        if not stat.S_ISREG(path.lstat().st_mode):
            raise FileRefused("This is a link or a device, not a file: put the file itself there.")
        yield path

    def _content(self, key: object, *, limit: int) -> bytes:
        with Path(str(key)).open("rb") as file:
            return file.read(limit)


class ZipSource(Source):
    def __init__(self, path: Path, *, limits: ArchiveLimits) -> None:
        super().__init__()
        self.limits = limits
        _check_directory(path, limits=limits)
        try:
            self.zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
            raise FileRefused(_DAMAGED) from error
        try:
            self._check_sizes(packed=path.stat().st_size)
            entries = [entry for entry in self.zip.infolist() if not entry.is_dir()]
            self._take({entry.filename: (entry.file_size, entry) for entry in entries}, limits=limits)
        except FileRefused:
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

    @contextmanager
    def fetch(self, member: Member, *, folder: Path) -> Iterator[Path]:
        entry = member.key
        assert isinstance(entry, zipfile.ZipInfo)  # noqa: S101 - for the type checker
        self._check_entry(entry)
        path = folder / f"{id(entry):x}"
        try:
            self._unpack(entry, path=path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _check_entry(self, entry: zipfile.ZipInfo) -> None:
        if entry.flag_bits & 0x1:
            raise FileRefused("This file is encrypted: pack the archive without a password.")
        if _leads_out(entry.orig_filename):
            raise FileRefused("This file's name leads out of the archive.")
        mode = entry.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise FileRefused("This is a link or a device, not a file: pack the file itself.")
        if entry.compress_type not in _COMPRESSIONS:
            raise FileRefused("This file is packed in an unusual way: pack the archive as an ordinary zip.")
        if entry.file_size > self.limits.member_bytes:
            raise FileRefused(f"The file is larger than {self.limits.member_bytes // MIB} MB, the most that is read.")

    def _unpack(self, entry: zipfile.ZipInfo, *, path: Path) -> None:
        """Write the member to `path`, in pieces. zipfile stops at the claimed size and then checks the CRC."""
        if shutil.disk_usage(path.parent).free < entry.file_size + self.limits.spare_disk_bytes:
            raise OSError(28, "No space left on device")
        try:
            with self.zip.open(entry) as packed, path.open("wb") as file:
                shutil.copyfileobj(packed, file, _CHUNK)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise FileRefused("The file is damaged inside the archive: pack the archive again.") from error
        if path.stat().st_size != entry.file_size:
            raise FileRefused("The archive lies about the size of this file: pack the archive again.")

    def _content(self, key: object, *, limit: int) -> bytes:
        assert isinstance(key, zipfile.ZipInfo)  # noqa: S101 - for the type checker
        self._check_entry(key)
        try:
            with self.zip.open(key) as packed:
                return packed.read(limit)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise FileRefused(f"{MANIFEST} is damaged inside the archive: pack the archive again.") from error


def printable(name: str) -> str:
    """The name without what garbles a page or a terminal: control, format and surrogate characters."""
    return "".join("\ufffd" if unicodedata.category(letter)[0] == "C" else letter for letter in name)


def _is_litter(name: str) -> bool:
    """What operating systems leave behind."""
    return any(part in _LITTER or (part.startswith(".") and part != "..") for part in PurePosixPath(name).parts)


def _manifest_name(names: list[str]) -> str:
    """The manifest in the root, or in the single folder that everything lies in; "" when there is none."""
    if MANIFEST in names:
        return MANIFEST
    tops = {PurePosixPath(name).parts[0] for name in names if PurePosixPath(name).parts}
    inner = f"{tops.pop()}/{MANIFEST}" if len(tops) == 1 else ""
    return inner if inner in names else ""


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or "\0" in name or (len(name) > 1 and name[1] == ":")


def _check_directory(path: Path, *, limits: ArchiveLimits) -> None:
    """Refuse a huge table of contents before zipfile reads it into memory (APPNOTE 4.3.14, 4.3.16)."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - 2**16 - 1024))
        tail = file.read()
    size = _field(tail, mark=_END_OF_DIRECTORY, offset=12, form="<I")
    if size == 0xFFFFFFFF:
        size = _field(tail, mark=_END_OF_DIRECTORY_64, offset=40, form="<Q")
    if size > limits.directory_bytes:
        raise FileRefused("The archive's table of contents is too large: import it in parts.")


def _field(tail: bytes, *, mark: bytes, offset: int, form: str) -> int:
    at = tail.rfind(mark) + offset
    return struct.unpack_from(form, tail, at)[0] if at >= offset and len(tail) >= at + 8 else 0
