"""The real malformed and hostile files beside the project, and what their index demands of whoever takes one in."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS, MEMORY = 10, 1_000_000_000
# A sentence for people: no line breaks, no names of exceptions, no paths.
SENTENCE = re.compile(r"[A-Z][^\n]*[.]")
TECHNICAL = re.compile(r"Error|Exception|Traceback|errno|0x|/tmp|\.py\b")

# Refused by the reader of the DICOM index, which does not read files without preamble unless it is forced to.
READ_ANYWAY = {"076_OT_OT-PAL-8-face.dcm"}


def index_of(folder: Path) -> list[dict[str, str]]:
    """The rows of a folder's INDEX.csv, one a file."""
    with (folder / "INDEX.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 100
    return rows


@dataclass(frozen=True, kw_only=True)
class BadInput:
    """name: its path below the folder. expected: what must happen, in the index's words."""

    name: str
    path: Path
    expected: str

    @property
    def is_archive(self) -> bool:
        return self.path.suffix == ".zip"


def bad_inputs(real_data: Path) -> list[BadInput]:
    folder = real_data / "badinputs"
    return [
        BadInput(name=row["file"], path=folder / row["file"], expected=row["expected_outcome"])
        for row in index_of(folder)
    ]


def is_readable(row: dict[str, str]) -> bool:
    """Whether a row of the DICOM index is that of a file that we read."""
    return row["decodes_with_pydicom"] == "yes" or row["file"] in READ_ANYWAY


def poor_sentence(reason: str) -> bool:
    """Whether a refusal is no sentence that people understand."""
    return not SENTENCE.fullmatch(reason) or TECHNICAL.search(reason) is not None


def complaint(expected: str, *, accepted: int, refusals: Sequence[str], seconds: float) -> str:
    """Say what is not as the index wants it of a file or of the members of an archive; "" when all is."""
    if expected.startswith("accept only if preamble is zeroed"):
        expected = "clear error"  # we refuse such a preamble
    if expected.startswith("clear error") and not refusals:
        return "not refused"
    if expected.startswith("accept") and not accepted:
        return f"not accepted: {[*refusals]}"
    if expected in ("accept", "accept; served copy has no EXIF") and refusals:
        return f"refused in part: {[*refusals]}"
    if seconds >= SECONDS:
        return f"took {seconds:.0f} s"
    poor = [*filter(poor_sentence, refusals)]
    return f"not a plain sentence: {poor[0]}" if poor else ""
