"""One of two training processes: torchrun starts it, test_distributed.py looks at what the first one leaves behind."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from tests.learning.conftest import ALL_STAGES, narrow_network, small_task
from tests.learning.test_loop import FLOAT32, figures, weights
from training.learning.data import LabelledImages
from training.learning.loop import train


def main() -> None:
    folder, *paths = map(Path, sys.argv[1:])
    distributed.init_process_group("gloo")
    images = LabelledImages(paths=paths, targets=np.arange(len(paths)) % 2)
    network = narrow_network()
    history = train(network, task=small_task(images, **ALL_STAGES), folder=folder / "together", environment=FLOAT32)
    if distributed.get_rank() == 0:
        (folder / "figures.json").write_text(json.dumps(figures(history)))
        torch.save(weights(network), folder / "weights.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
