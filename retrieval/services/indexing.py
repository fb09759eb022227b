"""Embedding the archive: a job is cut into batches of images, and any number of workers take batches.

The work left is always a query, the images without an embedding: a second run goes on, a third does nothing.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from django.db import transaction
from django.db.models import Sum

from retrieval.models import Embedding, IndexBatch, IndexFailure, IndexJob, JobStatus, MedicalImage, ModelVersion
from retrieval.models.archive import MedicalImageQuerySet
from retrieval.services import jobs
from retrieval.services.versions import load_embedder, refuse_retired

# One claim: long enough to be worth a message, short enough that a killed worker costs seconds.
BATCH_IMAGES = 256
# One forward pass and one heartbeat.
FORWARD_IMAGES = 32


@transaction.atomic
def create_index_job(*, version: ModelVersion, publish: bool, among: Iterable[MedicalImage] | None = None) -> IndexJob:
    """Plan batches over all images without an embedding, or those `among` some.

    `publish` sends them to the workers at once; without it the caller works on them itself, and idle workers join when
    the sweeper finds batches waiting. Raises VersionRetired.
    """
    missing = MedicalImage.objects.without_embedding(version)
    if among is not None:
        missing = missing.filter(pk__in=[image.pk for image in among])
    return _planned(missing, version=version, publish=publish)


def _planned(images: MedicalImageQuerySet, *, version: ModelVersion, publish: bool) -> IndexJob:
    refuse_retired(version)
    pks = list(images.order_by("pk").values_list("pk", flat=True))
    job = IndexJob.objects.create(model_version=version, total=len(pks))
    batches = IndexBatch.objects.bulk_create(
        IndexBatch(index_job=job, first_image_id=chunk[0], last_image_id=chunk[-1], total=len(chunk))
        for chunk in _chunks(pks)
    )
    if publish:
        jobs.enqueue(*batches)
    return job


def _chunks(pks: list[int]) -> Iterator[list[int]]:
    """Cut ascending keys so that none spans more than BATCH_IMAGES: a batch embeds all that is missing in its span."""
    chunk: list[int] = []
    for pk in pks:
        if chunk and pk - chunk[0] >= BATCH_IMAGES:
            yield chunk
            chunk = []
        chunk.append(pk)
    if chunk:
        yield chunk


@transaction.atomic
def have_missing_embedded(version: ModelVersion) -> None:
    """Have workers embed what the version lacks, if it lacks any that no batch waits for. Raises VersionRetired.

    What was tried in vain is no reason for another job: it would be the same with every import. While a large archive
    is embedded, each import would plan the rest of it again.
    """
    missing = MedicalImage.objects.not_planned(version)
    if missing.untried(version).exists():
        _planned(missing.without_embedding(version), version=version, publish=True)


def index_missing(version: ModelVersion, *, progress: jobs.Progress = jobs.silent) -> IndexJob:
    """Embed what the version lacks, together with the workers: first what is planned already, then the rest.

    Returns the job of the rest, which has tried again what failed in those before. Raises VersionRetired.
    """
    planned = IndexBatch.objects.unfinished().filter(index_job__model_version=version).values("index_job")
    for job in list(IndexJob.objects.filter(pk__in=planned).order_by("pk")):
        work_on_index_job(job, progress=progress)
    rest = create_index_job(version=version, publish=False)
    work_on_index_job(rest, progress=progress)
    return rest


def index_batch(batch: IndexBatch) -> None:
    """Embed the images of a claimed batch that have no embedding yet."""
    version = batch.index_job.model_version
    todo = MedicalImage.objects.filter(pk__range=(batch.first_image_id, batch.last_image_id))
    images = list(todo.without_embedding(version).order_by("pk"))
    # Images may have been excluded since the batch was planned, or released.
    total = batch.total or 0
    already = max(0, total - len(images))
    for count in _embed_and_store(images, batch=batch, version=version):
        already += count
        jobs.beat(batch, done=min(already, total))
    jobs.finish(batch, done=total)


def _embed_and_store(images: list[MedicalImage], *, batch: IndexBatch, version: ModelVersion) -> Iterator[int]:
    """Yield how many images were dealt with after each forward pass."""
    if not images:
        return
    embedded = load_embedder(version.pk).embed_images(
        [Path(image.preview.path) for image in images], batch_size=FORWARD_IMAGES
    )
    waiting = iter(images)
    for vectors, refusals in embedded:
        chunk = [next(waiting) for _ in vectors]
        with transaction.atomic():
            # The claim is held while rows are stored: a version that is retired meanwhile gets none afterwards.
            jobs.beat(batch)
            there = _still_shown(chunk)
            Embedding.objects.bulk_create(
                (
                    Embedding(image=image, model_version=version, vector=vector)
                    for index, (image, vector) in enumerate(zip(chunk, vectors, strict=True))
                    if index not in refusals and image.pk in there
                ),
                ignore_conflicts=True,
            )
            IndexFailure.objects.bulk_create(
                (
                    IndexFailure(index_job=batch.index_job, image=chunk[index], reason=reason)
                    for index, reason in refusals.items()
                    if chunk[index].pk in there
                ),
                ignore_conflicts=True,
            )
        yield len(chunk)


def _still_shown(images: list[MedicalImage]) -> set[int]:
    """Primary keys of those that were not deleted or taken away meanwhile; so it is until the transaction ends."""
    rows = MedicalImage.objects.shown().select_for_update(no_key=True).filter(pk__in=[image.pk for image in images])
    return set(rows.order_by("pk").values_list("pk", flat=True))


def work_on_index_job(job: IndexJob, *, progress: jobs.Progress = jobs.silent) -> None:
    """Take batches until none is left, then wait for those that other workers have taken."""
    while (unfinished := job.batches.unfinished()).exists():
        waiting = unfinished.filter(status=JobStatus.QUEUED).first()
        batch = jobs.claim(IndexBatch, waiting.pk) if waiting else None
        if batch:
            with jobs.working_on(batch):
                index_batch(batch)
        elif not waiting:
            jobs.sweep()
            time.sleep(0.5)
        progress(job.batches.aggregate(done=Sum("done"))["done"] or 0, job.total)
