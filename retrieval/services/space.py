"""Space on the disk that is left for others: the database may lie on the same one as what is uploaded."""

import errno
import os
import shutil
from pathlib import Path

from retrieval.imaging import ArchiveLimits

RESERVE_BYTES = ArchiveLimits().spare_disk_bytes


def refuse_full(folder: Path, *, size: int) -> None:
    """Raises OSError, as a full disk does, where `size` more bytes would leave less than the reserve."""
    if spare_bytes(folder) < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def spare_bytes(folder: Path) -> int:
    """What may still be written on the disk of the folder, which is made where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return shutil.disk_usage(folder).free - RESERVE_BYTES
