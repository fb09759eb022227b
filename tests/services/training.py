"""What the tests of training runs share beside their fixtures."""

from retrieval.services import jobs
from training.models import TrainingRun
from training.services.ending import clean_up
from training.services.running import train_run

RECIPE: dict[str, object] = {
    "architecture": "narrow",
    "frozen_blocks": 0,
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 0.02,
    "dropout": 0.0,
}


def work(run: TrainingRun, *, progress: jobs.Progress = jobs.silent) -> TrainingRun:
    """What the trainer does with the message of a run; returns the row as it is afterwards."""
    claimed = jobs.claim(TrainingRun, run.pk)
    assert claimed is not None
    with jobs.working_on(claimed):
        train_run(claimed, progress=progress)
    clean_up(claimed)
    return claimed
