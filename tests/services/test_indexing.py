"""Every image of the archive gets one embedding of a version, by any number of workers, however often it is tried."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.utils import timezone
from redis import Redis

from retrieval.models import Embedding, IndexBatch, IndexFailure, IndexJob, JobStatus, MedicalImage, ModelVersion
from retrieval.services import indexing, jobs
from retrieval.services.versions import create_model_version, load_embedder
from tests.services.conftest import ImportFolder

Index = Callable[[ModelVersion], IndexJob]


@pytest.fixture
def images(import_folder: ImportFolder, picture_folder: Path) -> list[MedicalImage]:
    import_folder(picture_folder)
    return list(MedicalImage.objects.order_by("pk"))


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "BATCH_IMAGES", 2)


def _indexed(version: ModelVersion) -> list[int]:
    return list(Embedding.objects.of(version).order_by("image_id").values_list("image_id", flat=True))


def test_every_image_gets_the_embedding_that_the_network_gives_it(
    active_version: ModelVersion, images: list[MedicalImage], index: Index, small_batches: None
) -> None:
    job = index(active_version)
    assert (job.batches.count(), job.total, job.progress["done"]) == (3, 6, 6)
    assert job.progress["status"] == JobStatus.DONE
    embedder = load_embedder(active_version.pk)
    [(expected, _)] = embedder.embed_images([Path(image.preview.path) for image in images])
    stored = [each.vector for each in Embedding.objects.order_by("image_id")]
    assert np.allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-3)
    assert np.allclose(stored, expected, atol=2e-3)


def test_a_second_job_has_nothing_to_do(active_version: ModelVersion, images: list[MedicalImage], index: Index) -> None:
    index(active_version)
    before = list(Embedding.objects.values_list("pk", "image_id"))
    again = index(active_version)
    assert (again.total, again.batches.count(), again.progress["status"]) == (0, 0, JobStatus.DONE)
    assert list(Embedding.objects.values_list("pk", "image_id")) == before


def test_versions_have_embeddings_of_their_own(
    active_version: ModelVersion, images: list[MedicalImage], index: Index
) -> None:
    other = create_model_version(architecture="narrow", weights="none", seed=1)
    index(active_version)
    assert _indexed(other) == []
    index(other)
    assert _indexed(other) == _indexed(active_version) == [image.pk for image in images]


def test_jobs_that_overlap_embed_nothing_twice(
    active_version: ModelVersion, images: list[MedicalImage], small_batches: None
) -> None:
    first, second = (indexing.create_index_job(version=active_version, publish=False) for _ in range(2))
    indexing.work_on_index_job(second)
    indexing.work_on_index_job(first)
    assert _indexed(active_version) == [image.pk for image in images]
    assert first.progress["done"] == second.progress["done"] == 6


def test_an_image_that_cannot_be_embedded_is_told_and_tried_again_by_the_next_job(
    active_version: ModelVersion, images: list[MedicalImage], index: Index
) -> None:
    preview = Path(images[2].preview.path)
    content = preview.read_bytes()
    preview.unlink()
    job = index(active_version)
    failure = IndexFailure.objects.get()
    assert (failure.image, failure.index_job) == (images[2], job)
    assert failure.reason.endswith(".")
    assert len(_indexed(active_version)) == 5
    preview.write_bytes(content)
    assert index(active_version).total == 1
    assert len(_indexed(active_version)) == 6


def test_what_was_tried_in_vain_asks_for_no_other_job_until_something_else_is_missing(
    active_version: ModelVersion, images: list[MedicalImage], index: Index, broker: Redis
) -> None:
    Path(images[2].preview.path).unlink()
    index(active_version)
    indexing.have_missing_embedded(active_version)
    assert active_version.index_jobs.count() == 1
    Embedding.objects.get(image=images[0]).delete()
    indexing.have_missing_embedded(active_version)
    assert active_version.index_jobs.latest("pk").total == 2


def test_what_a_batch_waits_for_is_not_planned_again(
    active_version: ModelVersion, images: list[MedicalImage], small_batches: None, broker: Redis
) -> None:
    """With every import that ends while a large archive is embedded."""
    one, two, three = active_version, images[:4], images[4:]
    indexing.create_index_job(version=one, publish=True, among=two)
    indexing.have_missing_embedded(one)
    indexing.have_missing_embedded(one)
    assert [job.total for job in one.index_jobs.order_by("pk")] == [4, 2]
    # A worker that is at a batch has made its list, in which an image that has come since may be missing.
    taken = jobs.claim(IndexBatch, IndexBatch.objects.earliest("pk").pk)
    assert taken is not None
    indexing.have_missing_embedded(one)
    [*_, again] = IndexBatch.objects.order_by("pk")
    assert (again.first_image_id, again.last_image_id) == (taken.first_image_id, taken.last_image_id)
    assert three[-1].pk not in range(again.first_image_id, again.last_image_id + 1)
    # Another version has batches of its own.
    other = create_model_version(architecture="narrow", weights="none", seed=1)
    indexing.have_missing_embedded(other)
    assert other.index_jobs.get().total == 6


def test_a_batch_whose_worker_died_is_finished_by_somebody_else(
    active_version: ModelVersion, images: list[MedicalImage], small_batches: None, broker: Redis
) -> None:
    job = indexing.create_index_job(version=active_version, publish=False)
    dead = jobs.claim(IndexBatch, job.batches.all()[1].pk)
    assert dead is not None
    Embedding.objects.create(
        image_id=dead.first_image_id, model_version=active_version, vector=np.eye(512, dtype=np.float32)[0]
    )
    IndexBatch.objects.filter(pk=dead.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    indexing.work_on_index_job(job)
    assert _indexed(active_version) == [image.pk for image in images]
    assert [batch.done for batch in job.batches.all()] == [2, 2, 2]
    dead.refresh_from_db()
    assert (dead.status, dead.attempts) == (JobStatus.DONE, 2)


@pytest.mark.parametrize("content", [None, b"no weights"])
def test_a_version_without_its_weights_ends_its_batches_with_a_reason(
    active_version: ModelVersion, images: list[MedicalImage], index: Index, content: bytes | None
) -> None:
    weights = Path(active_version.weights.path)
    weights.unlink()
    if content:
        weights.write_bytes(content)
    job = index(active_version)
    batch = job.batches.get()
    assert batch.status == JobStatus.FAILED
    assert batch.reason.startswith(f"The weights file of model version {active_version.number} is missing or damaged")
    assert job.progress["status"] == JobStatus.FAILED


def test_progress_is_the_same_read_with_many_jobs_and_alone(
    active_version: ModelVersion, images: list[MedicalImage]
) -> None:
    """Two batches and two failures: neither is counted as often as there are rows of the other."""
    job, empty = (IndexJob.objects.create(model_version=active_version, total=6) for _ in range(2))
    for done, status in ((3, "done"), (2, "failed")):
        batch = IndexBatch(index_job=job, first_image_id=1, last_image_id=6, done=done, status=status, reason="x")
        batch.save()
    for image in images[:2]:
        IndexFailure.objects.create(index_job=job, image=image, reason="It is empty.")
    read = {each.pk: each.progress for each in IndexJob.objects.with_progress()}
    assert read[job.pk] == job.progress
    assert read[job.pk] == {"done": 5, "failed": 2, "total": 6, "status": "failed", "seconds_left": None}
    assert read[empty.pk] == {"done": 0, "failed": 0, "total": 6, "status": "done", "seconds_left": None}
