"""Celery tasks of the trainer: one at a time, since training wants the whole machine."""

import os

from celery import current_app, shared_task
from celery.signals import worker_ready

from retrieval.services import jobs
from training.models import Evaluation, TrainingRun
from training.services.ending import clean_up
from training.services.judging import evaluate_version
from training.services.running import train_run

# Steps towards the back of the queue for the processors: a question comes before a training on the same machine.
NICENESS = 10


@worker_ready.connect
def stand_back(**signal: object) -> None:  # noqa: ARG001
    if TrainingRun.queue in current_app.amqp.queues.consume_from:
        os.nice(NICENESS)


# The trainer's pool (solo) knows no time limits: settings.TRAINING_TIME_LIMIT is kept from within.
@shared_task(time_limit=86_400)
def train_task(run_pk: int) -> None:
    run = jobs.claim(TrainingRun, run_pk)
    if run:
        with jobs.working_on(run):
            train_run(run)
        clean_up(run)


@shared_task(time_limit=86_400)
def evaluate_task(evaluation_pk: int) -> None:
    evaluation = jobs.claim(Evaluation, evaluation_pk)
    if evaluation:
        with jobs.working_on(evaluation):
            evaluate_version(evaluation)
