"""Originals that were stored as they came are cleaned, wherever a run is interrupted: none is lost or forgotten."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from PIL import Image, PngImagePlugin
from pytest_django import Settings

from retrieval.models import Dataset, ImportJob, JobStatus, MedicalImage, StoredFile
from retrieval.services import jobs, naming
from retrieval.services.checking import check_archive
from retrieval.services.deidentifying import KEPT_BY_SETTING, LOW_DISK, MISSING, Report, deidentify_originals
from tests.imaging.files import dataset_of, ramp, written
from tests.pictures import drawn_pixels, png
from tests.services.conftest import ImportFolder

pytestmark = pytest.mark.django_db
MARK = b"ZMARKZ"


class _Killed(BaseException):
    """Ends an attempt as a killed process ends: nobody tidies up."""


def _marked_png(number: int) -> bytes:
    note = PngImagePlugin.PngInfo()
    note.add_text("Patient", MARK.decode())
    out = io.BytesIO()
    Image.fromarray(drawn_pixels(number)).save(out, "PNG", pnginfo=note)
    return out.getvalue()


@pytest.fixture
def as_they_came(import_folder: ImportFolder, tmp_path: Path, settings: Settings) -> list[StoredFile]:
    """Five marked originals and one that has nothing to remove, under the names of before and of now."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_bytes(_marked_png(number))
    (folder / "4.dcm").write_bytes(written(dataset_of(ramp(), PatientName=MARK.decode())))
    (folder / "5.png").write_bytes(png(drawn_pixels(5)))
    settings.DEIDENTIFY_ORIGINALS = False
    assert import_folder(folder).accepted == 6
    settings.DEIDENTIFY_ORIGINALS = True
    originals = list(StoredFile.objects.order_by("pk"))
    for original in originals[:3]:
        before, _ = naming.names_as_it_came(original.sha256)
        with original.file.open("rb") as file:
            default_storage.save(before, file)
        default_storage.delete(str(original.file))
        StoredFile.objects.filter(pk=original.pk).update(file=before)
    assert len(_marked()) == 5
    return list(StoredFile.objects.order_by("pk"))


def _originals() -> list[Path]:
    return [path for path in Path(default_storage.path("originals")).rglob("*") if path.is_file()]


def _marked() -> list[Path]:
    return [path for path in _originals() if MARK in path.read_bytes()]


def _all_rows_have_their_file() -> bool:
    rows = StoredFile.objects.values_list("file", "stored_sha256", "size")
    contents = [(Path(default_storage.path(name)).read_bytes(), sha256, size) for name, sha256, size in rows]
    return all((hashlib.sha256(data).hexdigest(), len(data)) == (sha256, size) for data, sha256, size in contents)


def _counts(report: Report) -> tuple[int, int, int]:
    return report.cleaned, report.already, len(report.failed)


def test_nothing_identifying_is_left_and_everything_else_is(as_they_came: list[StoredFile]) -> None:
    images = list(MedicalImage.objects.order_by("pk").values())
    seen: list[tuple[int, int | None]] = []
    report = deidentify_originals(progress=lambda done, total: seen.append((done, total)))
    assert (_counts(report), seen[-1]) == ((6, 0, 0), (6, 6))
    assert (_marked(), len(_originals())) == ([], 6)
    assert not StoredFile.objects.filter(is_deidentified=False).exists()
    # What came in is still known for the same, and is shown as before.
    assert [file.sha256 for file in StoredFile.objects.order_by("pk")] == [file.sha256 for file in as_they_came]
    assert list(MedicalImage.objects.order_by("pk").values()) == images
    assert _all_rows_have_their_file()
    assert check_archive()["ok"]
    assert _counts(deidentify_originals()) == (0, 6, 0)


def test_they_become_what_an_import_of_today_stores(
    as_they_came: list[StoredFile], import_folder: ImportFolder, tmp_path: Path
) -> None:
    deidentify_originals()
    cleaned = list(StoredFile.objects.order_by("sha256").values_list("sha256", "stored_sha256", "file", "size"))
    MedicalImage.objects.all().delete()
    StoredFile.objects.all().delete()
    assert import_folder(tmp_path / "in", dataset="two").accepted == 6
    assert list(StoredFile.objects.order_by("sha256").values_list("sha256", "stored_sha256", "file", "size")) == cleaned


