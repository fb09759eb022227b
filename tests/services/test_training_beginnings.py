"""What a training run begins with: weights of its own, or the checkpoint of an attempt before."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from django.utils import timezone

from retrieval.models import JobStatus
from retrieval.network.vgg import build_network
from retrieval.services import jobs
from tests.services.training import work
from training.models import TrainingRun
from training.services.ending import run_folder


class Killed(BaseException):
    pass


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """All weights of a network with as many classes as the dataset has."""
    path = tmp_path / "begin.pth"
    # None of what the run's own seed draws.
    torch.save(build_network("narrow", classes=2, seed=99).state_dict(), path)
    return path


@pytest.fixture
def killed_run(
    start: Callable[..., TrainingRun], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., TrainingRun]:
    """A run that was killed after its second epoch and waits for its next attempt."""
    monkeypatch.setattr("training.services.watching.TELL_SECONDS", 0)

    def make(**choices: object) -> TrainingRun:
        run = start(weights=str(weights), **choices)

        def die(done: int, total: int | None) -> None:
            if run.epochs.count() == 2:
                raise Killed

        with pytest.raises(Killed):
            work(run, progress=die)
        TrainingRun.objects.filter(pk=run.pk).update(lease_expires_at=timezone.now())
        jobs.sweep()
        return TrainingRun.objects.get(pk=run.pk)

    return make


def test_a_head_is_not_said_to_be_loaded(start: Callable[..., TrainingRun], weights: Path) -> None:
    run = work(start(weights=str(weights), epochs=1))
    assert run.weights_report == "34 of 36 parameters loaded; 2 of the file are not used and start fresh."


@pytest.mark.parametrize(
    "choices",
    [{"frozen_blocks": 2}, {"epochs": 1, "final_epochs": 3}],
    ids=["while it looks for the best epoch", "in the final epochs"],
)
def test_a_run_with_a_checkpoint_needs_no_weights_to_begin_with(
    killed_run: Callable[..., TrainingRun], weights: Path, choices: dict[str, object]
) -> None:
    before = killed_run(**choices)
    learnt = list(before.epochs.values_list("epoch", "train_loss"))
    weights.unlink()
    run = work(before)
    assert (run.status, run.reason, run.attempts) == (JobStatus.DONE, "", 2)
    assert run.epochs.count() == 4
    assert list(run.epochs.values_list("epoch", "train_loss"))[:2] == learnt
    assert run.weights_report == before.weights_report != ""


def test_a_run_without_a_whole_checkpoint_needs_its_weights(
    killed_run: Callable[..., TrainingRun], weights: Path
) -> None:
    run = killed_run()
    checkpoint = run_folder(run) / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    weights.unlink()
    run = work(run)
    assert (run.status, run.reason) == (JobStatus.FAILED, "There is no file of weights begin.pth.")


def test_a_damaged_checkpoint_costs_its_epochs_and_no_more(killed_run: Callable[..., TrainingRun]) -> None:
    run = killed_run()
    checkpoint = run_folder(run) / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    run = work(run)
    assert (run.status, run.epochs.count()) == (JobStatus.DONE, 4)
