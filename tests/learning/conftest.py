"""Small tasks for the loop: drawn previews of two classes that a narrow network tells apart within a few epochs."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.network.preprocessing import TORCHVISION
from retrieval.network.vgg import VGG, build_network
from tests.pictures import png, striped_pixels
from training.learning.data import LabelledImages
from training.learning.loop import Task
from training.learning.recipe import Recipe

# One of three epochs on small images, and one on all images after those.
ALL_STAGES = {"small_share": 0.4, "small_side": 96, "final_epochs": 1}


@pytest.fixture
def images(tmp_path: Path) -> LabelledImages:
    folder = tmp_path / "previews"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:02d}.png").write_bytes(png(striped_pixels(number, upright=number % 2 == 1)))
    return LabelledImages(paths=sorted(folder.iterdir()), targets=np.arange(30) % 2)


def part(images: LabelledImages, *, rows: range) -> LabelledImages:
    return LabelledImages(paths=[images.paths[row] for row in rows], targets=images.targets[list(rows)])


def small_recipe(**choices: object) -> Recipe:
    settings = {"epochs": 3, "batch_size": 8, "frozen_blocks": 0, "learning_rate": 0.02, "dropout": 0.0}
    return Recipe.from_dict({"architecture": "narrow", **settings, **choices})


def small_task(images: LabelledImages, **choices: object) -> Task:
    return Task(
        recipe=small_recipe(**choices),
        preprocessing=TORCHVISION,
        training=part(images, rows=range(20)),
        validation=part(images, rows=range(20, 30)),
    )


def narrow_network(*, seed: int = 0) -> VGG:
    return build_network("narrow", classes=2, seed=seed)
