"""How a training run ends, and what it leaves behind then: its row first, its checkpoints and its version after it."""

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from threading import Timer
from typing import Any

import numpy as np
import pytest
from django.test import Client
from pytest_django import Settings
from torch.utils.data import DataLoader

from retrieval.models import JobStatus, ModelVersion
from retrieval.services import jobs
from retrieval.services.switching import activate_model_version
from tests.services.training import work
from training.models import TrainingRun
from training.services import running
from training.services.ending import cancel_run, run_folder
from training.services.reasons import NO_MEMORY, spoken_reasons


class Killed(BaseException):
    pass


class SlowNumbers:
    def __len__(self) -> int:
        return 200

    def __getitem__(self, number: int) -> int:
        # Lost while it works on the second one: handing one over may break in other words.
        time.sleep(5 if number else 0)
        return number


def lose_a_decoding_process(sent: signal.Signals) -> None:
    numbers = iter(DataLoader(SlowNumbers(), num_workers=1))  # type: ignore[arg-type]
    next(numbers)
    Timer(0.2, os.kill, (numbers._workers[0].pid, sent)).start()  # type: ignore[attr-defined]
    with spoken_reasons():
        list(numbers)


def test_a_decoding_process_that_the_kernel_kills_is_a_lack_of_memory() -> None:
    with pytest.raises(jobs.JobFailed, match=NO_MEMORY):
        lose_a_decoding_process(signal.SIGKILL)


def test_a_decoding_process_that_is_told_to_end_is_an_interruption() -> None:
    """As a supervisor does that tells all processes of the site at once: the run is gone on with afterwards."""
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        lose_a_decoding_process(signal.SIGTERM)


def test_the_time_for_learning_is_that_of_all_attempts(
    start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr("training.services.watching.TELL_SECONDS", 0)
    run = start(epochs=4)

    def die(done: int, total: int | None) -> None:
        if run.epochs.count() == 2:
            raise Killed

    with pytest.raises(Killed):
        work(run, progress=die)
    run.epochs.update(seconds=45 * 60)
    settings.TRAINING_TIME_LIMIT = timedelta(hours=1)
    TrainingRun.objects.update(status=JobStatus.QUEUED, lease_expires_at=None)
    run = work(run)
    assert (run.status, run.epochs.count(), run.ran_out_of_time) == (JobStatus.DONE, 2, True)


def killed_while_it_was_judged(start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch) -> TrainingRun:
    """A run that has made its version, and waits to be gone on with."""

    def die(*args: object, **values: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(running, "judge_in_run", die)
        run = start(epochs=1)
        work(run)
    TrainingRun.objects.update(status=JobStatus.QUEUED, lease_expires_at=None)
    assert run_folder(run).exists()
    return run


def test_cancelling_a_run_that_waits_for_its_next_attempt_leaves_nothing(
    start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = killed_while_it_was_judged(start, monkeypatch)
    cancel_run(run)
    assert run.status == JobStatus.CANCELLED
    assert [version.status for version in ModelVersion.objects.all()] == ["retired"]
    assert not run_folder(run).exists()


def test_cancelling_once_more_takes_away_nothing_that_has_served(
    start: Callable[..., TrainingRun], active_version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = killed_while_it_was_judged(start, monkeypatch)
    run.refresh_from_db()
    assert run.model_version is not None
    activate_model_version(run.model_version)
    cancel_run(run)
    activate_model_version(active_version)
    cancel_run(run)
    run.model_version.refresh_from_db()
    assert (run.status, run.model_version.status) == (JobStatus.CANCELLED, "ready")


def test_memory_that_numpy_lacks_is_a_lack_of_memory() -> None:
    with pytest.raises(jobs.JobFailed, match=NO_MEMORY), spoken_reasons():
        np.zeros(2**50)


def test_checkpoints_stay_until_the_end_is_stored(
    start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.services.watching.TELL_SECONDS", 0)
    run = start(epochs=4)

    def fail_unseen(done: int, total: int | None) -> None:
        if run.epochs.count() == 2:
            TrainingRun.objects.update(attempts=2)
            raise jobs.JobFailed("It cannot be stored any more.")

    run = work(run, progress=fail_unseen)
    assert run.status == JobStatus.RUNNING
    assert (run_folder(run) / "checkpoint.safetensors").exists()


def test_memory_that_the_active_version_lacks_does_not_cost_its_successor(
    start: Callable[..., TrainingRun], active_version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = running.judge_in_run

    def too_large(run: TrainingRun, *, version: ModelVersion, **values: Any) -> Any:
        if version == active_version:
            raise RuntimeError("CUDA out of memory.")
        return judge(run, version=version, **values)

    monkeypatch.setattr(running, "judge_in_run", too_large)
    run = work(start(epochs=1))
    assert (run.status, run.evaluations.count()) == (JobStatus.DONE, 1)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_the_page_says_what_is_kept_of_a_run_that_came_to_nothing(
    start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch, logged_in: Callable[..., Client], status: str
) -> None:
    run = killed_while_it_was_judged(start, monkeypatch)
    TrainingRun.objects.update(status=status, reason="It was not to be.")
    page = logged_in("staff").get(f"/training/runs/{run.pk}/").content.decode()
    assert "Version 1, which it had made by then, is kept" in page
    assert "It made no model version" not in page
