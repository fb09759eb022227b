"""Celery tasks: each loads a row and calls one service. Messages carry primary keys and nothing else."""

import logging

from celery import current_app, shared_task
from celery.signals import worker_process_init
from django.db import DatabaseError

from retrieval.models import ImportJob, IndexBatch, Query
from retrieval.services import jobs
from retrieval.services.importing import import_dataset
from retrieval.services.indexing import index_batch
from retrieval.services.searching import answer_query, warm_up

logger = logging.getLogger(__name__)


@worker_process_init.connect
def prepare_search(**signal: object) -> None:  # noqa: ARG001
    """In the processes that answer queries; a worker that cannot do it now does it with its first query."""
    if "search" in current_app.amqp.queues.consume_from:
        try:
            warm_up()
        except (DatabaseError, OSError):
            logger.warning("not warmed up, the first query will be slow", exc_info=True)


@shared_task(time_limit=120)
def search_task(query_pk: int) -> None:
    query = jobs.claim(Query, query_pk)
    if query:
        with jobs.failures_recorded(query):
            answer_query(query)


@shared_task(time_limit=86_400)
def import_dataset_task(job_pk: int) -> None:
    job = jobs.claim(ImportJob, job_pk)
    if job:
        with jobs.failures_recorded(job):
            import_dataset(job, index_afterwards=True)


@shared_task(time_limit=3600)
def index_batch_task(batch_pk: int) -> None:
    batch = jobs.claim(IndexBatch, batch_pk)
    if batch:
        with jobs.failures_recorded(batch):
            index_batch(batch)


@shared_task(time_limit=60)
def sweep_task() -> None:
    jobs.sweep()
