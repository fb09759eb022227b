"""The row behind every long job. Verbs that change it are in retrieval/services/jobs.py."""

from datetime import timedelta
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone


class JobStatus(models.TextChoices):
    QUEUED = "queued", "waiting"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)


class JobQuerySet(models.QuerySet):
    def unfinished(self) -> Self:
        return self.filter(status__in=UNFINISHED)

    def finished(self) -> Self:
        return self.exclude(status__in=UNFINISHED)

    def waiting(self, *, since: timedelta) -> Self:
        """Queued for longer than `since`: their message may have been lost."""
        return self.filter(status=JobStatus.QUEUED, queued_at__lt=timezone.now() - since)

    def stalled(self) -> Self:
        """Running, but their worker has not been heard of for a whole lease."""
        return self.filter(status=JobStatus.RUNNING, lease_expires_at__lt=timezone.now())


class Job(models.Model):
    """A job that outlives workers and queues: the row is the record, a message only carries its id.

        queued --claim--> running --finish--> done
          ^                  |  \\--fail-----> failed (with a reason)
          |                  |  \\--cancel---> cancelled (at once while it is queued)
          \\--lease expired---/   (at most `max_attempts` claims, then failed)

    `attempts` is also the fencing token: a worker that lost its lease can change nothing any more.
    """

    task_name: ClassVar[str]
    queue: ClassVar[str] = "jobs"
    # Renewed by a heartbeat, however long a step takes: what it costs when a worker is killed.
    lease: ClassVar[timedelta] = timedelta(seconds=15)
    max_attempts: ClassVar[int] = 3

    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.QUEUED, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    queued_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    heartbeat_at = models.DateTimeField(null=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    cancel_requested = models.BooleanField(default=False, editable=False)
    reason = models.TextField(blank=True, editable=False, help_text="Why it failed, in words for people.")
    done = models.PositiveIntegerField(default=0, editable=False)
    total = models.PositiveIntegerField(null=True, editable=False)

    objects = JobQuerySet.as_manager()

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=~Q(status=JobStatus.FAILED) | ~Q(reason=""), name="%(class)s_failed_has_reason"
            ),
            models.CheckConstraint(
                condition=~Q(status=JobStatus.RUNNING) | Q(lease_expires_at__isnull=False),
                name="%(class)s_running_has_lease",
            ),
        ]
        indexes = [
            models.Index(fields=["status"], condition=Q(status__in=("queued", "running")), name="%(class)s_unfinished")
        ]

    @property
    def age_seconds(self) -> float:
        """Since it was asked for."""
        return (timezone.now() - self.queued_at).total_seconds()

    @property
    def is_finished(self) -> bool:
        return self.status not in UNFINISHED
