"""The verbs of every job row: queue, claim, beat, finish, fail, cancel, sweep (see retrieval/models/jobs.py).

Each change is one compare-and-set UPDATE. A worker that was declared dead and lives on finds that its claim is gone
(`ClaimLost`) and stops; whoever claimed the job after it goes on from what is in the database.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from celery import current_app
from django.apps import apps
from django.db import Error, connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError
from redis import RedisError

from retrieval.models import Job, JobStatus

logger = logging.getLogger(__name__)
JobT = TypeVar("JobT", bound=Job)
# Kombu turns what goes wrong into its own error while it connects and publishes, and nowhere else.
BROKER_AWAY = (OperationalError, RedisError, OSError)

# A message is taken for lost when the row still waits this long and the queue is empty.
LOST_AFTER = timedelta(seconds=5)
BEATS_A_LEASE = 3
# A heartbeat that hangs on a server that went away must not keep a worker from its next job.
HEARTBEAT_STOP_SECONDS = 5
INTERRUPTED = (
    "The worker was interrupted {attempts} times while working on this. Look at the worker's log, then try again."
)


class ClaimLost(Exception):
    """Another worker owns the job now, or it was deleted."""


class JobCancelled(Exception):
    """Somebody asked that the job be given up."""


class JobFailed(Exception):
    """Ends a job as failed; the message is the reason, in words for people."""


def enqueue(*jobs: Job) -> None:
    """Send the jobs' ids to their queues once the rows are committed.

    The row is the record: when the broker is away the sweeper sends the messages later, and nobody waits for more
    than the first of them.
    """
    transaction.on_commit(lambda: all(map(_publish, jobs)))


def _publish(job: Job) -> bool:
    try:
        current_app.send_task(job.task_name, args=[job.pk], queue=job.queue)
    except BROKER_AWAY as error:
        logger.warning("queue not reachable, %s %s waits for the sweeper: %s", job._meta.model_name, job.pk, error)
        return False
    return True


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


def stop_if_cancelled(job: Job) -> None:
    """Raise JobCancelled where somebody asked for it."""
    if type(job).objects.filter(pk=job.pk, cancel_requested=True).exists():
        raise JobCancelled


def cancel(job: Job) -> bool:
    """Give a waiting job up at once, a running one as soon as its worker looks; a finished one stays as it is.

    Returns whether it was given up at once.
    """
    rows = type(job).objects.filter(pk=job.pk)
    if rows.filter(status=JobStatus.QUEUED).update(status=JobStatus.CANCELLED, finished_at=timezone.now()):
        return True
    rows.filter(status=JobStatus.RUNNING).update(cancel_requested=True)
    return False


def finish(job: Job, **results: object) -> None:
    _update_own(job, status=JobStatus.DONE, finished_at=timezone.now(), **results)


def done_since(began: datetime) -> dict[str, Any]:
    """Values of the row of a job that nobody had to queue: it is made when its work is done."""
    return {"status": JobStatus.DONE, "queued_at": began, "started_at": began, "finished_at": timezone.now()}


def fail(job: Job, reason: str, **results: object) -> None:
    _update_own(job, status=JobStatus.FAILED, finished_at=timezone.now(), reason=reason, **results)


def put_back(job: Job) -> None:
    """Give a claim back unused: what the job needs is missing for now. The sweeper sends it again."""
    _update_own(
        job, status=JobStatus.QUEUED, queued_at=timezone.now(), lease_expires_at=None, attempts=job.attempts - 1
    )


def _update_own(job: Job, **values: object) -> None:
    if not _own(job).update(**values):
        raise ClaimLost(f"{job._meta.model_name} {job.pk}")
    for name, value in values.items():
        setattr(job, name, value)


def _own(job: Job) -> QuerySet:
    """The job's row for as long as the claim holds, no row afterwards."""
    return type(job).objects.filter(pk=job.pk, status=JobStatus.RUNNING, attempts=job.attempts)


@contextmanager
def working_on(job: Job) -> Iterator[None]:
    """Keep a claimed job's lease for as long as the block runs, and turn JobFailed and JobCancelled into its status.

    A lost claim ends quietly, since its new owner reports. Anything else is a defect or a server that went away: the
    lease runs out and the sweeper tries again. Not to be used inside a transaction, where heartbeats would wait.
    """
    try:
        with _heartbeat(job):
            try:
                yield
            except JobFailed as error:
                fail(job, str(error))
            except JobCancelled:
                _update_own(job, status=JobStatus.CANCELLED, finished_at=timezone.now())
    except ClaimLost:
        logger.info("%s %s: claim lost, stopping", job._meta.model_name, job.pk)


@contextmanager
def _heartbeat(job: Job) -> Iterator[None]:
    """Beat from a thread, whatever the worker is busy with: a step may take longer than a lease."""
    stop = threading.Event()
    # A daemon: it never keeps a process alive.
    thread = threading.Thread(
        target=_beat_until, args=(stop,), kwargs={"own": _own(job), "lease": job.lease}, daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(HEARTBEAT_STOP_SECONDS)


def _beat_until(stop: threading.Event, *, own: QuerySet, lease: timedelta) -> None:
    """Ends when told to, and when the claim is gone: the worker finds out with its next change."""
    try:
        while not stop.wait(lease.total_seconds() / BEATS_A_LEASE):
            now = timezone.now()
            try:
                if not own.update(heartbeat_at=now, lease_expires_at=now + lease):
                    return
            except Error as error:
                # The server may be back before the lease is over.
                logger.warning("heartbeat not stored: %s", error)
                connection.close()
    finally:
        # Connections belong to threads: nobody else closes this one.
        connection.close()


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
    # One by one, since only a row that is still stalled now may be taken from its worker; its message is gone for
    # certain, so it need not wait for the queue to run empty.
    taken = [job for job in stalled if _requeue(job)]
    all(map(_publish, taken))
    return len(taken)


def _requeue(job: Job) -> bool:
    still = _own(job).filter(lease_expires_at__lt=timezone.now())
    return bool(still.update(status=JobStatus.QUEUED, lease_expires_at=None))


def _sweep_waiting(model: type[Job]) -> int:
    lost = model.objects.waiting(since=LOST_AFTER)
    if not lost.exists() or _queue_length(model.queue):
        return 0
    jobs = list(lost)
    all(map(_publish, jobs))
    return len(jobs)


def _queue_length(queue: str) -> int:
    """Messages that no worker has taken yet. While there are any, a waiting row is only waiting its turn."""
    try:
        with current_app.connection_or_acquire() as connection:
            return connection.default_channel.queue_declare(queue=queue, passive=False).message_count
    except BROKER_AWAY:
        return 1


Progress = Callable[[int, int | None], None]


def silent(done: int, total: int | None) -> None:
    """The progress function of who does not watch."""
