"""What is done once a training run is over, however it ended: its row first, then what it leaves behind.

In this order, since a run whose end could not be stored is gone on with, and needs its checkpoint for that.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from retrieval.models import JobStatus
from retrieval.services import jobs
from retrieval.services.switching import VersionInUse, retire_model_version
from training.models import TrainingRun


def run_folder(run: TrainingRun) -> Path:
    return settings.WORK_DIR / "training" / str(run.pk)


def cancel_run(run: TrainingRun) -> None:
    """Cancel it: at once where no trainer works on it, else as soon as its trainer looks."""
    # One that had ended was cleaned up after: what it made may have been put into service and out of it since.
    if jobs.cancel(run):
        clean_up(run)
    run.refresh_from_db()


def clean_up(run: TrainingRun) -> None:
    """Remove the checkpoints of a run that is over, and retire what it made where it was cancelled."""
    run.refresh_from_db()
    if not run.is_finished:
        return
    shutil.rmtree(run_folder(run), ignore_errors=True)
    if run.status == JobStatus.CANCELLED and run.model_version:
        # Nobody wants what it has made, unless somebody has put it into service meanwhile.
        with suppress(VersionInUse):
            retire_model_version(run.model_version)


def remove_left_checkpoints(*, but: TrainingRun) -> None:
    """Of runs whose end nobody was there to clean up after: one takes gigabytes, and one run is unfinished at most."""
    for folder in run_folder(but).parent.glob("*"):
        if folder != run_folder(but):
            shutil.rmtree(folder, ignore_errors=True)
