"""import_dataset and index: the contracts of docs/operations.md."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.db import connection

from retrieval.imaging.manifest import NOT_A_TABLE
from retrieval.management.commands import import_dataset as command
from retrieval.models import Dataset, ImportJob, JobStatus, MedicalImage, ModelVersion
from retrieval.services import jobs
from retrieval.services.importing import CORRECT_THERE, import_dataset
from tests.commands.conftest import Manage
from tests.pictures import drawn_pixels, png


def test_import_says_what_became_of_every_file(manage: Manage, picture_folder: Path) -> None:
    (picture_folder / "chest" / "note.txt").write_text("no image")
    (picture_folder / "hand" / "twin.png").write_bytes((picture_folder / "hand" / "3.png").read_bytes())
    (picture_folder / "hand" / "Thumbs.db").write_bytes(b"left behind")
    status, report = manage("import_dataset", picture_folder, "--name", "drawn")
    assert status == 0
    assert report.pop("seconds") > 0
    [rejected] = report.pop("rejected")
    skipped = ["hand/Thumbs.db"]
    assert report == {"dataset": "drawn", "accepted": 6, "duplicates": 1, "skipped": skipped, "notes": []}
    assert sorted(rejected) == ["file", "reason"]
    assert rejected["file"] == "chest/note.txt"
    assert set(MedicalImage.objects.values_list("label", flat=True)) == {"chest", "hand"}


def test_a_second_import_reports_duplicates_only(manage: Manage, picture_folder: Path) -> None:
    manage("import_dataset", picture_folder, "--name", "drawn")
    status, report = manage("import_dataset", picture_folder, "--name", "drawn")
    assert (status, report["accepted"], report["duplicates"], report["rejected"]) == (0, 0, 6, [])


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_a_dataset_needs_a_name(manage: Manage, picture_folder: Path, name: str) -> None:
    status, report = manage("import_dataset", picture_folder, "--name", name)
    assert (status, list(report)) == (1, ["error"])
    assert not Dataset.objects.exists()


def test_a_path_that_does_not_exist_makes_no_dataset(manage: Manage, tmp_path: Path) -> None:
    status, report = manage("import_dataset", tmp_path / "nowhere", "--name", "drawn")
    assert (status, list(report)) == (1, ["error"])
    assert not Dataset.objects.exists()


def test_a_source_that_cannot_be_read_makes_no_dataset(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and nothing more")
    status, report = manage("import_dataset", tmp_path / "broken.zip", "--name", "drawn")
    assert (status, list(report)) == (1, ["error"])
    assert not Dataset.objects.exists()
    assert not ImportJob.objects.exists()


def test_a_bad_manifest_is_to_be_mended_where_it_lies(manage: Manage, picture_folder: Path) -> None:
    (picture_folder / "manifest.csv").write_text('file,class\n"chest/0.png,lung\n')
    status, report = manage("import_dataset", picture_folder, "--name", "drawn")
    assert (status, report["error"]) == (1, f"{NOT_A_TABLE} {CORRECT_THERE}")


def test_an_existing_dataset_survives_a_failed_import(manage: Manage, picture_folder: Path, tmp_path: Path) -> None:
    manage("import_dataset", picture_folder, "--name", "drawn")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and nothing more")
    assert manage("import_dataset", tmp_path / "broken.zip", "--name", "drawn")[0] == 1
    assert Dataset.objects.get().images.count() == 6


def _taken_over(job: ImportJob) -> ImportJob:
    """As a worker has it, once the sweeper has queued it again since this process was paused for a whole lease."""
    ImportJob.objects.filter(pk=job.pk).update(status=JobStatus.QUEUED, lease_expires_at=None)
    taken = jobs.claim(ImportJob, job.pk)
    assert taken is not None
    return taken


def _finish(job: ImportJob) -> None:
    try:
        with jobs.working_on(job):
            import_dataset(job, index_afterwards=False)
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_an_import_that_a_worker_has_taken_over_is_waited_for(
    manage: Manage, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers: list[Thread] = []

    def paused(job: ImportJob, **options: Any) -> None:
        workers.append(Thread(target=_finish, args=[_taken_over(job)]))
        try:
            import_dataset(job, **options)
        finally:
            workers[0].start()

    monkeypatch.setattr(command, "import_dataset", paused)
    status, report = manage("import_dataset", picture_folder, "--name", "drawn")
    workers[0].join()
    assert (status, report["accepted"]) == (0, 6)
    assert MedicalImage.objects.count() == 6


@pytest.mark.parametrize("is_taken_over", [False, True])
def test_ctrl_c_ends_an_import_unless_a_worker_has_taken_it_over(
    manage: Manage, picture_folder: Path, monkeypatch: pytest.MonkeyPatch, *, is_taken_over: bool
) -> None:
    def stopped(job: ImportJob, **_: object) -> None:
        if is_taken_over:
            _taken_over(job)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "import_dataset", stopped)
    status, report = manage("import_dataset", picture_folder, "--name", "drawn")
    assert (status, report) == (1, {"error": command.TAKEN_OVER if is_taken_over else command.STOPPED})
    # The worker needs the dataset, empty as it is.
    assert Dataset.objects.exists() == is_taken_over
    assert ImportJob.objects.filter(status=JobStatus.RUNNING).exists() == is_taken_over


def test_index_says_what_it_did_and_what_was_done(
    manage: Manage, active_version: ModelVersion, picture_folder: Path
) -> None:
    manage("import_dataset", picture_folder, "--name", "drawn")
    status, report = manage("index")
    assert status == 0
    assert min(report.pop("seconds"), report.pop("images_per_second")) > 0
    assert report == {"model_version": active_version.number, "indexed": 6, "already": 0, "failed": []}
    status, report = manage("index", "--model-version", active_version.number)
    assert (status, report["indexed"], report["already"]) == (0, 0, 6)


def test_index_names_the_images_that_failed(manage: Manage, active_version: ModelVersion, picture_folder: Path) -> None:
    manage("import_dataset", picture_folder, "--name", "drawn")
    image = MedicalImage.objects.all()[2]
    Path(image.preview.path).unlink()
    _, report = manage("index")
    [failed] = report["failed"]
    assert (failed["image"], report["indexed"]) == (str(image.uuid), 5)
    assert failed["reason"]


def test_index_fails_where_nothing_can_be_indexed(
    manage: Manage, active_version: ModelVersion, picture_folder: Path
) -> None:
    manage("import_dataset", picture_folder, "--name", "drawn")
    Path(active_version.weights.path).write_bytes(b"damaged")
    status, report = manage("index")
    assert (status, list(report)) == (1, ["error"])
    assert "weights file of model version 1 is missing or damaged" in report["error"]


def test_index_needs_a_version(manage: Manage) -> None:
    assert list(manage("index")[1]) == ["error"]
    status, report = manage("index", "--model-version", 7)
    assert (status, report) == (1, {"error": "There is no model version 7."})


def test_wrong_usage(refuses_usage: Callable[..., str]) -> None:
    assert "--name" in refuses_usage("import_dataset", "somewhere")
    assert "invalid int value" in refuses_usage("index", "--model-version", "first")


def test_people_read_sentences(
    said: Callable[..., tuple[int, str]], active_version: ModelVersion, picture_folder: Path, tmp_path: Path
) -> None:
    (picture_folder / "note.txt").write_text("no image")
    (picture_folder / ".DS_Store").write_bytes(b"left behind")
    (picture_folder / "manifest.csv").write_text("file,class\nmissing.png,lung\n")
    status, text = said("import_dataset", picture_folder, "--name", "drawn")
    assert status == 0
    assert "6 accepted, 0 duplicates, 1 rejected" in text
    assert "note.txt: " in text
    assert "1 row of manifest.csv names no file that is here: missing.png." in text
    assert "skipped: .DS_Store" in text
    assert "6 images indexed" in said("index")[1]
    status, text = said("import_dataset", tmp_path / "nowhere", "--name", "drawn")
    assert (status, text.strip()) == (1, "There is no such folder or file.")


def test_the_bytes_of_a_zip_and_of_a_folder_are_the_same(manage: Manage, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "one.zip", "w") as packed:
        packed.writestr("hand/1.png", png(drawn_pixels(1)))
    _, report = manage("import_dataset", tmp_path / "one.zip", "--name", "drawn")
    assert (report["accepted"], MedicalImage.objects.get().label) == (1, "hand")
