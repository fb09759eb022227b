"""A dataset goes with all that belongs to it alone, and nothing of what others need, wherever it is interrupted."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone
from redis import Redis

from retrieval.models import (
    EMBEDDING_DIMENSION,
    Dataset,
    DatasetDeletion,
    Embedding,
    ImportedFile,
    ImportJob,
    IndexBatch,
    IndexFailure,
    IndexJob,
    JobStatus,
    MedicalImage,
    ModelVersion,
    Query,
    StoredFile,
)
from retrieval.services import deleting, importing, jobs
from retrieval.services.checking import check_archive
from retrieval.services.deleting import (
    DeletionRefused,
    Footprint,
    delete_dataset,
    footprint,
    last_failure,
    request_deletion,
)
from retrieval.services.indexing import create_index_job, index_batch
from retrieval.services.searching import ask_with_image
from tests.live_site import wait_until
from tests.services.conftest import Answer, ImportFolder, new_import_job, somebody_waits, work_on_import
from tests.services.training import RECIPE
from tests.training_rows import make_run
from training.services.starting import BEING_DELETED, RunRefused, start_run

Index = Callable[[ModelVersion], IndexJob]
T = TypeVar("T")


@pytest.fixture
def one(import_folder: ImportFolder, picture_folder: Path) -> Dataset:
    """Six images."""
    import_folder(picture_folder, dataset="one")
    return Dataset.objects.get(name="one")


@pytest.fixture
def request_it(person: Callable[[str], User], broker: Redis) -> Callable[[Dataset], DatasetDeletion]:
    user = person("admin")
    return lambda dataset: request_deletion(dataset=dataset, user=user)


def _work(deletion: DatasetDeletion, *, progress: jobs.Progress = jobs.silent) -> DatasetDeletion:
    """Claim it and work on it as a worker does."""
    claimed = jobs.claim(DatasetDeletion, deletion.pk)
    assert claimed is not None
    with jobs.working_on(claimed):
        delete_dataset(claimed, progress=progress)
    return DatasetDeletion.objects.get(pk=deletion.pk)


def _files() -> list[str]:
    root = Path(settings.MEDIA_ROOT)
    return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


def _image_files() -> list[str]:
    return [name for name in _files() if not name.startswith("weights/")]


def _is_whole() -> bool:
    return bool(check_archive()["ok"])


def test_a_dataset_goes_with_everything_that_is_its_own(
    active_version: ModelVersion,
    one: Dataset,
    index: Index,
    request_it: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deleting, "BATCH_IMAGES", 4)
    index(active_version)
    found = footprint(one)
    sizes = sum(StoredFile.objects.values_list("size", flat=True))
    assert found == Footprint(images=6, embeddings=6, originals=6, original_bytes=sizes, shared_originals=0)
    assert (found.files, sizes > 0) == (18, True)
    deletion = _work(request_it(one))
    assert (deletion.status, deletion.done, deletion.total, deletion.leaving) == (JobStatus.DONE, 6, 6, [])
    assert (deletion.dataset, deletion.name) == (None, "one")
    for model in (Dataset, MedicalImage, StoredFile, Embedding, ImportJob, ImportedFile):
        assert not model.objects.exists()
    assert _image_files() == []
    assert _is_whole()


def test_what_another_dataset_holds_too_stays(
    one: Dataset, import_folder: ImportFolder, picture_folder: Path, request_it: Callable
) -> None:
    fifth = (picture_folder / "hand/5.png").stat().st_size
    (picture_folder / "hand/5.png").unlink()
    import_folder(picture_folder, dataset="two")
    found = footprint(one)
    assert (found.images, found.originals, found.shared_originals) == (6, 1, 5)
    assert found.original_bytes == fifth
    _work(request_it(one))
    assert set(MedicalImage.objects.values_list("dataset__name", flat=True)) == {"two"}
    assert (MedicalImage.objects.count(), StoredFile.objects.count(), len(_image_files())) == (5, 5, 15)
    assert _is_whole()
    _work(request_it(Dataset.objects.get()))
    assert _image_files() == []


def test_answers_keep_their_ranks(
    active_version: ModelVersion,
    one: Dataset,
    index: Index,
    answer: Answer,
    person: Callable[[str], User],
    request_it: Callable,
) -> None:
    index(active_version)
    query = answer(ask_with_image(user=person("clinician"), image=one.images.earliest("pk")))
    before = list(query.results.values_list("rank", "distance"))
    _work(request_it(one))
    assert list(query.results.values_list("rank", "distance")) == before != []
    assert set(query.results.values_list("image", flat=True)) == {None}
    assert Query.objects.get().image is None


@pytest.mark.parametrize("status", ["queued", "running"])
def test_a_dataset_stays_while_an_import_into_it_is_not_finished(
    one: Dataset, picture_folder: Path, request_it: Callable, status: str
) -> None:
    job = new_import_job(picture_folder)
    if status == "running":
        jobs.claim(ImportJob, job.pk)
    with pytest.raises(DeletionRefused, match=f"^Import {job.pk} works with this dataset"):
        request_it(one)
    assert not DatasetDeletion.objects.exists()
    jobs.cancel(job)
    ImportJob.objects.filter(pk=job.pk).update(status=JobStatus.CANCELLED)
    assert request_it(one) == request_it(one)


def test_a_dataset_stays_while_a_network_learns_from_it(one: Dataset, request_it: Callable) -> None:
    run = make_run(one, status="running")
    with pytest.raises(DeletionRefused, match=f"^Training run {run.pk} works with this dataset"):
        request_it(one)


def test_nothing_begins_with_a_dataset_that_is_being_deleted(
    one: Dataset, picture_folder: Path, request_it: Callable
) -> None:
    request_it(one)
    job = work_on_import(new_import_job(picture_folder))
    assert (job.status, job.reason) == (JobStatus.FAILED, importing.BEING_DELETED)
    with pytest.raises(RunRefused, match=BEING_DELETED):
        start_run(datasets=[one], recipe=RECIPE, weights="none", publish=False)


class _Killed(BaseException):
    """Ends an attempt as a killed process ends: nobody tidies up."""


def test_a_deletion_that_died_between_rows_and_files_goes_on(
    one: Dataset, request_it: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "BATCH_IMAGES", 2)
    deletion = request_it(one)

    def die(done: int, total: int | None) -> None:
        if done == 4:
            raise _Killed

    with pytest.raises(_Killed):
        _work(deletion, progress=die)
    assert (MedicalImage.objects.count(), len(_files())) == (2, 12)
    deletion.refresh_from_db()
    assert len(deletion.leaving) == 6
    # It is known what they are: nobody takes them for lost.
    assert check_archive()["orphan_files"] == []
    DatasetDeletion.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert jobs.sweep() == 1
    deletion = _work(deletion)
    assert (deletion.status, deletion.attempts, deletion.done) == (JobStatus.DONE, 2, 6)
    assert _files() == []
    assert _is_whole()


def test_a_file_that_cannot_be_removed_ends_the_job_and_the_next_goes_on(one: Dataset, request_it: Callable) -> None:
    image = one.images.latest("pk")
    stuck = Path(image.thumbnail.path)
    stuck.unlink()
    (stuck / "in the way").mkdir(parents=True)
    deletion = _work(request_it(one))
    assert (deletion.status, deletion.reason, deletion.done) == (JobStatus.FAILED, deleting.NOT_REMOVED, 6)
    assert last_failure(one) == deletion
    (stuck / "in the way").rmdir()
    deletion = _work(request_it(one))
    assert (deletion.status, deletion.done, deletion.total) == (JobStatus.DONE, 0, 0)
    assert not stuck.exists()
    assert _files() == []
    assert not Dataset.objects.exists()


def test_an_import_keeps_an_original_that_a_deletion_takes_along(
    one_file_at_a_time: None, one: Dataset, import_folder: ImportFolder, picture_folder: Path, request_it: Callable
) -> None:
    """Its files were written ahead of their rows; those of the same content go with another dataset meanwhile."""
    deleted = []

    def delete_one(done: int, total: int | None) -> None:
        if done == 1:
            # Time for the files ahead to be written.
            time.sleep(1)
            deleted.append(_work(request_it(one)))

    job = import_folder(picture_folder, dataset="two", progress=delete_one)
    assert [each.status for each in deleted] == [JobStatus.DONE]
    assert (job.status, job.accepted, MedicalImage.objects.count()) == (JobStatus.DONE, 6, 6)
    assert len(_files()) == 18
    assert _is_whole()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_images_that_go_while_they_are_embedded_are_passed_over(
    active_version: ModelVersion, import_folder: ImportFolder, picture_folder: Path
) -> None:
    import_folder(picture_folder)
    batch = jobs.claim(IndexBatch, create_index_job(version=active_version, publish=False).batches.get().pk)
    assert batch is not None
    first, second = MedicalImage.objects.order_by("pk")[:2]
    # Whoever reads it waits until somebody has written.
    preview = Path(first.preview.path)
    preview.unlink()
    os.mkfifo(preview)

    def delete_two() -> None:
        with preview.open("wb"):
            MedicalImage.objects.filter(pk__in=[first.pk, second.pk]).delete()
        connection.close()

    thread = threading.Thread(target=delete_two)
    thread.start()
    with jobs.working_on(batch):
        index_batch(batch)
    thread.join()
    assert IndexBatch.objects.get().status == JobStatus.DONE
    assert set(Embedding.objects.values_list("image", flat=True)) == set(
        MedicalImage.objects.values_list("pk", flat=True)
    )
    assert (Embedding.objects.count(), IndexFailure.objects.count()) == (4, 0)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_what_a_worker_stores_of_an_image_at_this_moment_goes_along(
    active_version: ModelVersion, one: Dataset, request_it: Callable
) -> None:
    deletion, image = request_it(one), one.images.earliest("pk")
    vector = np.eye(EMBEDDING_DIMENSION, dtype=np.float32)[0]
    with ThreadPoolExecutor() as pool:
        with transaction.atomic():
            MedicalImage.objects.select_for_update(no_key=True).get(pk=image.pk)
            ended = pool.submit(_on_its_own_connection, lambda: _work(deletion))
            wait_until(somebody_waits, seconds=60, what="the deletion waits for the image")
            Embedding.objects.create(image=image, model_version=active_version, vector=vector)
        assert ended.result().status == JobStatus.DONE
    assert not Dataset.objects.exists()
    assert not Embedding.objects.exists()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_dataset_stays_when_a_run_begins_with_it_at_this_moment(one: Dataset, request_it: Callable) -> None:
    with ThreadPoolExecutor() as pool:
        with transaction.atomic():
            start_run(datasets=[one], recipe=RECIPE, weights="none", publish=False)
            asked = pool.submit(_on_its_own_connection, lambda: request_it(one))
            wait_until(lambda: somebody_waits() or asked.done(), seconds=60, what="the deletion waits for the run")
        with pytest.raises(DeletionRefused, match=r"^Training run"):
            asked.result()


def _on_its_own_connection(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_an_original_that_goes_while_it_is_imported_again_is_stored_anew(one: Dataset, picture_folder: Path) -> None:
    job = new_import_job(picture_folder, dataset="two")

    def import_again() -> None:
        work_on_import(job)
        connection.close()

    thread = threading.Thread(target=import_again)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1 FROM retrieval_storedfile FOR UPDATE")
            thread.start()
            wait_until(_somebody_waits_for_a_row, seconds=60, what="the import waits for the row")
            cursor.execute("UPDATE retrieval_importedfile SET image_id = NULL")
            cursor.execute("DELETE FROM retrieval_medicalimage")
            cursor.execute("DELETE FROM retrieval_storedfile")
            cursor.execute("COMMIT")
    finally:
        other.close()
        thread.join()
    job.refresh_from_db()
    assert (job.status, job.accepted, StoredFile.objects.count()) == (JobStatus.DONE, 6, 6)
    assert check_archive()["missing_files"] == []


def _somebody_waits_for_a_row() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FOR UPDATE%'")
        return cursor.fetchone() is not None
