"""Celery tasks of the trainer: one at a time, since training wants the whole machine."""

from celery import shared_task

from retrieval.services import jobs
from training.models import Evaluation, TrainingRun
from training.services.judging import evaluate_version
from training.services.running import train_run


# The trainer's pool (solo) knows no time limits: settings.TRAINING_TIME_LIMIT ends a run from within.
@shared_task(time_limit=86_400)
def train_task(run_pk: int) -> None:
    run = jobs.claim(TrainingRun, run_pk)
    if run:
        with jobs.working_on(run):
            train_run(run)


@shared_task(time_limit=86_400)
def evaluate_task(evaluation_pk: int) -> None:
    evaluation = jobs.claim(Evaluation, evaluation_pk)
    if evaluation:
        with jobs.working_on(evaluation):
            evaluate_version(evaluation)
