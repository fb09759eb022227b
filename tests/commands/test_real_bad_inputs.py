"""The real malformed and hostile files, and the real DICOM files, through `import_dataset` as a script calls it."""

import time
from pathlib import Path
from typing import Any

import pytest

from retrieval.models import MedicalImage
from retrieval.services.checking import check_archive
from tests.bad_inputs import bad_inputs, complaint, index_of, is_readable, poor_sentence
from tests.commands.conftest import Manage

pytestmark = pytest.mark.real


def _reasons(status: int, report: dict[str, Any]) -> list[str]:
    """Why the source as a whole was refused, or what of it."""
    assert status == int("error" in report)
    return [report["error"]] if status else [rejected["reason"] for rejected in report["rejected"]]


def test_a_folder_with_all_the_bad_files(manage: Manage, real_data: Path) -> None:
    files = {file.name: file for file in bad_inputs(real_data)}
    status, report = manage("import_dataset", real_data / "badinputs", "--name", "bad")
    assert status == 0
    rejected = {each["file"]: each["reason"] for each in report["rejected"]}
    assert report["accepted"] + report["duplicates"] + len(rejected) == len({*files, *rejected})
    # An archive in a folder is one of its files, and no picture.
    assert {file.name for file in files.values() if file.is_archive} <= rejected.keys()
    complaints = {
        name: complaint(
            file.expected,
            accepted=name not in rejected,
            refusals=[rejected[name]] if name in rejected else [],
            seconds=0,
        )
        for name, file in files.items()
        if not file.is_archive
    }
    assert {name: said for name, said in complaints.items() if said} == {}
    assert check_archive()["ok"]


def test_each_of_the_bad_archives(manage: Manage, real_data: Path) -> None:
    complaints = {}
    for file in bad_inputs(real_data):
        if not file.is_archive:
            continue
        began = time.monotonic()
        status, report = manage("import_dataset", file.path, "--name", file.name)
        complaints[file.name] = complaint(
            file.expected,
            accepted=0 if status else report["accepted"] + report["duplicates"],
            refusals=_reasons(status, report),
            seconds=time.monotonic() - began if status else 0,
        )
    assert len(complaints) > 15
    assert {name: said for name, said in complaints.items() if said} == {}
    assert check_archive()["ok"]


def test_each_single_file_that_is_no_folder_is_refused_in_words(manage: Manage, real_data: Path) -> None:
    """A picture given instead of the folder that it lies in."""
    for name in ("images/pil_padded_idat.png", "generated/evil_pickle.pth"):
        status, report = manage("import_dataset", real_data / "badinputs" / name, "--name", "one")
        assert (status, poor_sentence(report["error"])) == (1, False)


def test_the_folder_of_real_dicom_files(manage: Manage, real_data: Path) -> None:
    rows = {row["file"]: row for row in index_of(real_data / "dicom")}
    status, report = manage("import_dataset", real_data / "dicom", "--name", "DICOM")
    assert status == 0
    rejected = {each["file"]: each["reason"] for each in report["rejected"]}
    assert rejected.keys() & rows.keys() == {name for name, row in rows.items() if not is_readable(row)}
    assert [reason for reason in rejected.values() if poor_sentence(reason)] == []
    read = sum(int(row["frames"] or 1) for row in rows.values() if is_readable(row))
    assert MedicalImage.objects.count() == read - report["duplicates"]
    assert check_archive()["ok"]
