"""Importing a folder or zip: every file ends as images, as a duplicate, or refused with a reason.

An import may stop anywhere and run again: names of files are derived from content, rows have unique keys, and a file
whose images are all there is not read a second time. Rows and counts of a few files become visible in one transaction,
which also checks that the job is still this worker's.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from django.db import transaction
from django.db.models import QuerySet

from retrieval.imaging import ArchiveLimits, FileRefused, ManifestRefused, Member, Source, in_order, open_source
from retrieval.models import Dataset, ImportedFile, ImportJob, MedicalImage, ModelVersion, StoredFile, Upload
from retrieval.services import jobs
from retrieval.services.indexing import have_missing_embedded
from retrieval.services.storing import Incoming, decode_and_store, hold_written, keep_originals, remove_unneeded
from retrieval.storage import NO_SPACE, work_folder

LOW_DISK = "The disk is full. What was imported so far is kept: free some space and start the import again."
SOURCE_GONE = (
    "The folder or archive went away during the import. What was imported so far is kept: start the import again."
)
UNREADABLE = "The file cannot be read where it lies. Check the disk or network drive that it is on."
BEING_DELETED = "The dataset is being deleted. Import into another one, or wait until it is gone."
RETRY_WITHOUT_SOURCE = (
    "The folder or archive that this import read is no longer on the server. Upload it again: what is stored already "
    "is recognised and not stored twice."
)
CORRECT_AND_UPLOAD = "Nothing was imported: correct it, and upload the files again together with it."
CORRECT_THERE = "Nothing was imported: correct it where it lies, and import again."
REVIEW_ALL = "Every image of this dataset is looked at before it is shown."
HIDDEN_ELSEWHERE = "The same file is in another dataset, where it waits to be looked at or was taken out."
Status = ImportedFile.Status
# A decoder takes most of 100 MB: the memory of an import must not grow with the machine.
DECODERS = min(4, len(os.sched_getaffinity(0)))
# Files of one transaction at most; one that is ready after so long is its last.
GROUP_FILES = 32
GROUP_SECONDS = 0.5


class SourceGone(Exception):
    """The message is for people."""


def create_import_job(
    *, dataset: Dataset, source: Path, upload: Upload | None = None, source_name: str = ""
) -> ImportJob:
    """Add the job and queue it."""
    with transaction.atomic():
        job = ImportJob.objects.create(
            dataset=dataset, source_path=str(source.resolve()), upload=upload, source_name=source_name
        )
        jobs.enqueue(job)
    return job


@transaction.atomic
def retry_import(job: ImportJob) -> ImportJob:
    """Read the same source once more, as a job of its own: what is stored already is found to be a duplicate.

    Returns the job that is at it already, where there is one. Raises SourceGone.
    """
    if not has_source(job):
        raise SourceGone(RETRY_WITHOUT_SOURCE)
    # One after the other: two clicks are one import.
    dataset = Dataset.objects.select_for_update().get(pk=job.dataset_id)
    at_it = dataset.import_jobs.unfinished().filter(source_path=job.source_path).first()
    return at_it or create_import_job(
        dataset=dataset, source=Path(job.source_path), upload=job.upload, source_name=job.source_name
    )


def has_source(job: ImportJob) -> bool:
    return Path(job.source_path).exists()


def import_dataset(job: ImportJob, *, index_afterwards: bool, progress: jobs.Progress = jobs.silent) -> None:
    """Read the claimed job's source into its dataset.

    `index_afterwards` has embedded what it stored, also where it comes to no good end. Raises JobFailed when the source
    as a whole cannot be read, or the disk is full: nothing half-stored is left then.
    """
    if job.dataset.deletion:
        raise jobs.JobFailed(BEING_DELETED)
    jobs.beat(job, embedding_due=index_afterwards)
    try:
        with open_source(Path(job.source_path), limits=ArchiveLimits()) as source, work_folder() as folder:
            _Import(job, source=source, folder=folder).run(progress=progress)
    except ManifestRefused as refused:
        raise jobs.JobFailed(f"{refused.reason} {CORRECT_AND_UPLOAD if job.upload else CORRECT_THERE}") from refused
    except FileRefused as refused:
        raise jobs.JobFailed(refused.reason) from refused
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise jobs.JobFailed(LOW_DISK) from error
    with transaction.atomic():
        jobs.finish(job, embedding_due=False)
        if index_afterwards:
            _have_embedded()


@transaction.atomic
def embed_what_ended_imports_stored() -> None:
    """For imports that were cancelled, failed or were given up: whoever ends a job need not know that it imports."""
    ended = ImportJob.objects.finished().filter(embedding_due=True).select_for_update(skip_locked=True)
    if ImportJob.objects.filter(pk__in=[job.pk for job in ended]).update(embedding_due=False):
        _have_embedded()


def _have_embedded() -> None:
    """Where no version is active, the one that is next put into service has embedded what it lacks."""
    version = ModelVersion.objects.active()
    if version:
        have_missing_embedded(version)


class _Import:
    """One attempt. It counts anew from 0: an attempt before it may have refused files that are mended now."""

    def __init__(self, job: ImportJob, *, source: Source, folder: Path) -> None:
        self.job, self.source, self.folder = job, source, folder
        self.counts = Counter[Status]()
        # Contents met so far, and those of them that were refused: the same content is decoded once.
        self.met: set[str] = set()
        self.refused: dict[str, str] = {}
        self.unsettled: list[Incoming] = []

    def run(self, *, progress: jobs.Progress) -> None:
        total, done = len(self.source.members), 0
        with transaction.atomic():
            notes = self.source.manifest.notes
            jobs.beat(self.job, total=total, done=0, accepted=0, duplicates=0, source_notes=notes)
            self.job.files.all().delete()
            ImportedFile.objects.bulk_create(
                ImportedFile(job=self.job, name=name, status=Status.SKIPPED) for name in self.source.skipped
            )
        try:
            with closing(in_order(decode_and_store, self._incoming(), workers=DECODERS)) as files:
                for group in _groups(files):
                    done += len(group)
                    self._settle(group, done=done)
                    progress(done, total)
        except (OSError, jobs.JobFailed, jobs.JobCancelled):
            self._forget_unsettled()
            raise

    def _incoming(self) -> Iterator[Incoming]:
        for member in self.source.members:
            file = Incoming(member=member, dataset_pk=self.job.dataset_id)
            self.unsettled.append(file)
            file.refusal = self._fetch(member, into=file)
            yield file

    def _fetch(self, member: Member, *, into: Incoming) -> str:
        """Its bytes and hash, and whether they must be decoded; returns why it cannot be had, or ""."""
        try:
            into.path = into.hold.enter_context(member.fetch(self.folder))
            into.sha256 = _sha256(into.path)
        except FileRefused as refused:
            self._check_source()
            return refused.reason
        except OSError as error:
            if error.errno in NO_SPACE:
                raise
            self._check_source()
            return UNREADABLE
        into.repeats = into.sha256 in self.met
        self.met.add(into.sha256)
        into.is_new = not into.repeats and not self._images(into.sha256).exists()
        return ""

    def _check_source(self) -> None:
        if not Path(self.job.source_path).exists():
            raise jobs.JobFailed(SOURCE_GONE)

    def _images(self, sha256: str) -> QuerySet[MedicalImage]:
        return self.job.dataset.images.filter(original__sha256=sha256)

    def _settle(self, group: list[Incoming], *, done: int) -> None:
        """Make the fate of these files last: rows, counts and the sign of life stand or fall together."""
        with ExitStack() as held, transaction.atomic():
            # Before any row: one that is there already of another worker would be named in the log, file name and all.
            jobs.beat(self.job)
            for file in group:
                held.enter_context(file.hold)
            hold_written([file for file in group if file.images and not file.refusal])
            for file in group:
                file.refusal = file.refusal or self.refused.get(file.sha256, "")
                if file.refusal:
                    self.refused[file.sha256] = file.refusal
            rows = self._add_rows(group)
            ImportedFile.objects.bulk_create(rows)
            self.counts.update(Status(row.status) for row in rows)
            jobs.beat(
                self.job, done=done, accepted=self.counts[Status.STORED], duplicates=self.counts[Status.DUPLICATE]
            )
        for file in group:
            self.unsettled.remove(file)
        remove_unneeded([name for file in group if file.refusal for name in file.written])
        jobs.stop_if_cancelled(self.job)

    def _add_rows(self, group: list[Incoming]) -> list[ImportedFile]:
        """Add the files' images, and return the rows, not saved yet, that tell what became of each file."""
        self._add_images([file for file in group if file.images and not file.refusal])
        first_images = self._first_images({file.sha256 for file in group if not file.refusal})
        rows = []
        for file in group:
            row = ImportedFile(job=self.job, name=file.member.name, status=Status.DUPLICATE)
            if file.refusal:
                row.status, row.reason = Status.REFUSED, file.refusal
            elif image := first_images.get(file.sha256):
                row.image = image
                # Also of an attempt of this very job that was interrupted: stored, as it would have been then.
                if image.import_job_id == self.job.pk and not file.repeats:
                    row.status = Status.STORED
            rows.append(row)
        return rows

    def _first_images(self, contents: set[str]) -> dict[str, MedicalImage]:
        """By content: the first frame that the dataset has of it."""
        images = self.job.dataset.images.filter(original__sha256__in=contents).select_related("original")
        return {
            image.original.sha256: image
            for image in images.order_by("original_id", "frame_number").distinct("original_id")
        }

    def _add_images(self, files: list[Incoming]) -> None:
        """All frames of a file or none, so that a file is either in the dataset or not."""
        originals = keep_originals(files)
        reasons = self._reasons_to_hold(originals.values())
        for file in files:
            original = originals[file.sha256]
            for image in file.images:
                image.original, image.import_job = original, self.job
                if image.is_shown and original.pk in reasons:
                    image.standing, image.held_reason = MedicalImage.Standing.HELD, reasons[original.pk]
        MedicalImage.objects.bulk_create((image for file in files for image in file.images), ignore_conflicts=True)

    def _reasons_to_hold(self, originals: Collection[StoredFile]) -> dict[int, str]:
        """By row: what is known apart from the file, the choice for the dataset or what people decided elsewhere."""
        if self.job.dataset.review_all:
            return dict.fromkeys((original.pk for original in originals), REVIEW_ALL)
        hidden = MedicalImage.objects.filter(original__in=originals).exclude(standing=MedicalImage.Standing.SHOWN)
        return dict.fromkeys(hidden.values_list("original", flat=True), HIDDEN_ELSEWHERE)

    def _forget_unsettled(self) -> None:
        """The import ends early: files that were written ahead of their rows go. Raises ClaimLost.

        Not when the claim is lost: whoever has it now may count on these files.
        """
        jobs.beat(self.job)
        for file in self.unsettled:
            remove_unneeded(file.written)


def _groups(files: Iterable[Incoming]) -> Iterator[list[Incoming]]:
    """Those that come within a moment: to the database, many files are little more work than one."""
    group: list[Incoming] = []
    began = time.monotonic()
    for file in files:
        group.append(file)
        if len(group) == GROUP_FILES or time.monotonic() - began > GROUP_SECONDS:
            yield group
            group, began = [], time.monotonic()
    if group:
        yield group


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
