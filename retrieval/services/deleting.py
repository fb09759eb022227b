"""Deleting a dataset: its rows, its embeddings, and every file that nothing else in the archive needs.

Rows go before files, a batch at a time, and the row of the deletion remembers the files of the batch: killed anywhere,
it goes on and leaves neither a row without a file nor a file without a row.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Sum

from retrieval.models import Dataset, DatasetDeletion, Embedding, Job, JobStatus, MedicalImage, StoredFile
from retrieval.models.uploads import ACTIVE
from retrieval.services import jobs
from retrieval.services.storing import remove_unneeded

# Rows of one transaction, and files that are known to be on their way out.
BATCH_IMAGES = 200
IN_USE = "{job} works with this dataset. Wait until it has ended, or cancel it, then delete the dataset."
SENDING = (
    "{user} is sending files into this dataset. Wait until they are imported, or until nothing has come for {minutes} "
    "minutes, then delete the dataset."
)
NOT_REMOVED = (
    "A file of the archive could not be removed. Check the disk and who may write to it, then delete the dataset again."
)


class DeletionRefused(Exception):
    """The dataset cannot be deleted now; the message says why, in words for people."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a dataset takes up. Originals that other datasets hold too are counted apart: they stay."""

    images: int
    embeddings: int
    originals: int
    original_bytes: int
    shared_originals: int

    @property
    def files(self) -> int:
        """Originals, and a preview and a thumbnail of each image."""
        return self.originals + 2 * self.images


def footprint(dataset: Dataset) -> Footprint:
    originals = StoredFile.objects.filter(Exists(dataset.images.filter(original=OuterRef("pk"))))
    elsewhere = MedicalImage.objects.filter(original=OuterRef("pk")).exclude(dataset=dataset)
    own = originals.filter(~Exists(elsewhere)).aggregate(count=Count("pk"), bytes=Sum("size"))
    return Footprint(
        images=dataset.images.count(),
        embeddings=Embedding.objects.filter(image__dataset=dataset).count(),
        originals=own["count"],
        original_bytes=own["bytes"] or 0,
        shared_originals=originals.count() - own["count"],
    )


@transaction.atomic
def request_deletion(*, dataset: Dataset, user: User) -> DatasetDeletion:
    """Queue the deletion, or return the one that is under way.

    Raises DeletionRefused while a job needs the dataset, or files are being sent into it.
    """
    # No import and no training run begins meanwhile: their rows refer to this one.
    locked = Dataset.objects.select_for_update().get(pk=dataset.pk)
    if locked.deletion:
        return locked.deletion
    working = _working_with(locked)
    if working:
        raise DeletionRefused(IN_USE.format(job=str(working).capitalize()))
    sending = locked.uploads.active().select_related("created_by").first()
    if sending:
        user_name = sending.created_by.get_username() if sending.created_by else "Somebody"
        raise DeletionRefused(SENDING.format(user=user_name, minutes=ACTIVE // timedelta(minutes=1)))
    # One that failed may have left files behind.
    failed = locked.deletions.all()
    leaving = [name for each in failed for name in each.leaving]
    failed.update(leaving=[])
    deletion = DatasetDeletion.objects.create(
        dataset=locked, name=locked.name, asked_by=user, leaving=leaving, total=locked.images.count()
    )
    jobs.enqueue(deletion)
    return deletion


def _working_with(dataset: Dataset) -> Job | None:
    """An unfinished job of any kind that refers to the dataset: an import, a training run."""
    for model in jobs.job_models():
        fields = [field.name for field in model._meta.get_fields() if field.concrete and field.related_model is Dataset]
        for name in fields:
            found = model.objects.unfinished().filter(**{name: dataset}).first()
            if found:
                return found
    return None


def delete_dataset(deletion: DatasetDeletion, *, progress: jobs.Progress = jobs.silent) -> None:
    """Do the claimed deletion, from wherever an attempt before this one has come to."""
    dataset = Dataset.objects.get(deletions=deletion)
    try:
        remove_unneeded(deletion.leaving)
        while images := list(dataset.images.order_by("pk")[:BATCH_IMAGES]):
            _delete_rows(images, deletion=deletion)
            progress(deletion.done, deletion.total)
            remove_unneeded(deletion.leaving)
    except OSError as error:
        raise jobs.JobFailed(NOT_REMOVED) from error
    with transaction.atomic():
        dataset.delete()
        jobs.finish(deletion, leaving=[])


@transaction.atomic
def _delete_rows(images: list[MedicalImage], *, deletion: DatasetDeletion) -> None:
    """Delete the images with all that hangs on them, and note which files are left over by that."""
    names = [file.name for image in images for file in (image.preview, image.thumbnail)]
    # Held until the end: an import that finds the same content gets it either whole or not at all.
    originals = StoredFile.objects.filter(pk__in={image.original_id for image in images})
    list(originals.select_for_update().order_by("pk"))
    # What workers are storing of them at this moment is waited for, and goes along.
    rows = MedicalImage.objects.filter(pk__in=[image.pk for image in images])
    list(rows.select_for_update().order_by("pk").values_list("pk"))
    rows.delete()
    unused: QuerySet = originals.filter(~Exists(MedicalImage.objects.filter(original=OuterRef("pk"))))
    names += unused.values_list("file", flat=True)
    unused.delete()
    jobs.beat(deletion, done=deletion.done + len(images), leaving=names)


def last_failure(dataset: Dataset) -> DatasetDeletion | None:
    """The last deletion, where it failed."""
    last = dataset.deletions.first()
    return last if last and last.status == JobStatus.FAILED else None
