"""The files of a folder or archive, one at a time, whatever it claims about them."""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Self

from retrieval.imaging.errors import FileRefused
from retrieval.imaging.limits import MIB, ArchiveLimits
from retrieval.imaging.manifest import MANIFEST, Described, Manifest, ManifestRefused, described, read_manifest
from retrieval.imaging.names import distinct, is_litter

CHUNK = MIB


class Found(NamedTuple):
    """A file as the source lists it. path: POSIX, below the source's root; size: bytes, as claimed."""

    path: str
    size: int
    key: object


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of a source.

    name: its path as people see it: printable, not too long, and no other member's.
    """

    name: str
    found: Found = field(repr=False)
    source: "Source" = field(repr=False, compare=False)

    @property
    def described(self) -> Described:
        return described(self.found.path, manifest=self.source.manifest.rows)

    @contextmanager
    def fetch(self, folder: Path) -> Iterator[Path]:
        """Give a copy of the file in `folder` for as long as the context lasts: nothing changes it any more.

        Raises FileRefused when this file cannot be had: encrypted, damaged, unreadable, gone, leading out of its
        archive.
        """
        path = folder / f"{id(self):x}"
        try:
            self.source.copy(self.found, path=path)
            yield path
        finally:
            path.unlink(missing_ok=True)


class Source:
    """A folder or archive that was opened.

    members: in the order of their paths. skipped: names, as members have them, of what operating systems leave behind.
    """

    wrong_size = ""

    def __init__(self, limits: ArchiveLimits) -> None:
        self.limits = limits
        self.members: list[Member] = []
        self.skipped: list[str] = []
        self.manifest = Manifest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the archive's file or of the folder."""

    def copy(self, found: Found, *, path: Path) -> None:
        """Write the file to `path`, in pieces."""
        if found.size > self.limits.member_bytes:
            raise FileRefused(f"The file is larger than {self.limits.member_bytes // MIB} MB, the most that is read.")
        if shutil.disk_usage(path.parent).free < found.size + self.limits.spare_disk_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with path.open("wb") as file:
            for piece in self._bytes(found):
                file.write(piece)

    def _bytes(self, found: Found) -> Iterator[bytes]:
        """Yield the file in pieces, never more of it than was claimed."""
        length = 0
        for piece in self.pieces(found.key):
            length += len(piece)
            if length > found.size:
                break
            yield piece
        if length != found.size:
            raise FileRefused(self.wrong_size)

    def pieces(self, key: object) -> Iterator[bytes]:
        """Yield the file in pieces of at most CHUNK bytes. Raises FileRefused."""
        raise NotImplementedError

    def take(self, listed: Iterable[Found]) -> None:
        """Make members of all that is listed, but for the manifest and litter."""
        listed = sorted(islice(listed, self.limits.members + 1), key=lambda found: found.path)
        if len(listed) > self.limits.members:
            raise FileRefused(f"There are more than {self.limits.members:,} files: import them in parts.")
        litter = [found for found in listed if is_litter(found.path)]
        files = [found for found in listed if not is_litter(found.path)]
        manifest = _manifest(files)
        if manifest:
            files.remove(manifest)
            self.manifest = self._read_manifest(manifest, files=files)
        if not files:
            raise FileRefused("There are no files in it that could be imported.")
        if not any(found.size for found in files):
            raise FileRefused("Every file in it is empty: copy or pack the files again.")
        names = distinct(found.path for found in (*files, *litter))
        self.members = [Member(name=next(names), found=found, source=self) for found in files]
        self.skipped = list(names)

    def _read_manifest(self, found: Found, *, files: list[Found]) -> Manifest:
        if found.size > self.limits.manifest_bytes:
            raise ManifestRefused(f"{MANIFEST} is larger than {self.limits.manifest_bytes // MIB} MB.")
        try:
            content = b"".join(self._bytes(found))
        except FileRefused as refused:
            raise ManifestRefused(f"{MANIFEST} cannot be read. {refused.reason}") from refused
        base = PurePosixPath(found.path).parent
        return read_manifest(content, base=base, names=[file.path for file in files])


def _manifest(files: list[Found]) -> Found | None:
    """The manifest in the root, or in the single folder that everything lies in; Windows may write Manifest.CSV."""
    tops = {PurePosixPath(found.path).parts[0] for found in files if found.path.lower() != MANIFEST}
    path = f"{tops.pop()}/{MANIFEST}" if len(tops) == 1 else MANIFEST
    wanted = (MANIFEST, path.lower())
    return next((found for name in wanted for found in files if found.path.lower() == name), None)
