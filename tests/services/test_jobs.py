"""The job rows: one owner, a lease, a limit of attempts, a reason for every failure."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from retrieval.models import Dataset, ImportJob, JobStatus
from retrieval.services import jobs


@pytest.fixture
def job(db: None) -> ImportJob:
    return ImportJob.objects.create(dataset=Dataset.objects.create(name="one"), source_path="nowhere")


def _expire(job: ImportJob) -> None:
    ImportJob.objects.filter(pk=job.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def test_one_worker_claims_a_job(job: ImportJob) -> None:
    claimed = jobs.claim(ImportJob, job.pk)
    assert claimed is not None
    assert claimed.status == JobStatus.RUNNING
    assert jobs.claim(ImportJob, job.pk) is None


def test_a_worker_that_lost_its_lease_changes_nothing(job: ImportJob) -> None:
    slow = jobs.claim(ImportJob, job.pk)
    assert slow is not None
    _expire(job)
    assert jobs.sweep() >= 1
    quick = jobs.claim(ImportJob, job.pk)
    assert quick is not None
    for change in (lambda: jobs.beat(slow, done=5), lambda: jobs.finish(slow), lambda: jobs.fail(slow, "no")):
        with pytest.raises(jobs.ClaimLost):
            change()
    jobs.finish(quick)
    job.refresh_from_db()
    assert (job.status, job.done) == (JobStatus.DONE, 0)


def test_an_interrupted_job_was_asked_for_when_it_was(job: ImportJob) -> None:
    asked = job.queued_at
    assert jobs.claim(ImportJob, job.pk) is not None
    _expire(job)
    jobs.sweep()
    job.refresh_from_db()
    assert (job.status, job.queued_at) == (JobStatus.QUEUED, asked)


def test_three_interruptions_end_a_job_with_a_reason(job: ImportJob) -> None:
    for _ in range(ImportJob.max_attempts):
        assert jobs.claim(ImportJob, job.pk) is not None
        _expire(job)
        jobs.sweep()
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED
    assert "interrupted 3 times" in job.reason


def test_the_database_refuses_a_failure_without_a_reason(job: ImportJob) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        ImportJob.objects.filter(pk=job.pk).update(status=JobStatus.FAILED)


def test_a_job_given_back_costs_no_attempt(job: ImportJob) -> None:
    for _ in range(2 * ImportJob.max_attempts):
        claimed = jobs.claim(ImportJob, job.pk)
        assert claimed is not None
        jobs.put_back(claimed)
