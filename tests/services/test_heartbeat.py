"""A claim is kept for as long as the work takes, by a thread that never does harm."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from retrieval.models import Dataset, ImportJob, JobStatus
from retrieval.services import jobs

LEASE = timedelta(seconds=0.6)
needs_commits = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImportJob, "lease", LEASE)


def _claimed() -> ImportJob:
    job = ImportJob.objects.create(dataset=Dataset.objects.create(name="one"), source_path="nowhere")
    claimed = jobs.claim(ImportJob, job.pk)
    assert claimed is not None
    return claimed


def _sessions() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return cursor.fetchone()[0]


def _comes_down_to(wanted: int, count: Callable[[], int]) -> bool:
    deadline = time.monotonic() + 5
    while count() > wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    return count() == wanted


@needs_commits
def test_a_step_longer_than_the_lease_keeps_its_claim(short_lease: None) -> None:
    job, sessions = _claimed(), _sessions()
    with jobs.working_on(job):
        time.sleep(2.5 * LEASE.total_seconds())
        assert _sessions() == sessions + 1
        assert jobs.sweep() == 0
        jobs.finish(job)
    job.refresh_from_db()
    assert (job.status, job.attempts) == (JobStatus.DONE, 1)
    # The server takes a moment to see a client go.
    assert _comes_down_to(sessions, _sessions)


@needs_commits
def test_without_a_heartbeat_the_same_step_loses_it(short_lease: None, broker: object) -> None:
    job = _claimed()
    time.sleep(1.5 * LEASE.total_seconds())
    assert jobs.sweep() == 1
    job.refresh_from_db()
    assert job.status == JobStatus.QUEUED


@needs_commits
def test_the_heartbeat_leaves_the_next_owner_alone(short_lease: None, broker: object) -> None:
    slow, threads = _claimed(), threading.active_count()
    with jobs.working_on(slow):
        ImportJob.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        jobs.sweep()
        quick = jobs.claim(ImportJob, slow.pk)
        assert quick is not None
        assert _comes_down_to(threads, threading.active_count)
        slow_sees = ImportJob.objects.get(pk=slow.pk)
        assert slow_sees.lease_expires_at == quick.lease_expires_at
        jobs.finish(slow)
        pytest.fail("a lost claim must end the block")
    quick.refresh_from_db()
    assert quick.status == JobStatus.RUNNING


@needs_commits
def test_the_heartbeat_survives_a_database_session_that_is_cut(short_lease: None) -> None:
    job = _claimed()
    with jobs.working_on(job):
        time.sleep(0.5 * LEASE.total_seconds())
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert cursor.rowcount == 1
        time.sleep(1.5 * LEASE.total_seconds())
        assert jobs.sweep() == 0
        jobs.finish(job)


def test_in_a_transaction_that_nobody_else_sees_it_ends_quietly(db: None, short_lease: None) -> None:
    job, threads = _claimed(), threading.active_count()
    with jobs.working_on(job):
        assert _comes_down_to(threads, threading.active_count)
        jobs.finish(job)
    job.refresh_from_db()
    assert job.status == JobStatus.DONE


def test_a_failure_becomes_the_reason(db: None) -> None:
    job = _claimed()
    with jobs.working_on(job):
        raise jobs.JobFailed("The disk is full.")
    job.refresh_from_db()
    assert (job.status, job.reason) == (JobStatus.FAILED, "The disk is full.")


def test_a_failure_after_the_claim_was_lost_is_the_next_owners_to_tell(db: None, broker: object) -> None:
    job = _claimed()
    with jobs.working_on(job):
        ImportJob.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        jobs.sweep()
        raise jobs.JobFailed("The disk is full.")
    job.refresh_from_db()
    assert (job.status, job.reason) == (JobStatus.QUEUED, "")


def test_a_defect_is_heard_of_and_the_job_tried_again(db: None, broker: object) -> None:
    job = _claimed()
    with pytest.raises(ZeroDivisionError), jobs.working_on(job):
        _ = 1 / 0
    job.refresh_from_db()
    assert job.status == JobStatus.RUNNING
    ImportJob.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert jobs.sweep() == 1
    assert jobs.claim(ImportJob, job.pk) is not None
