"""The verbs of every job row: queue, claim, beat, finish, fail, sweep (see retrieval/models/jobs.py).

Each change is one compare-and-set UPDATE. A worker that was declared dead and lives on finds that its claim is gone
(`ClaimLost`) and stops; whoever claimed the job after it goes on from what is in the database.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from celery import current_app
from django.apps import apps
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from kombu.exceptions import OperationalError

from retrieval.models import Job, JobStatus

logger = logging.getLogger(__name__)
JobT = TypeVar("JobT", bound=Job)

# A message is taken for lost when the row still waits this long and the queue is empty.
LOST_AFTER = timedelta(seconds=5)
INTERRUPTED = (
    "The worker was interrupted {attempts} times while working on this. Look at the worker's log, then try again."
)


class ClaimLost(Exception):
    """Another worker owns the job now, or it was deleted."""


class JobFailed(Exception):
    """Ends a job as failed; the message is the reason, in words for people."""


def enqueue(job: Job) -> None:
    """Send the job's id to its queue once the row is committed."""
    transaction.on_commit(lambda: _publish(job))


def _publish(job: Job) -> None:
    """The row is the record: when the broker is away the sweeper sends the message later."""
    try:
        current_app.send_task(job.task_name, args=[job.pk], queue=job.queue)
    except (OperationalError, OSError) as error:
        logger.warning("queue not reachable, %s %s waits for the sweeper: %s", job._meta.model_name, job.pk, error)


def claim(model: type[JobT], pk: int) -> JobT | None:
    """Take a queued job. One UPDATE decides who owns it; everybody else gets None."""
    now = timezone.now()
    taken = model.objects.filter(pk=pk, status=JobStatus.QUEUED, attempts__lt=model.max_attempts).update(
        status=JobStatus.RUNNING,
        attempts=F("attempts") + 1,
        started_at=now,
        heartbeat_at=now,
        lease_expires_at=now + model.lease,
    )
    return model.objects.get(pk=pk) if taken else None


def beat(job: Job, **progress: object) -> None:
    """Say that the work goes on, and how far it has come. Raises ClaimLost."""
    now = timezone.now()
    _update_own(job, heartbeat_at=now, lease_expires_at=now + job.lease, **progress)


def finish(job: Job, **results: object) -> None:
    _update_own(job, status=JobStatus.DONE, finished_at=timezone.now(), **results)


def fail(job: Job, reason: str) -> None:
    _update_own(job, status=JobStatus.FAILED, finished_at=timezone.now(), reason=reason)


def put_back(job: Job) -> None:
    """Give a claim back unused: what the job needs is missing for now. The sweeper sends it again."""
    _update_own(
        job, status=JobStatus.QUEUED, queued_at=timezone.now(), lease_expires_at=None, attempts=job.attempts - 1
    )


def _update_own(job: Job, **values: object) -> None:
    own = type(job).objects.filter(pk=job.pk, status=JobStatus.RUNNING, attempts=job.attempts)
    if not own.update(**values):
        raise ClaimLost(f"{job._meta.model_name} {job.pk}")
    for name, value in values.items():
        setattr(job, name, value)


@contextmanager
def failures_recorded(job: Job) -> Iterator[None]:
    """Turn JobFailed into the row's reason; a lost claim ends quietly, since its new owner reports.

    Anything else is a defect or a server that went away: the lease runs out and the sweeper tries again.
    """
    try:
        yield
    except ClaimLost:
        logger.info("%s %s: claim lost, stopping", job._meta.model_name, job.pk)
    except JobFailed as error:
        fail(job, str(error))


def job_models() -> list[type[Job]]:
    return [model for model in apps.get_models() if issubclass(model, Job)]


def sweep() -> int:
    """Queue again what has stalled or lost its message; give up on what was tried too often. Safe at any time."""
    return sum(_sweep_stalled(model) + _sweep_waiting(model) for model in job_models())


def _sweep_stalled(model: type[Job]) -> int:
    now = timezone.now()
    stalled = model.objects.stalled()
    stalled.filter(attempts__gte=model.max_attempts).update(
        status=JobStatus.FAILED, finished_at=now, reason=INTERRUPTED.format(attempts=model.max_attempts)
    )
    pks = list(stalled.values_list("pk", flat=True))
    # The same condition again: a heartbeat may have come in between.
    return (
        model.objects.stalled()
        .filter(pk__in=pks)
        .update(status=JobStatus.QUEUED, queued_at=now - LOST_AFTER, lease_expires_at=None)
    )


def _sweep_waiting(model: type[Job]) -> int:
    lost = model.objects.waiting(since=LOST_AFTER)
    if not lost.exists() or _queue_length(model.queue):
        return 0
    jobs = list(lost)
    for job in jobs:
        _publish(job)
    return len(jobs)


def _queue_length(queue: str) -> int:
    """Messages that no worker has taken yet. While there are any, a waiting row is only waiting its turn."""
    try:
        with current_app.connection_or_acquire() as connection:
            return connection.default_channel.queue_declare(queue=queue, passive=False).message_count
    except (OperationalError, OSError):
        return 1


Progress = Callable[[int, int | None], None]


def silent(done: int, total: int | None) -> None:
    """The progress function of who does not watch."""
