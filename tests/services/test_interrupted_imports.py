"""An import that ends before its end: the source or the disk gives out, its worker dies or loses it."""

import hashlib
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from redis import Redis

from retrieval.imaging import ArchiveLimits
from retrieval.models import (
    ImportedFile,
    ImportJob,
    IndexBatch,
    IndexJob,
    JobStatus,
    MedicalImage,
    ModelVersion,
    StoredFile,
)
from retrieval.services import importing, jobs
from retrieval.storage import work_folder
from tests.pictures import drawn_pixels, png
from tests.services.conftest import ImportFolder, new_import_job, somebody_waits, work_on_import
from tests.services.imports import archive_is_whole, counts_of, stored_files, write_files

one_file_at_a_time = pytest.mark.usefixtures("one_file_at_a_time")
KINDS = ("originals", "previews", "thumbnails")


@pytest.mark.parametrize("content", [b"PK\x03\x04 and nothing more", b"no archive"])
def test_a_source_that_cannot_be_read_ends_the_job(import_folder: ImportFolder, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.zip").write_bytes(content)
    job = import_folder(tmp_path / "in.zip")
    assert job.status == JobStatus.FAILED
    assert job.reason.endswith(".")


@one_file_at_a_time
def test_a_source_that_goes_away_ends_the_job_and_keeps_what_was_imported(
    import_folder: ImportFolder, tmp_path: Path
) -> None:
    source = write_files(tmp_path / "in", {f"a/{number:02}.png": png(drawn_pixels(number)) for number in range(20)})
    job = import_folder(source, progress=lambda *_: shutil.rmtree(source, ignore_errors=True))
    assert (job.status, job.reason) == (JobStatus.FAILED, importing.SOURCE_GONE)
    assert 1 <= job.accepted == MedicalImage.objects.count() < 20
    assert archive_is_whole()


def test_a_disk_without_room_to_spare_ends_the_job(
    import_folder: ImportFolder, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "ArchiveLimits", partial(ArchiveLimits, spare_disk_bytes=2**62))
    job = import_folder(picture_folder)
    assert (job.status, job.reason) == (JobStatus.FAILED, importing.LOW_DISK)


@one_file_at_a_time
def test_a_disk_that_fills_up_ends_the_job_and_no_half_file_stays(
    small_disk: Path, import_folder: ImportFolder, tmp_path: Path
) -> None:
    # Small ones: those that are on their way at once must not fill the disk before the first of them is accepted.
    pictures = (png(drawn_pixels(number, width=160, height=120)) for number in range(40))
    source = write_files(tmp_path / "in", {f"a/{number:02}.png": picture for number, picture in enumerate(pictures)})
    job = import_folder(source)
    assert (job.status, job.reason) == (JobStatus.FAILED, importing.LOW_DISK)
    assert 1 <= job.accepted == MedicalImage.objects.count() < 40
    assert [path.name for path in small_disk.rglob(".*")] == []
    assert archive_is_whole()


class _Killed(BaseException):
    """Ends an attempt as a killed process ends: nobody tidies up."""


def _die_after(files: int) -> jobs.Progress:
    def progress(done: int, total: int | None) -> None:
        if done == files:
            raise _Killed

    return progress


def _lose_lease(job: ImportJob) -> None:
    ImportJob.objects.filter(pk=job.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert jobs.sweep() == 1


@one_file_at_a_time
def test_an_import_that_died_and_runs_again_ends_as_if_nothing_had_happened(
    db: None, picture_folder: Path, broker: Redis
) -> None:
    write_files(
        picture_folder, {"a/note.txt": b"no image", "z/again.png": (picture_folder / "chest/0.png").read_bytes()}
    )
    job = new_import_job(picture_folder)
    with pytest.raises(_Killed):
        work_on_import(job, progress=_die_after(3))
    assert MedicalImage.objects.count() == 2
    _lose_lease(job)
    job = work_on_import(job)
    assert (job.status, job.attempts, *counts_of(job)) == (JobStatus.DONE, 2, 6, 1, 1)
    assert (MedicalImage.objects.count(), StoredFile.objects.count()) == (6, 6)
    assert archive_is_whole()


@pytest.mark.parametrize("together", [1, 3])
def test_a_worker_that_lost_its_import_leaves_everything_to_the_next(
    db: None, picture_folder: Path, broker: Redis, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """It finds out when the rows of the next files are there, but not committed."""
    monkeypatch.setattr(importing, "GROUP_FILES", together)
    monkeypatch.setattr(importing, "GROUP_SECONDS", 60)
    job = new_import_job(picture_folder)

    def hang(done: int, total: int | None) -> None:
        if done == 3:
            _lose_lease(job)

    work_on_import(job, progress=hang)
    assert MedicalImage.objects.count() == ImportedFile.objects.count() == 3
    job = work_on_import(job)
    assert (job.status, *counts_of(job)) == (JobStatus.DONE, 6, 0, 0)
    assert archive_is_whole()


def test_a_worker_that_comes_back_after_another_names_no_file(db: None, picture_folder: Path, broker: Redis) -> None:
    """What the database says of a row that is there already goes into the log, with the name of a file in it."""
    job = new_import_job(picture_folder)

    def freeze(done: int, total: int | None) -> None:
        if done == 1:
            _lose_lease(job)
            assert work_on_import(job).status == JobStatus.DONE

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "GROUP_FILES", 1)
        work_on_import(job, progress=freeze)
    assert ImportedFile.objects.count() == 6
    assert archive_is_whole()


def _written() -> dict[Path, int]:
    """The archive's files, each as written this time: a file that is written again is another one."""
    return {path: path.stat().st_ino for kind in KINDS for path in stored_files(kind) if path.name[0] != "."}


def _wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


@one_file_at_a_time
def test_an_import_that_ends_early_takes_nothing_from_another_of_the_same_files(db: None, tmp_path: Path) -> None:
    pictures = {f"a/{number}.png": png(drawn_pixels(number)) for number in range(3)}
    source = write_files(tmp_path / "in", pictures)
    early, other = new_import_job(source), new_import_job(source)

    def catch_up(done: int, total: int | None) -> None:
        """With the last file written and no row of it yet, the other import does as much, and is cancelled."""
        if done == 1:
            _wait_until(lambda: len(_written()) == 3 * len(KINDS))
            before = _written()

            def cancel(done: int, total: int | None) -> None:
                if done == 1:
                    _wait_until(lambda: sum(before[path] != now for path, now in _written().items()) == 2 * len(KINDS))
                    jobs.cancel(early)

            assert work_on_import(early, progress=cancel).status == JobStatus.CANCELLED
            assert len(_written()) == 2 * len(KINDS)

    assert work_on_import(other, progress=catch_up).status == JobStatus.DONE
    assert MedicalImage.objects.count() == 3
    assert archive_is_whole()


def _original(sha256: str) -> StoredFile:
    return StoredFile.objects.create(
        sha256=sha256, stored_sha256=sha256, file=f"originals/{sha256}", size=1, is_deidentified=True
    )


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_an_import_that_waits_for_an_original_holds_none_that_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So two that add the same files in different orders never wait for each other."""
    pictures = {hashlib.sha256(each).hexdigest(): each for each in (png(drawn_pixels(number)) for number in range(4))}
    first, *_, last = sorted(pictures)
    # Read in the order of their names: the last content first.
    names = {f"a/{place}.png": pictures[sha256] for place, sha256 in enumerate(sorted(pictures, reverse=True))}
    job = new_import_job(write_files(tmp_path / "in", names))
    monkeypatch.setattr(importing, "GROUP_SECONDS", 60)

    def work() -> ImportJob:
        try:
            return work_on_import(job)
        finally:
            connection.close()

    with ThreadPoolExecutor() as pool:
        with transaction.atomic():
            _original(first)
            ended = pool.submit(work)
            _wait_until(somebody_waits)
            _original(last)
            transaction.set_rollback(True)
        assert ended.result().status == JobStatus.DONE
    assert MedicalImage.objects.count() == StoredFile.objects.count() == len(pictures)
    assert archive_is_whole()


def test_what_killed_processes_left_in_the_work_folder_is_removed(
    import_folder: ImportFolder, picture_folder: Path
) -> None:
    with work_folder() as living:
        abandoned = write_files(living.parent / "work-abandoned", {"member": b"bytes"})
        write_files(living, {"member": b"bytes"})
        import_folder(picture_folder)
        assert not abandoned.exists()
        assert (living / "member").exists()
    assert list(living.parent.glob("work-*")) == []


def _queued_for_indexing() -> list[int]:
    """The sizes of the batches, once a worker has looked; looking twice must not queue anything twice."""
    for _ in range(2):
        importing.embed_what_ended_imports_stored()
    return list(IndexBatch.objects.values_list("total", flat=True))


@one_file_at_a_time
def test_what_a_cancelled_import_stored_is_embedded(
    active_version: ModelVersion, picture_folder: Path, broker: Redis
) -> None:
    def cancel(done: int, total: int | None) -> None:
        assert _queued_for_indexing() == []
        if done == 2:
            jobs.cancel(ImportJob.objects.get())

    job = work_on_import(new_import_job(picture_folder), index_afterwards=True, progress=cancel)
    assert (job.status, job.accepted) == (JobStatus.CANCELLED, 3)
    assert _queued_for_indexing() == [3]


@one_file_at_a_time
def test_what_a_failed_import_stored_is_embedded(
    active_version: ModelVersion, picture_folder: Path, broker: Redis
) -> None:
    def lose_source(done: int, total: int | None) -> None:
        shutil.rmtree(picture_folder, ignore_errors=True)

    job = work_on_import(new_import_job(picture_folder), index_afterwards=True, progress=lose_source)
    assert (job.status, job.reason) == (JobStatus.FAILED, importing.SOURCE_GONE)
    assert _queued_for_indexing() == [job.accepted] != [0]


@one_file_at_a_time
def test_what_an_import_stored_that_was_given_up_is_embedded(
    active_version: ModelVersion, picture_folder: Path, broker: Redis
) -> None:
    job = new_import_job(picture_folder)
    for attempt in range(1, ImportJob.max_attempts + 1):
        with pytest.raises(_Killed):
            work_on_import(job, index_afterwards=True, progress=_die_after(attempt + 1))
        assert _queued_for_indexing() == []
        ImportJob.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        jobs.sweep()
    assert ImportJob.objects.get().status == JobStatus.FAILED
    assert _queued_for_indexing() == [MedicalImage.objects.count()] == [4]


@one_file_at_a_time
def test_what_an_interrupted_import_stored_is_embedded_when_it_is_cancelled_while_it_waits(
    active_version: ModelVersion, picture_folder: Path, broker: Redis
) -> None:
    job = new_import_job(picture_folder)
    with pytest.raises(_Killed):
        work_on_import(job, index_afterwards=True, progress=_die_after(3))
    _lose_lease(job)
    jobs.cancel(job)
    assert _queued_for_indexing() == [MedicalImage.objects.count()] == [3]


def test_an_import_that_stored_nothing_queues_no_indexing(
    active_version: ModelVersion, tmp_path: Path, broker: Redis
) -> None:
    (tmp_path / "in.zip").write_bytes(b"no archive")
    job = work_on_import(new_import_job(tmp_path / "in.zip"), index_afterwards=True)
    assert job.status == JobStatus.FAILED
    assert _queued_for_indexing() == []
    assert not IndexJob.objects.exists()
    assert not ImportJob.objects.get().embedding_due


@one_file_at_a_time
def test_an_import_from_a_shell_leaves_embedding_to_the_next_command(
    active_version: ModelVersion, import_folder: ImportFolder, picture_folder: Path, broker: Redis
) -> None:
    import_folder(picture_folder, progress=lambda done, _: jobs.cancel(ImportJob.objects.get()) if done == 2 else None)
    assert MedicalImage.objects.count() == 3
    assert _queued_for_indexing() == []


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_what_imports_of_old_left_is_embedded() -> None:
    before = [("retrieval", "0011_stacks")]
    latest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    try:
        old = MigrationExecutor(connection)
        old.migrate(before)
        apps = old.loader.project_state(before).apps
        dataset = apps.get_model("retrieval", "Dataset").objects.create(name="Old")
        for status in ("done", "failed", "cancelled"):
            jobs_of_old = apps.get_model("retrieval", "ImportJob").objects
            jobs_of_old.create(dataset=dataset, source_path="gone", status=status, reason="Because.")
    finally:
        MigrationExecutor(connection).migrate(latest)
    due = ImportJob.objects.filter(embedding_due=True).values_list("status", flat=True)
    assert sorted(due) == ["cancelled", "failed"]
