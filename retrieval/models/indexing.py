"""Index jobs: embeddings for all images that lack one, in batches that any number of workers share."""

from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Case, Count, Exists, OuterRef, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.functional import cached_property

from retrieval.models.jobs import Job, JobStatus
from retrieval.models.versions import ModelVersion


class IndexJobQuerySet(models.QuerySet["IndexJob"]):
    def with_progress(self) -> Self:
        """What `progress` is made of, read with the jobs themselves."""
        batches = IndexBatch.objects.filter(index_job=OuterRef("pk"))
        failures = IndexFailure.objects.filter(index_job=OuterRef("pk"))
        least_finished = (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.FAILED)
        return self.annotate(
            status=Case(
                *(When(Exists(batches.filter(status=status)), then=Value(status)) for status in least_finished),
                default=Value(JobStatus.DONE),
            ),
            done=_of_each_job(batches, Sum("done")),
            failed=_of_each_job(failures, Count("*")),
        )


def _of_each_job(rows: QuerySet[Any], figure: Sum | Count) -> Coalesce:
    """Counted apart, since joins would multiply the rows of one relation by those of the other."""
    figures = rows.order_by().values("index_job").annotate(figure=figure)
    return Coalesce(Subquery(figures.values("figure")), 0)


class IndexJob(models.Model):
    """One sweep over the archive for one model version. Its progress is that of its batches."""

    model_version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="index_jobs")
    created_at = models.DateTimeField(auto_now_add=True)
    total = models.PositiveIntegerField(default=0, help_text="Images without an embedding when it began.")

    objects = IndexJobQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"index job {self.pk}"

    @cached_property
    def progress(self) -> dict[str, object]:
        """done, failed and total images, the status (the least finished of its batches') and seconds_left or None."""
        counted: Any = self if hasattr(self, "failed") else IndexJob.objects.with_progress().get(pk=self.pk)
        done, is_running = counted.done, counted.status == JobStatus.RUNNING and counted.done
        elapsed = (timezone.now() - self.created_at).total_seconds()
        return {
            "done": done,
            "failed": counted.failed,
            "total": self.total,
            "status": counted.status,
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
