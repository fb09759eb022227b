"""Rows are the record: messages may be lost, doubled or late, and Redis may be away or hang."""

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from redis import Redis

from retrieval.models import Dataset, ImportJob, IndexBatch, JobStatus, ModelVersion, Query
from retrieval.services import indexing, jobs
from tests.pictures import drawn_pixels, png
from tests.services.conftest import ImportFolder

# Redis is given up after 3 s (settings: socket_timeout); a page that takes longer looks broken.
SOON_SECONDS = 6


@pytest.fixture
def job(db: None) -> ImportJob:
    return ImportJob.objects.create(dataset=Dataset.objects.create(name="one"), source_path="nowhere")


def _wait_in_vain(job: ImportJob | Query) -> None:
    type(job).objects.filter(pk=job.pk).update(queued_at=timezone.now() - 2 * jobs.LOST_AFTER)


def test_a_message_is_sent_when_the_row_is_there(
    job: ImportJob, broker: Redis, django_capture_on_commit_callbacks: Callable
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        jobs.enqueue(job)
        assert broker.llen("jobs") == 0
    assert broker.llen("jobs") == 1


def test_a_lost_message_is_sent_again(job: ImportJob, broker: Redis) -> None:
    assert jobs.sweep() == 0
    _wait_in_vain(job)
    assert jobs.sweep() == 1
    assert broker.llen("jobs") == 1


def test_a_row_that_only_waits_its_turn_is_not_sent_again(job: ImportJob, broker: Redis) -> None:
    _wait_in_vain(job)
    assert jobs.sweep() == 1
    assert jobs.sweep() == 0
    assert broker.llen("jobs") == 1


def test_a_stalled_job_does_not_wait_for_an_empty_queue(job: ImportJob, broker: Redis) -> None:
    broker.lpush("jobs", "somebody else's message")
    assert jobs.claim(ImportJob, job.pk) is not None
    ImportJob.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert jobs.sweep() == 1
    assert broker.llen("jobs") == 2


def test_a_question_is_kept_while_redis_is_away(
    asked: Callable[[bytes], Query],
    broker: Redis,
    broker_away: Callable[[], None],
    django_capture_on_commit_callbacks: Callable,
) -> None:
    started = time.monotonic()
    with django_capture_on_commit_callbacks(execute=True):
        query = asked(png(drawn_pixels(1)))
    assert time.monotonic() - started < SOON_SECONDS
    query.refresh_from_db()
    assert query.status == JobStatus.QUEUED
    _wait_in_vain(query)
    assert jobs.sweep() == 0
    broker_away()
    assert jobs.sweep() == 1
    assert broker.llen("search") == 1


def test_a_sweep_that_loses_redis_is_no_trouble_for_the_next(
    job: ImportJob, broker: Redis, request: pytest.FixtureRequest
) -> None:
    """What is raised by a connection that stood before is another exception than that of one that cannot be made."""
    _wait_in_vain(job)
    broker.lpush("jobs", "somebody else's message")
    assert jobs.sweep() == 0
    start_again = request.getfixturevalue("broker_away")
    assert jobs.sweep() == 0
    start_again()
    broker.delete("jobs")
    assert jobs.sweep() == 1


def test_a_question_is_kept_while_redis_hangs(
    asked: Callable[[bytes], Query], broker: Redis, django_capture_on_commit_callbacks: Callable
) -> None:
    server = broker.info()["process_id"]
    os.kill(server, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with django_capture_on_commit_callbacks(execute=True):
            query = asked(png(drawn_pixels(1)))
        assert time.monotonic() - started < SOON_SECONDS
    finally:
        os.kill(server, signal.SIGCONT)
    query.refresh_from_db()
    assert query.status == JobStatus.QUEUED


def test_many_messages_wait_for_a_missing_redis_once(
    active_version: ModelVersion,
    import_folder: ImportFolder,
    picture_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    broker_away: Callable[[], None],
    django_capture_on_commit_callbacks: Callable,
) -> None:
    import_folder(picture_folder)
    monkeypatch.setattr(indexing, "BATCH_IMAGES", 1)
    started = time.monotonic()
    with django_capture_on_commit_callbacks(execute=True):
        indexing.create_index_job(version=active_version, publish=True)
    assert time.monotonic() - started < SOON_SECONDS
    assert IndexBatch.objects.filter(status=JobStatus.QUEUED).count() == 6
