"""Index jobs: embeddings for all images that lack one, in batches that any number of workers share."""

from typing import ClassVar

from django.db import models
from django.db.models import Sum
from django.utils import timezone
from django.utils.functional import cached_property

from retrieval.models.jobs import Job, JobStatus
from retrieval.models.versions import ModelVersion


class IndexJob(models.Model):
    """One sweep over the archive for one model version. Its progress is that of its batches."""

    model_version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="index_jobs")
    created_at = models.DateTimeField(auto_now_add=True)
    total = models.PositiveIntegerField(default=0, help_text="Images without an embedding when it began.")

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"index job {self.pk}"

    @cached_property
    def progress(self) -> dict[str, object]:
        """done, failed and total images, the status (the least finished of its batches') and seconds_left or None."""
        statuses = set(self.batches.values_list("status", flat=True))
        order = (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.FAILED)
        done = self.batches.aggregate(done=Sum("done"))["done"] or 0
        is_running = JobStatus.RUNNING in statuses and done
        elapsed = (timezone.now() - self.created_at).total_seconds()
        return {
            "done": done,
            "failed": self.failures.count(),
            "total": self.total,
            "status": next((status for status in order if status in statuses), JobStatus.DONE),
            "seconds_left": elapsed / done * (self.total - done) if is_running else None,
        }


class IndexBatch(Job):
    """The images with primary keys first..last: embedded together, claimed by one worker at a time."""

    task_name: ClassVar[str] = "retrieval.tasks.index_batch_task"

    index_job = models.ForeignKey(IndexJob, on_delete=models.CASCADE, related_name="batches")
    first_image_id = models.BigIntegerField()
    last_image_id = models.BigIntegerField()

    class Meta(Job.Meta):
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"index batch {self.pk}"


class IndexFailure(models.Model):
    """An image that this job could not embed. The next index job tries it again."""

    index_job = models.ForeignKey(IndexJob, on_delete=models.CASCADE, related_name="failures")
    image = models.ForeignKey("retrieval.MedicalImage", on_delete=models.CASCADE, related_name="index_failures")
    reason = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["index_job", "image"], name="indexfailure_once_an_image")]

    def __str__(self) -> str:
        return f"index failure {self.pk}"
