"""A folder as a source: what lies below it, links not followed."""

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
        os.scandir(root).close()  # os.walk passes over what it cannot read
        self.take(self._walk())

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
        try:
            # A link is not followed, also when it was put there a moment ago, and a named pipe not waited for.
            handle = os.open(str(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise FileRefused(_unreadable(Path(str(key)))) from error
        with os.fdopen(handle, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise FileRefused(_NO_FILE)
            try:
                while piece := file.read(CHUNK):
                    yield piece
            except OSError as error:
                raise FileRefused("The file cannot be read to its end.") from error


_NO_FILE = "This is a link or a device, not a file: put the file itself there."


def _unreadable(path: Path) -> str:
    if path.is_symlink():
        return _NO_FILE
    if not os.path.lexists(path):
        return "The file is no longer there."
    return "This cannot be read here: its permissions do not allow it."
