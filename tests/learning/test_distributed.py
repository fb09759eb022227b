"""The same loop under torchrun: two processes on gloo come to the result of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.learning.conftest import ALL_STAGES, narrow_network, small_task
from tests.learning.test_loop import FLOAT32, figures, weights
from tests.source import ROOT
from training.learning.data import LabelledImages
from training.learning.loop import train


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
