"""The page of an import: progress, each file's fate, cancelling, trying again, and the report."""

import csv
import io
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from retrieval.models import Dataset, ImportedFile, ImportJob, JobStatus
from retrieval.views.importing import LEFT_BEHIND
from tests.services.conftest import work_on_import

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
ODD = "This file is no image."


@pytest.fixture
def job(archive: Dataset) -> ImportJob:
    """Done: six files stored, one refused."""
    job = archive.import_jobs.get()
    job.files.create(name="=odd.txt", status=ImportedFile.Status.REFUSED, reason=ODD)
    ImportJob.objects.filter(pk=job.pk).update(done=7, total=7)
    return ImportJob.objects.get(pk=job.pk)


@pytest.fixture
def running(archive: Dataset) -> ImportJob:
    """Ten seconds at work: 50 of 200 files."""
    began = timezone.now() - timedelta(seconds=10)
    return ImportJob.objects.create(
        dataset=archive,
        source_path="somewhere",
        status=JobStatus.RUNNING,
        attempts=1,
        started_at=began,
        lease_expires_at=timezone.now() + timedelta(seconds=15),
        done=50,
        accepted=30,
        duplicates=15,
        total=200,
    )


def _text(response: HttpResponse) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_imports_are_for_staff(logged_in: LoggedIn, job: ImportJob) -> None:
    address, clinician, staff = job.get_absolute_url(), logged_in("clinician"), logged_in("staff")
    assert {clinician.get(address + page).status_code for page in ("", "report.csv", "cancel/")} == {403}
    assert {clinician.post(address + verb).status_code for verb in ("cancel/", "retry/")} == {403}
    assert Client().get(address).status_code == 302
    assert address in _text(staff.get(job.dataset.get_absolute_url()))
    assert address not in _text(clinician.get(job.dataset.get_absolute_url()))
    assert staff.get("/imports/987654/").status_code == 404


def test_who_may_look_may_not_cancel_or_try_again(logged_in: LoggedIn, job: ImportJob) -> None:
    client = logged_in("clinician")
    client.user.user_permissions.add(Permission.objects.get(codename="view_importjob"))  # type: ignore[attr-defined]
    page = _text(client.get(job.get_absolute_url()))
    assert "Import again" not in page
    assert {client.post(job.get_absolute_url() + verb).status_code for verb in ("cancel/", "retry/")} == {403}


def test_files_are_listed_by_what_became_of_them(logged_in: LoggedIn, job: ImportJob) -> None:
    client, address = logged_in("staff"), job.get_absolute_url()
    refused, stored = _text(client.get(address)), _text(client.get(address, {"show": "stored"}))
    assert "=odd.txt" in refused
    assert ODD in refused
    assert "chest/0.png" not in refused
    assert "chest/0.png" in stored
    assert "=odd.txt" not in stored
    image = job.files.get(name="chest/0.png").image
    assert image is not None
    assert image.get_absolute_url() in stored
    assert "No file was in the archive already." in _text(client.get(address, {"show": "duplicate"}))
    image.delete()
    assert "an image that was deleted since" in _text(client.get(address, {"show": "stored"}))


def test_many_refused_files_come_in_pages(logged_in: LoggedIn, job: ImportJob) -> None:
    job.files.bulk_create(
        ImportedFile(job=job, name=f"bad/{number:03}", status="refused", reason=ODD) for number in range(119)
    )
    client = logged_in("staff")
    first, last = (_text(client.get(job.get_absolute_url(), {"page": page})) for page in (1, 3))
    assert (first.count(ODD), last.count(ODD)) == (50, 20)
    assert "Page 3 of 3" in last


def test_a_running_import_says_how_far_it_is(logged_in: LoggedIn, running: ImportJob) -> None:
    client, address = logged_in("staff"), running.get_absolute_url()
    page, piece = _text(client.get(address)), _text(client.get(address, headers={"HX-Request": "true"}))
    for text in (page, piece):
        assert "50 of 200 files" in text
        assert "a second, less than a minute left" in text
        assert "30 stored, 15 duplicates, 5 refused so far" in text
        assert f'hx-get="{address}"' in text
    assert "<html" not in piece
    ImportJob.objects.filter(pk=running.pk).update(status=JobStatus.DONE, finished_at=timezone.now())
    assert client.get(address, headers={"HX-Request": "true"})["HX-Refresh"] == "true"
    assert "hx-get" not in _text(client.get(address)).partition("<main")[2]


