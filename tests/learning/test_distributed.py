"""The same loop in several processes: two under torchrun, on gloo, come to the result of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.learning.conftest import ALL_STAGES, narrow_network, small_task
from tests.learning.test_loop import FLOAT32, Interruption, figures, weights
from tests.source import ROOT
from training.learning import loop
from training.learning.data import LabelledImages
from training.learning.loop import EpochResult, Hooks, train
from training.learning.recipe import RecipeRefused


def test_two_processes_learn_what_one_learns(images: LabelledImages, tmp_path: Path) -> None:
    network = narrow_network()
    # 20 images in batches of 8: the last one is smaller.
    alone = train(network, task=small_task(images, **ALL_STAGES), folder=tmp_path / "alone", environment=FLOAT32)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = [str(ROOT / "tests" / "learning" / "two_processes.py"), str(tmp_path), *map(str, images.paths)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *script], env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads((tmp_path / "figures.json").read_text())
    assert [tuple(row) for row in told] == [pytest.approx(row, rel=1e-3) for row in figures(alone)]
    together, expected = torch.load(tmp_path / "weights.pt"), weights(network)
    # Sums in another order; each step makes more of what that changes in the last digits.
    assert torch.dist(together, expected) < 1e-4 * expected.norm()


def test_a_checkpoint_with_other_steps_is_not_gone_on_from(
    images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of 20 images is a batch of one process, and none of two: the schedule is another one."""
    task = small_task(images, epochs=2, batch_size=19)

    def interrupt(result: EpochResult) -> None:
        raise Interruption

    with pytest.raises(Interruption):
        train(narrow_network(), task=task, folder=tmp_path, hooks=Hooks(on_epoch=interrupt), environment=FLOAT32)
    monkeypatch.setattr(loop, "processes", lambda: 2)
    known: list[EpochResult] = []
    train(narrow_network(), task=task, folder=tmp_path, hooks=Hooks(on_resume=known.extend), environment=FLOAT32)
    assert known == []


def test_as_many_steps_with_more_processes_are_the_same_task(
    images: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = small_task(images, batch_size=8)
    alone = task.fingerprint()
    monkeypatch.setattr(loop, "processes", lambda: 4)
    assert task.fingerprint() == alone


@pytest.mark.parametrize(("processes", "batch_size"), [(9, 8), (21, 50)])
def test_more_processes_than_images_in_a_batch_are_refused(
    images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int, batch_size: int
) -> None:
    """One that gets no image of a batch would leave the others waiting for its gradients."""
    monkeypatch.setattr(loop, "processes", lambda: processes)
    task = small_task(images, batch_size=batch_size)
    with pytest.raises(RecipeRefused, match=f"{processes} processes"):
        train(narrow_network(), task=task, folder=tmp_path, environment=FLOAT32)
