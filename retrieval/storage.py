"""Files that are still there after a power cut."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage


class DurableFileSystemStorage(FileSystemStorage):
    """Writes to a temporary name, syncs, renames: a name either holds the whole file or does not exist.

    Names are ours and derived from content (retrieval/services/naming.py), so an existing file is replaced by an
    equal one: a job that runs twice leaves no second copy.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:  # noqa: ARG002
        return name

    def _save(self, name: str, content: File) -> str:
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for chunk in content.chunks():
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        return name


@contextmanager
def work_folder() -> Iterator[Path]:
    """A private folder for files on their way, beside the archive: the system's /tmp may be small or in memory."""
    settings.WORK_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=settings.WORK_DIR) as folder:
        yield Path(folder)
