"""Files that are still there after a power cut."""

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

from retrieval.disk import sync_folder

_PREFIX = "work-"
# Django's name for an upload that is too large for memory, and how long nobody has written to one that is given up.
_UPLOADS = "*.upload*"
_ABANDONED_AFTER_SECONDS = 3600
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class DurableFileSystemStorage(FileSystemStorage):
    """Writes to a temporary name, syncs, renames, syncs the name: it either holds the whole file or does not exist.

    Names are ours and derived from content (retrieval/services/naming.py), so an existing file is replaced by an
    equal one: a job that runs twice leaves no second copy.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:  # noqa: ARG002
        return name

    def _save(self, name: str, content: File) -> str:
        target = Path(self.path(name))
        # Nobody but the site may even list what lies below.
        Path(self.location).mkdir(parents=True, exist_ok=True, mode=0o700)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # What a killed process has left of it is written over by the attempt that comes after.
        temporary = target.with_name(f".{target.name}")
        with _only_writer(temporary) as file:
            try:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(target)
                self._sync_names(target.parent)
            except BaseException:
                # A disk that is full already must not keep halves.
                temporary.unlink(missing_ok=True)
                raise
        return name

    def _sync_names(self, folder: Path) -> None:
        """Those of the file, and of the folders that it is the first one in. It costs nothing where nothing is new."""
        while folder != Path(self.location).parent:
            sync_folder(folder)
            folder = folder.parent


@contextmanager
def _only_writer(path: Path) -> Iterator[BinaryIO]:
    """The file of this name, empty; who else wants to write it waits until the block ends."""
    while True:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Who had it before has renamed or removed it meanwhile: then the name needs a file anew.
            if _is_at(path, file=file):
                file.truncate()
                yield file
                return


def _is_at(path: Path, *, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def work_folder() -> Iterator[Path]:
    """A private folder for files on their way, beside the archive: the system's /tmp may be small or in memory.

    Its process holds a lock on it, so that the folders of killed processes are known and removed.
    """
    settings.WORK_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _one_at_a_time():
        for abandoned in filter(_is_abandoned, settings.WORK_DIR.glob(f"{_PREFIX}*")):
            shutil.rmtree(abandoned, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=settings.WORK_DIR))
        hold = os.open(folder, os.O_RDONLY)
        fcntl.flock(hold, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(hold)


def remove_abandoned_uploads() -> None:
    """Remove the uploads of web processes that were killed: they hold patients' images, and nobody else would."""
    for upload in settings.WORK_DIR.glob(_UPLOADS):
        with suppress(FileNotFoundError):
            if time.time() - upload.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
                upload.unlink()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """A folder exists for a moment before it is locked."""
    with (settings.WORK_DIR / ".lock").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        yield


def _is_abandoned(folder: Path) -> bool:
    try:
        hold = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(hold)
    return True