def test_an_import_that_no_worker_takes_says_so(logged_in: LoggedIn, archive: Dataset) -> None:
    job = ImportJob.objects.create(dataset=archive, source_path="somewhere")
    client = logged_in("staff")
    assert "No worker is free" not in _text(client.get(job.get_absolute_url()))
    ImportJob.objects.filter(pk=job.pk).update(queued_at=timezone.now() - timedelta(minutes=1))
    assert "No worker is free" in _text(client.get(job.get_absolute_url()))


def test_an_import_is_cancelled_after_a_question(logged_in: LoggedIn, running: ImportJob) -> None:
    client, address = logged_in("staff"), running.get_absolute_url()
    question = _text(client.get(f"{address}cancel/"))
    assert "The 30 files that it has stored in Drawn stay" in question
    assert not ImportJob.objects.get(pk=running.pk).cancel_requested
    assert client.post(f"{address}cancel/")["Location"] == address
    assert ImportJob.objects.get(pk=running.pk).cancel_requested
    assert "being cancelled" in _text(client.get(address))


def test_an_import_that_has_ended_cannot_be_cancelled(logged_in: LoggedIn, job: ImportJob) -> None:
    client = logged_in("staff")
    response = client.post(f"{job.get_absolute_url()}cancel/", follow=True)
    assert "The import had ended before it could be cancelled." in _text(response)
    assert ImportJob.objects.get(pk=job.pk).status == JobStatus.DONE


def test_what_failed_is_tried_again_for_as_long_as_the_source_is_there(
    logged_in: LoggedIn, job: ImportJob, picture_folder: Path
) -> None:
    client, address = logged_in("staff"), job.get_absolute_url()
    assert "Import again" in _text(client.get(address))
    addresses = {client.post(f"{address}retry/")["Location"] for _ in range(2)}
    again = ImportJob.objects.get(status=JobStatus.QUEUED)
    assert addresses == {again.get_absolute_url()}
    assert (again.dataset, again.source_path) == (job.dataset, job.source_path)
    shutil.rmtree(picture_folder)
    page = _text(client.get(address))
    assert "no longer on the server" in page
    assert "Import again" not in page
    assert "no longer on the server" in _text(client.post(f"{address}retry/", follow=True))
    assert ImportJob.objects.count() == 2


def test_the_report_tells_the_fate_of_every_file(logged_in: LoggedIn, job: ImportJob) -> None:
    response = logged_in("staff").get(f"{job.get_absolute_url()}report.csv")
    assert response.streaming
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == f'attachment; filename="import-{job.pk}.csv"'
    # Excel takes a text that does not begin like this for one of an old Windows.
    content = b"".join(response)
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert len(rows) == 7
    assert rows[-1] == {"file": "'=odd.txt", "outcome": "refused", "reason": ODD, "image": ""}
    image = job.files.get(name="hand/5.png").image
    assert image is not None
    assert {"file": "hand/5.png", "outcome": "stored", "reason": "", "image": str(image.uuid)} in rows


def _report(client: Client, job: ImportJob) -> list[list[str]]:
    response = client.get(f"{job.get_absolute_url()}report.csv")
    return list(csv.reader(io.StringIO(b"".join(response).decode("utf-8-sig"), newline="")))


def test_a_failed_import_names_its_source_and_its_reason(logged_in: LoggedIn, archive: Dataset, tmp_path: Path) -> None:
    (tmp_path / "=rar.zip").write_bytes(b"Rar!")
    job = work_on_import(ImportJob.objects.create(dataset=archive, source_path=str(tmp_path / "=rar.zip")))
    assert (job.status, job.named) == (JobStatus.FAILED, "=rar.zip")
    client, listing = logged_in("staff"), f"/admin/retrieval/importjob/?dataset__id__exact={archive.pk}"
    page = _text(client.get(job.get_absolute_url()))
    assert "The import of <bdi>=rar.zip</bdi> failed.</strong> This is a RAR archive, and only zip" in page
    for address in (archive.get_absolute_url(), listing):
        text = _text(client.get(address))
        assert "=rar.zip" in text
        assert str(tmp_path) not in text
    assert str(tmp_path) not in page
    assert _report(client, job)[1:] == [["'=rar.zip", "import failed", job.reason, ""]]


