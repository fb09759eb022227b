"""Celery tasks: each loads a row and calls one service. Messages carry primary keys and nothing else."""

from celery import shared_task
from celery.signals import worker_process_init

from retrieval.models import ImportJob, IndexBatch, Query
from retrieval.services import jobs
from retrieval.services.importing import import_dataset
from retrieval.services.indexing import index_batch
from retrieval.services.searching import answer_query


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
