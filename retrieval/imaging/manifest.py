"""manifest.csv: what the files of a dataset show, where their folders do not say it."""

import csv
import io
from dataclasses import dataclass
from pathlib import PurePosixPath

from retrieval.imaging.errors import FileRefused

MANIFEST = "manifest.csv"
_COLUMNS = {"class": "label", "modality": "modality", "body_part": "body_part", "patient_group": "patient_group"}


@dataclass(frozen=True, kw_only=True)
class Described:
    """What is known about a file before it is opened; "" is unknown."""

    label: str = ""
    modality: str = ""
    body_part: str = ""
    patient_group: str = ""


def read_manifest(content: bytes) -> dict[str, dict[str, str]]:
    """Return {file: its described columns}. Raises FileRefused when it is not such a table."""
    try:
        text = content.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileRefused(
            f"{MANIFEST} is not a table in CSV format with UTF-8 text: correct it and try again."
        ) from error
    if rows and "file" not in rows[0]:
        raise FileRefused(f"{MANIFEST} has no column named file: its first line must name the columns.")
    return {
        str(PurePosixPath(row["file"].replace("\\", "/"))): {
            field: (row.get(column) or "").strip() for column, field in _COLUMNS.items() if column in row
        }
        for row in rows
        if row["file"]
    }


def described(name: str, *, manifest: dict[str, dict[str, str]]) -> Described:
    """What is known about the file `name`: the manifest's row, and the folder's name where that gives no class."""
    values = {"label": PurePosixPath(name).parent.name, **manifest.get(name, {})}
    return Described(**values)