def _dying_at(statement: int) -> Callable[..., Any]:
    """What a connection asks before each statement."""
    count = 0

    def ask(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == statement:
            raise _Killed
        return execute(sql, *arguments)

    return ask


def test_killed_before_any_statement_it_goes_on(as_they_came: list[StoredFile]) -> None:
    """Before a row is switched and after, before its file goes: each attempt comes one statement further."""
    deaths, forgotten = 0, set()
    for statement in range(1, 300):
        try:
            with connection.execute_wrapper(_dying_at(statement)):
                report = deidentify_originals()
            break
        except _Killed:
            deaths += 1
        assert _all_rows_have_their_file()
        rows = StoredFile.objects.filter(is_deidentified=True).values_list("file", flat=True)
        left = {path for path in _marked() if path.relative_to(default_storage.path("")).as_posix() not in rows}
        waiting = StoredFile.objects.filter(is_deidentified=False).values_list("file", flat=True)
        forgotten |= {path for path in left if path.relative_to(default_storage.path("")).as_posix() not in waiting}
    assert deaths > 15
    assert forgotten, "no attempt died between the switch of a row and the end of its file"
    assert report.failed == []
    assert (_marked(), len(_originals())) == ([], 6)
    assert _all_rows_have_their_file()
    assert check_archive()["ok"]


def test_killed_between_two_files_it_goes_on(as_they_came: list[StoredFile]) -> None:
    def die(done: int, total: int | None) -> None:
        if done == 4:
            raise _Killed

    with pytest.raises(_Killed):
        deidentify_originals(progress=die)
    assert StoredFile.objects.filter(is_deidentified=True).count() == 4
    assert _all_rows_have_their_file()
    assert _counts(deidentify_originals()) == (2, 4, 0)
    assert (_marked(), len(_originals())) == ([], 6)
    assert check_archive()["ok"]


def test_what_cannot_be_cleaned_stays_and_is_named(as_they_came: list[StoredFile]) -> None:
    gone, broken, *_ = as_they_came
    default_storage.delete(str(gone.file))
    Path(broken.file.path).write_bytes(b"no picture")
    report = deidentify_originals()
    assert _counts(report) == (4, 0, 2)
    reasons = {original.pk: reason for original, reason in report.failed}
    assert reasons.keys() == {gone.pk, broken.pk}
    assert reasons[gone.pk] == MISSING
    assert reasons[broken.pk].endswith(".")
    assert Path(broken.file.path).read_bytes() == b"no picture"
    assert set(StoredFile.objects.filter(is_deidentified=False)) == {gone, broken}


def test_a_dataset_that_goes_meanwhile_leaves_nothing_behind(as_they_came: list[StoredFile]) -> None:
    def delete_rows(done: int, total: int | None) -> None:
        if done == 1:
            ImportJob.objects.all().delete()
            MedicalImage.objects.all().delete()
            Dataset.objects.all().delete()
            for original in StoredFile.objects.all():
                default_storage.delete(str(original.file))
            StoredFile.objects.all().delete()

    assert _counts(deidentify_originals(progress=delete_rows)) == (1, 0, 0)
    assert _originals() == []


def test_an_installation_that_keeps_originals_is_not_cleaned(
    as_they_came: list[StoredFile], settings: Settings
) -> None:
    settings.DEIDENTIFY_ORIGINALS = False
    with pytest.raises(jobs.JobFailed, match=KEPT_BY_SETTING.split(":")[0]):
        deidentify_originals()
    assert len(_marked()) == 5


def test_a_full_disk_ends_it_and_costs_nothing(
    small_disk: Path, import_folder: ImportFolder, tmp_path: Path, settings: Settings
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.png").write_bytes(_marked_png(number))
    settings.DEIDENTIFY_ORIGINALS = False
    assert import_folder(folder).status == JobStatus.DONE
    settings.DEIDENTIFY_ORIGINALS = True
    filler = small_disk / "originals" / "filler"
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(jobs.JobFailed, match=LOW_DISK.split(":")[0]):
        deidentify_originals()
    assert _all_rows_have_their_file()
    filler.unlink()
    assert _counts(deidentify_originals()) == (2, 0, 0)
    assert _marked() == []
