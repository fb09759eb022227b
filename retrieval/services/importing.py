"""Importing a folder or zip: every file ends as images, as a duplicate, or as a rejection with its reason.

An import may stop anywhere and run again: names of files are derived from content, rows have unique keys, and a file
whose images are all there is skipped as a duplicate.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.db import transaction

from retrieval.imaging import ArchiveLimits, Decoder, FileRefused, Member, Rendering, Source, in_order, open_source
from retrieval.models import Dataset, ImportJob, MedicalImage, ModelVersion, Rejection, StoredFile
from retrieval.services import jobs, naming
from retrieval.services.indexing import create_index_job
from retrieval.services.modalities import modality_name
from retrieval.storage import work_folder

DISK_FULL = 28
LOW_DISK = "The disk is full. What was imported so far is kept: free some space and start the import again."
_CHUNK = 2**20


@dataclass
class _Fetched:
    """A member on its way: its bytes, unless it was refused; closing `hold` lets go of them."""

    member: Member
    hold: ExitStack
    dataset_pk: int
    path: Path | None = None
    sha256: str = ""
    known: bool = False
    refusal: str = ""


@dataclass
class _Stored:
    """What became of a member: rows to be added, or why there are none."""

    fetched: _Fetched
    size: int = 0
    images: list[MedicalImage] = field(default_factory=list)


def create_import_job(*, dataset: Dataset, source: Path) -> ImportJob:
    """Add the job and queue it."""
    with transaction.atomic():
        job = ImportJob.objects.create(dataset=dataset, source_path=str(source.resolve()))
        jobs.enqueue(job)
    return job


def import_dataset(job: ImportJob, *, index_afterwards: bool, progress: jobs.Progress = jobs.silent) -> None:
    """Read the claimed job's source into its dataset. Raises JobFailed when the source as a whole cannot be read."""
    try:
        with open_source(Path(job.source_path), limits=ArchiveLimits()) as source, work_folder() as folder:
            _import_members(job, source=source, folder=folder, progress=progress)
    except FileRefused as refused:
        raise jobs.JobFailed(refused.reason) from refused
    except OSError as error:
        if error.errno != DISK_FULL:
            raise
        raise jobs.JobFailed(LOW_DISK) from error
    version = ModelVersion.objects.active()
    if index_afterwards and version:
        create_index_job(version=version, publish=True)
    jobs.finish(job)


def _import_members(job: ImportJob, *, source: Source, folder: Path, progress: jobs.Progress) -> None:
    """Count anew from 0: an attempt before this one may have counted files that it did not finish."""
    counts = {"done": 0, "accepted": 0, "duplicates": 0, "rejected": 0}
    seen: set[str] = set()
    jobs.beat(job, total=len(source.members), done=0)
    fetched = _fetch(source, dataset=job.dataset, folder=folder)
    for stored in in_order(_decode_and_store, fetched, workers=os.cpu_count() or 1):
        with stored.fetched.hold:
            counts[_add_rows(stored, job=job, seen=seen)] += 1
        counts["done"] += 1
        jobs.beat(job, done=counts["done"], accepted=counts["accepted"], duplicates=counts["duplicates"])
        progress(counts["done"], len(source.members))


def _fetch(source: Source, *, dataset: Dataset, folder: Path) -> Iterator[_Fetched]:
    """Bytes and hash of each member; whether the dataset has it already."""
    for member in source.members:
        fetched = _Fetched(member=member, hold=ExitStack(), dataset_pk=dataset.pk)
        try:
            fetched.path = fetched.hold.enter_context(member.fetch(folder))
            fetched.sha256 = _sha256(fetched.path)
            fetched.known = dataset.images.filter(original__sha256=fetched.sha256).exists()
        except FileRefused as refused:
            fetched.refusal = refused.reason
        yield fetched


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _decode_and_store(decoder: Decoder, fetched: _Fetched) -> _Stored:
    """In a thread: decode and write the files. No database here, connections belong to threads."""
    stored = _Stored(fetched=fetched)
    if fetched.path is None or fetched.known:
        return stored
    try:
        for rendering in decoder.render(fetched.path):
            stored.images.append(_store_frame(rendering, fetched=fetched))
    except FileRefused as refused:
        fetched.refusal = refused.reason
        _forget_files(stored)
        return stored
    stored.size = fetched.path.stat().st_size
    with fetched.path.open("rb") as original:
        default_storage.save(naming.original_name(fetched.sha256), File(original))
    return stored


def _store_frame(rendering: Rendering, *, fetched: _Fetched) -> MedicalImage:
    """Write preview and thumbnail of a frame, and describe it in a row that is not saved yet."""
    frame_number = rendering.frame_number or 1
    uuid = naming.image_uuid(dataset_pk=fetched.dataset_pk, sha256=fetched.sha256, frame_number=frame_number)
    told = fetched.member.described
    known: dict[str, Any] = dict(rendering.attributes)
    return MedicalImage(
        uuid=uuid,
        dataset_id=fetched.dataset_pk,
        frame_number=frame_number,
        frame_count=rendering.frame_count,
        preview=default_storage.save(naming.preview_name(uuid), ContentFile(rendering.preview)),
        thumbnail=default_storage.save(naming.thumbnail_name(uuid), ContentFile(rendering.thumbnail)),
        width=rendering.width,
        height=rendering.height,
        pixel_sha256=rendering.pixel_sha256,
        label=told.label[:100],
        modality=modality_name(told.modality or str(known.get("modality", "")))[:32],
        body_part_examined=(told.body_part or str(known.get("body_part_examined", "")))[:64],
        view_position=known.get("view_position", ""),
        laterality=known.get("laterality", ""),
        photometric_interpretation=known.get("photometric_interpretation", ""),
        study_instance_uid=known.get("study_instance_uid", ""),
        series_instance_uid=known.get("series_instance_uid", ""),
        sop_instance_uid=known.get("sop_instance_uid", ""),
        instance_number=known.get("instance_number"),
        patient_key=naming.patient_key(told.patient_group or str(known.get("patient_id", ""))),
    )


def _forget_files(stored: _Stored) -> None:
    """A file that is refused midway leaves nothing behind."""
    for image in stored.images:
        image.preview.delete(save=False)
        image.thumbnail.delete(save=False)
    stored.images.clear()


def _add_rows(stored: _Stored, *, job: ImportJob, seen: set[str]) -> str:
    """Make the member's fate last, and return it: "accepted", "duplicates" or "rejected"."""
    fetched = stored.fetched
    if fetched.refusal:
        Rejection.objects.get_or_create(job=job, file=fetched.member.name[:500], defaults={"reason": fetched.refusal})
        return "rejected"
    is_first = fetched.sha256 not in seen
    seen.add(fetched.sha256)
    if stored.images and is_first:
        _add_images(stored, job=job)
        return "accepted"
    # Stored by an attempt of this very job that was interrupted: accepted, as it would have been then.
    by_this_job = job.images.filter(original__sha256=fetched.sha256).exists()
    return "accepted" if is_first and by_this_job else "duplicates"


@transaction.atomic
def _add_images(stored: _Stored, *, job: ImportJob) -> None:
    """All frames of a file or none, so that a file is either in the dataset or not."""
    sha256 = stored.fetched.sha256
    original, _ = StoredFile.objects.get_or_create(
        sha256=sha256, defaults={"file": naming.original_name(sha256), "size": stored.size}
    )
    for image in stored.images:
        image.original, image.import_job = original, job
    MedicalImage.objects.bulk_create(stored.images, ignore_conflicts=True)
