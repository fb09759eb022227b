"""Files that hold secrets. No Django here: the settings themselves are made with it."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Create `path` readable by its owner only, from its first byte on; an existing file is replaced whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
