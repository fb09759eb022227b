"""Import jobs and the files they refused."""

from typing import ClassVar

from django.db import models

from retrieval.models.archive import Dataset
from retrieval.models.jobs import Job


class ImportJob(Job):
    """Reads one folder or zip into one dataset. `done` counts the files looked at."""

    task_name: ClassVar[str] = "retrieval.tasks.import_dataset_task"

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="import_jobs")
    source_path = models.CharField(max_length=1000, help_text="A folder or zip file on the server.")
    upload = models.ForeignKey(
        "retrieval.Upload", null=True, blank=True, on_delete=models.SET_NULL, related_name="import_jobs"
    )
    accepted = models.PositiveIntegerField(default=0, editable=False)
    duplicates = models.PositiveIntegerField(default=0, editable=False)

    class Meta(Job.Meta):
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"import {self.pk}"


class Rejection(models.Model):
    """A file that an import refused, and why."""

    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="rejections")
    file = models.CharField(max_length=500)
    reason = models.TextField()

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["job", "file"], name="rejection_once_a_file")]

    def __str__(self) -> str:
        return f"rejection {self.pk}"