def test_all_imports_are_one_step_from_the_dataset(logged_in: LoggedIn, job: ImportJob) -> None:
    client, dataset = logged_in("staff"), job.dataset
    assert "all-imports" not in _text(client.get(dataset.get_absolute_url()))
    for number in range(11):
        ImportJob.objects.create(dataset=dataset, source_path=f"somewhere/{number}.zip")
    page = _text(client.get(dataset.get_absolute_url()))
    assert f'href="/admin/retrieval/importjob/?dataset__id__exact={dataset.pk}">All 12 imports</a>' in page
    assert "10.zip" in page
    assert ">0.zip" not in page


def test_what_is_skipped_or_to_be_known_is_on_the_page_and_in_the_report(
    logged_in: LoggedIn, archive: Dataset, picture_folder: Path
) -> None:
    (picture_folder / "hand" / ".DS_Store").write_bytes(b"left behind")
    (picture_folder / "manifest.csv").write_text("file,class\nmissing.png,lung\n")
    job = work_on_import(ImportJob.objects.create(dataset=archive, source_path=str(picture_folder)))
    client, address = logged_in("staff"), job.get_absolute_url()
    note = "1 row of manifest.csv names no file that is here: missing.png."
    page, skipped = _text(client.get(address)), _text(client.get(address, {"show": "skipped"}))
    assert note in page
    assert 'Skipped <span class="number">1</span>' in page
    assert "hand/.DS_Store" in skipped
    assert LEFT_BEHIND in skipped
    rows = _report(client, job)
    assert ["pictures", "note", note, ""] in rows
    assert ["hand/.DS_Store", "skipped", LEFT_BEHIND, ""] in rows
    assert "Skipped" not in _text(client.get(archive.import_jobs.last().get_absolute_url()))  # type: ignore[union-attr]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_report_is_a_formula(logged_in: LoggedIn, job: ImportJob, start: str) -> None:
    name, reason = f"{start}cmd|' /C calc'!A0, \"x\"", f"{start}1 is no image."
    job.files.create(name=name, status="refused", reason=reason)
    assert _report(logged_in("staff"), job)[-1] == [f"'{name}", "refused", f"'{reason}", ""]


def test_the_administration_leads_to_the_page(logged_in: LoggedIn, job: ImportJob) -> None:
    client = logged_in("staff")
    address = f'href="{job.get_absolute_url()}"'
    assert address in _text(client.get("/admin/retrieval/importjob/"))
    assert address in _text(client.get(f"/admin/retrieval/importjob/{job.pk}/change/"))
    filtered = f"/admin/retrieval/importjob/?dataset__id__exact={job.dataset_id}"
    assert filtered in _text(client.get("/admin/retrieval/dataset/"))


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_refused_files_of_old_are_carried_over(logged_in: LoggedIn) -> None:
    before, now = [("retrieval", "0004_retiring")], [("retrieval", "0005_imported_files")]
    latest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    try:
        old = MigrationExecutor(connection)
        old.migrate(before)
        apps = old.loader.project_state(before).apps
        dataset = apps.get_model("retrieval", "Dataset").objects.create(name="Old")
        job = apps.get_model("retrieval", "ImportJob").objects.create(
            dataset=dataset, source_path="gone", status="done", done=3, total=3, accepted=1, duplicates=1
        )
        apps.get_model("retrieval", "Rejection").objects.create(job=job, file="odd.txt", reason=ODD)
        MigrationExecutor(connection).migrate(now)
    finally:
        MigrationExecutor(connection).migrate(latest)
    assert list(ImportedFile.objects.values_list("job_id", "name", "status", "reason")) == [
        (job.pk, "odd.txt", "refused", ODD)
    ]
    page = _text(logged_in("staff").get(f"/imports/{job.pk}/"))
    assert "only the refused files are listed" in page
    assert "odd.txt" in page
