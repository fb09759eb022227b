"""Where the site keeps its state. Read by the settings and by the embedded servers, which start before Django does."""

import os
import secrets
from pathlib import Path

from retrieval.disk import sync_folder, write_private

BASE_DIR = Path(__file__).resolve().parent.parent


def data_dir() -> Path:
    """The folder of all state: `var/` beside the code, or CBMIR_DATA_DIR."""
    return Path(os.environ.get("CBMIR_DATA_DIR") or BASE_DIR / "var").resolve()


def secret(name: str) -> str:
    """A random secret, made at its first use and kept in the data folder.

    Two processes that start together must agree on it, so it is linked into place: the first one wins.
    """
    path = data_dir() / "secrets" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        candidate = path.with_name(f".{name}.{os.getpid()}.{secrets.token_hex(4)}")
        write_private(candidate, secrets.token_urlsafe(48))
        try:
            os.link(candidate, path)
        except FileExistsError:
            pass
        finally:
            candidate.unlink()
        # A key that was used must not be another one after a power cut.
        sync_folder(path.parent)
    return path.read_text()
