"""Import jobs, and what became of each of their files."""

from pathlib import PurePath
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from retrieval.models.archive import Dataset, MedicalImage
from retrieval.models.jobs import Job, JobStatus


class ImportJob(Job):
    """Reads one folder or zip into one dataset. `done` counts the files whose fate is settled."""

    task_name: ClassVar[str] = "retrieval.tasks.import_dataset_task"

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="import_jobs")
    source_path = models.CharField(max_length=1000, help_text="A folder or zip file on the server.")
    upload = models.ForeignKey(
        "retrieval.Upload", null=True, blank=True, on_delete=models.SET_NULL, related_name="import_jobs"
    )
    source_name = models.CharField(
        max_length=1000, blank=True, help_text="What a browser called it, where the path on the server would not tell."
    )
    accepted = models.PositiveIntegerField(default=0, editable=False)
    duplicates = models.PositiveIntegerField(default=0, editable=False)
    source_notes = models.JSONField(
        default=list, editable=False, help_text="What people should know of its manifest, in sentences."
    )
    embedding_due = models.BooleanField(
        default=False, editable=False, help_text="What it stores has to be embedded, however it ends."
    )

    class Meta(Job.Meta):
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"import {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("import_detail", args=[self.pk])

    @property
    def named(self) -> str:
        """The folder or archive, as people know it: never where it lies on the server."""
        return self.source_name or PurePath(self.source_path).name

    @property
    def notes(self) -> list[str]:
        """What people should know of the source, in sentences."""
        of_upload = [self.upload.note] if self.upload and self.upload.note else []
        return of_upload + self.source_notes

    @property
    def refused(self) -> int:
        return self.done - self.accepted - self.duplicates

    @property
    def seconds(self) -> float | None:
        """From the beginning of the last attempt to its end, or to now."""
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds() if self.started_at else None

    @property
    def files_a_second(self) -> float | None:
        return self.done / self.seconds if self.done and self.seconds else None

    @property
    def seconds_left(self) -> float | None:
        """None unless it runs and a file has been settled: nothing can be said before."""
        if self.status != JobStatus.RUNNING or not self.total or not self.files_a_second:
            return None
        return (self.total - self.done) / self.files_a_second


class ImportedFile(models.Model):
    """One file of an import, and what became of it.

    What operating systems leave behind is skipped, and part of no count of the job.
    """

    class Status(models.TextChoices):
        STORED = "stored", "stored"
        DUPLICATE = "duplicate", "duplicate"
        REFUSED = "refused", "refused"
        SKIPPED = "skipped", "skipped"

    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=500, help_text="Its path in the folder or archive.")
    status = models.CharField(max_length=10, choices=Status.choices)
    reason = models.TextField(blank=True, help_text="Why it was refused, in words for people.")
    # The first frame of what was stored, or of what is the same file. It may be deleted later.
    image = models.ForeignKey(
        MedicalImage, null=True, blank=True, on_delete=models.SET_NULL, related_name="imported_files"
    )

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["job", "name"], name="importedfile_once_a_job"),
            models.CheckConstraint(
                condition=Q(status="refused", image=None) & ~Q(reason="") | ~Q(status="refused") & Q(reason=""),
                name="importedfile_reason_if_refused",
            ),
        ]
        indexes = [models.Index(fields=["job", "status", "id"], name="importedfile_of_a_status")]

    def __str__(self) -> str:
        return f"file {self.pk} of import {self.job_id}"
