"""Files that are on the disk, names and all, when a function returns. No Django here: the settings need it too."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make sure that a name that was given to something in the folder is on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Create `path` readable by its owner only, from its first byte on; an existing file is replaced whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
