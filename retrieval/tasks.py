"""Celery tasks: each loads a row and calls one service. Messages carry primary keys and nothing else."""

import logging
import random
import threading
import time
from itertools import cycle

from celery import current_app, shared_task
from celery.signals import worker_process_init, worker_ready
from django.db import DatabaseError, Error, connection

from retrieval.imaging import DecoderUnavailable
from retrieval.models import DatasetDeletion, ImportJob, IndexBatch, QualityCheck, Query
from retrieval.services import jobs, naming
from retrieval.services.deleting import delete_dataset
from retrieval.services.forgetting import remove_forgotten_uploads
from retrieval.services.importing import embed_what_ended_imports_stored, import_dataset
from retrieval.services.indexing import index_batch
from retrieval.services.quality import check_quality
from retrieval.services.searching import answer_query, warm_up
from retrieval.services.switching import delete_embeddings_of_retired
from retrieval.services.uploading import remove_old_uploads
from retrieval.storage import remove_abandoned_uploads

logger = logging.getLogger(__name__)
SWEEP_SECONDS = 5


@worker_ready.connect
def start_sweeping(**signal: object) -> None:  # noqa: ARG001
    """In every worker, beside its work: a sweep must not wait in a queue behind the jobs that it is to save."""
    threading.Thread(target=_sweep_forever, name="sweeper", daemon=True).start()


def _sweep_forever() -> None:
    # One folder at a time, so that a sweep stays short: all of them within half an hour. Shuffled, since a worker that
    # is often started anew would never come to the last.
    folders = naming.query_folders()
    random.shuffle(folders)
    for folder in cycle(folders):
        try:
            jobs.sweep()
            embed_what_ended_imports_stored()
            remove_abandoned_uploads()
            remove_old_uploads()
            remove_forgotten_uploads(folder)
            delete_embeddings_of_retired()
        except (Error, OSError) as error:
            logger.warning("not swept, trying again: %s", error)
        except Exception:
            # Whatever it is: a thread that ends is missed by nobody, and the jobs of dead workers would wait for ever.
            logger.exception("not swept, trying again")
        finally:
            # Processes that are forked meanwhile must not inherit it, and it may be broken.
            connection.close()
        time.sleep(SWEEP_SECONDS)


@worker_process_init.connect
def prepare_search(**signal: object) -> None:  # noqa: ARG001
    """In the processes that answer queries; a worker that cannot do it now does it with its first query."""
    if "search" in current_app.amqp.queues.consume_from:
        try:
            warm_up()
        except (DatabaseError, OSError, DecoderUnavailable, jobs.JobFailed):
            logger.warning("not warmed up, the first query will be slow", exc_info=True)


@shared_task(time_limit=120)
def search_task(query_pk: int) -> None:
    query = jobs.claim(Query, query_pk)
    if query:
        with jobs.working_on(query):
            answer_query(query)


@shared_task(time_limit=86_400)
def import_dataset_task(job_pk: int) -> None:
    job = jobs.claim(ImportJob, job_pk)
    if job:
        with jobs.working_on(job):
            import_dataset(job, index_afterwards=True)


@shared_task(time_limit=86_400)
def delete_dataset_task(deletion_pk: int) -> None:
    deletion = jobs.claim(DatasetDeletion, deletion_pk)
    if deletion:
        with jobs.working_on(deletion):
            delete_dataset(deletion)


@shared_task(time_limit=86_400)
def check_quality_task(check_pk: int) -> None:
    check = jobs.claim(QualityCheck, check_pk)
    if check:
        with jobs.working_on(check):
            check_quality(check)


@shared_task(time_limit=3600)
def index_batch_task(batch_pk: int) -> None:
    batch = jobs.claim(IndexBatch, batch_pk)
    if batch:
        with jobs.working_on(batch):
            index_batch(batch)
