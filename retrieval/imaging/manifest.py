"""manifest.csv: what the files of a dataset show, where their folders do not say it.

It is taken as spreadsheets and scripts write it: with commas, semicolons or tabs, in UTF-8, in UTF-16 or as old Windows
text, and with the names of the columns in any case.
"""

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePosixPath
from typing import TextIO

from retrieval.imaging.errors import FileRefused
from retrieval.imaging.names import EXAMPLES, examples, printable

MANIFEST = "manifest.csv"
_FILE = "file"
_COLUMNS = {"class": "label", "modality": "modality", "body_part": "body_part", "patient_group": "patient_group"}
_SYNONYMS = {"label": "class", "filename": _FILE, "path": _FILE}
_DELIMITERS = (",", ";", "\t")
_WINDOWS = "cp1252"
NOT_A_TABLE = (
    f"{MANIFEST} is not a table in CSV format: a quotation mark in it is left open, or it is a file of another kind."
)
NO_FILE_COLUMN = f"{MANIFEST} has no column named file: its first line must name the columns."
READ_AS_WINDOWS = (
    f"{MANIFEST} is not UTF-8 text: it was read as Windows text (code page 1252). See that accents came out right."
)


class ManifestRefused(FileRefused):
    """The manifest is to blame that nothing was imported."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """What is known about a file before it is opened; "" is unknown."""

    label: str = ""
    modality: str = ""
    body_part: str = ""
    patient_group: str = ""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """rows: {file: what its row says}, empty cells left out. notes: what people should know of it, in sentences."""

    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_manifest(content: bytes, *, base: PurePosixPath, names: Iterable[str]) -> Manifest:
    """Return what the table says of the files `names`. Its rows' files count from the folder `base`.

    Only rows of these files are kept, of the others a few names: a table may describe more files than are there, and
    one made to do harm has millions of rows. Of two rows for one file the last counts. Raises ManifestRefused when it
    is not such a table.
    """
    wanted = {_key(name) for name in names}
    told: dict[str, dict[str, str]] = {}
    strangers = _Examples()
    encoding = _encoding(content)
    try:
        with io.TextIOWrapper(io.BytesIO(content), encoding=encoding, errors=_errors(encoding), newline="") as text:
            header, rows = _table(text)
            for row in rows:
                file = _key(str(base / row.get(_FILE, "").replace("\\", "/")))
                if file in wanted:
                    told[file] = {_COLUMNS[column]: printable(cell) for column, cell in row.items() if column != _FILE}
                else:
                    strangers.add(row.get(_FILE, ""))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestRefused(NOT_A_TABLE) from error
    notes = [READ_AS_WINDOWS] if encoding == _WINDOWS else []
    notes += _notes(header, strangers=strangers, silent=len(wanted - told.keys()))
    return Manifest(rows=told, notes=notes)


def described(name: str, *, manifest: dict[str, dict[str, str]]) -> Described:
    """What is known about the file `name`: the manifest's row, and the folder's name where that gives no class."""
    return Described(**{"label": printable(PurePosixPath(name).parent.name), **manifest.get(_key(name), {})})


def _encoding(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        content.decode()
    except UnicodeDecodeError:
        return _WINDOWS
    return "utf-8-sig"


def _errors(encoding: str) -> str:
    """Five bytes mean nothing in Windows text; what else cannot be decoded is no text at all."""
    return "replace" if encoding == _WINDOWS else "strict"


def _table(text: TextIO) -> tuple[list[str], Iterator[dict[str, str]]]:
    """Return the first line's cells, and of each other line that says anything {column that is known: cell}."""
    first = next((line for line in text if line.strip()), "")
    if not first:
        return [], iter(())
    lines = csv.reader(chain([first], text), delimiter=_delimiter(first), strict=True)
    header = next(lines)
    columns = _known(header)
    filled = ({column: cell.strip() for column, cell in zip(columns, line, strict=False)} for line in lines)
    rows = ({column: cell for column, cell in row.items() if column and cell} for row in filled)
    return header, (row for row in rows if row)


def _delimiter(first: str) -> str:
    for delimiter in _DELIMITERS:
        if _FILE in _known(next(csv.reader([first], delimiter=delimiter))):
            return delimiter
    raise ManifestRefused(NO_FILE_COLUMN)


def _known(header: list[str]) -> list[str]:
    """The name that each column has here, "" where its cells are not used."""
    names = [_plain(cell) for cell in header]
    renamed = [name if _SYNONYMS.get(name) in names else _SYNONYMS.get(name, name) for name in names]
    return [name if name == _FILE or name in _COLUMNS else "" for name in renamed]


def _plain(cell: str) -> str:
    return cell.strip().lower().replace(" ", "_")


class _Examples:
    """Counts names, and keeps the first few of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.first) < EXAMPLES:
            self.first.append(name)


def _notes(header: list[str], *, strangers: _Examples, silent: int) -> Iterator[str]:
    """What the table did not do. silent: the number of files without a row."""
    unused = [cell for cell, name in zip(header, _known(header), strict=True) if not name]
    if strangers.count:
        rows, name = ("1 row", "names") if strangers.count == 1 else (f"{strangers.count:,} rows", "name")
        listed = examples(strangers.first, count=strangers.count)
        yield f"{rows} of {MANIFEST} {name} no file that is here: {listed}."
    if unused:
        columns, are = ("1 column", "is") if len(unused) == 1 else (f"{len(unused):,} columns", "are")
        yield f"{columns} of {MANIFEST} {are} not used: {examples(unused, count=len(unused))}."
    if silent:
        files, their = ("1 file has", "its") if silent == 1 else (f"{silent:,} files have", "their")
        yield f"{files} no row in {MANIFEST}: {their} label is the name of {their} folder."


def _key(name: str) -> str:
    """Names are the same however their accents are composed: macOS writes them apart, tables in one."""
    return unicodedata.normalize("NFC", str(PurePosixPath(name)))
