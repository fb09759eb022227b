"""manifest.csv: what the files of a dataset show, where their folders do not say it."""

import csv
import io
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from retrieval.imaging.errors import FileRefused
from retrieval.imaging.names import printable

MANIFEST = "manifest.csv"
_COLUMNS = {"class": "label", "modality": "modality", "body_part": "body_part", "patient_group": "patient_group"}


@dataclass(frozen=True, kw_only=True)
class Described:
    """What is known about a file before it is opened; "" is unknown."""

    label: str = ""
    modality: str = ""
    body_part: str = ""
    patient_group: str = ""


def read_manifest(content: bytes, *, base: PurePosixPath, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return {file: what its row says}, empty cells left out. The rows' files count from the folder `base`.

    Only rows of the files `names` are kept: a table may describe more files than are there, and one made to do harm
    has millions of rows. Of two rows for one file the last counts. Raises FileRefused when it is not such a table.
    """
    wanted = {_key(name) for name in names}
    told: dict[str, dict[str, str]] = {}
    try:
        table = csv.DictReader(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline=""), strict=True)
        if content.strip() and "file" not in (table.fieldnames or ()):
            raise FileRefused(f"{MANIFEST} has no column named file: its first line must name the columns.")
        for row in table:
            file = _key(str(base / (row["file"] or "").strip().replace("\\", "/")))
            if file in wanted:
                told[file] = _cells(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileRefused(
            f"{MANIFEST} is not a table in CSV format with UTF-8 text: correct it and try again."
        ) from error
    return told


def described(name: str, *, manifest: dict[str, dict[str, str]]) -> Described:
    """What is known about the file `name`: the manifest's row, and the folder's name where that gives no class."""
    return Described(**{"label": printable(PurePosixPath(name).parent.name), **manifest.get(_key(name), {})})


def _cells(row: dict[str, str]) -> dict[str, str]:
    cells = {field: printable((row.get(column) or "").strip()) for column, field in _COLUMNS.items()}
    return {field: text for field, text in cells.items() if text}


def _key(name: str) -> str:
    """Names are the same however their accents are composed: macOS writes them apart, tables in one."""
    return unicodedata.normalize("NFC", str(PurePosixPath(name)))
