"""A folder as a source: what lies below it, links not followed."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from retrieval.imaging.errors import FileRefused
from retrieval.imaging.limits import ArchiveLimits
from retrieval.imaging.source import CHUNK, Found, Source


class FolderSource(Source):
    wrong_size = "The file has changed since the import began. Import it again when nothing writes to it any more."

    def __init__(self, root: Path, *, limits: ArchiveLimits) -> None:
        super().__init__(limits)
        self.root = root
        # os.walk passes over what it cannot read. And what stands at this path later is not what was listed.
        self._folder = os.open(root, _FOLDER)
        try:
            self.take(self._walk())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._folder)

    def _walk(self) -> Iterator[Found]:
        """Links to folders and folders that cannot be read are listed too, so that they are refused by name."""
        unreadable: list[OSError] = []
        for folder, folders, files in os.walk(self.root, onerror=unreadable.append):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for name in (*files, *links):
                yield self._found(Path(folder, name))
        for error in unreadable:
            yield self._found(Path(error.filename))

    def _found(self, path: Path) -> Found:
        try:
            size = path.lstat().st_size
        except OSError:
            size = 0  # gone meanwhile: refused when it is read
        return Found(path=path.relative_to(self.root).as_posix(), size=size, key=path)

    def pieces(self, key: object) -> Iterator[bytes]:
        assert isinstance(key, Path)  # noqa: S101 - for the type checker
        try:
            handle = self._opened(key)
        except OSError as error:
            raise FileRefused(_unreadable(error)) from error
        with os.fdopen(handle, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise FileRefused(_NO_FILE)
            try:
                while piece := file.read(CHUNK):
                    yield piece
            except OSError as error:
                raise FileRefused("The file cannot be read to its end.") from error

    def _opened(self, path: Path) -> int:
        """Open the file from folder to folder: no link is followed, also when it was put there a moment ago."""
        *folders, name = path.relative_to(self.root).parts
        folder = os.dup(self._folder)
        try:
            for part in folders:
                outer, folder = folder, os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
                os.close(outer)
            # A named pipe is not waited for.
            return os.open(name, _READ | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)


_READ = os.O_RDONLY | os.O_CLOEXEC
_FOLDER = _READ | os.O_DIRECTORY
# What opening says of a link, of a link in place of a folder, and of a socket or a device that is not there.
_NOT_FILES = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)
_NO_FILE = "This is a link or a device, not a file: put the file itself there."


def _unreadable(error: OSError) -> str:
    if error.errno in _NOT_FILES:
        return _NO_FILE
    if error.errno == errno.ENOENT:
        return "The file is no longer there."
    return "This cannot be read here: its permissions do not allow it."
