"""One epoch of training beside a plain float32 PyTorch loop of the same network, from files to updated weights.

    python -m benchmarks.training [--architecture published] [--images 96] [--rounds 2]

All in the same run, one after the other in every round. The plain loop is that of a tutorial: DataLoader, float32,
contiguous, SGD with momentum, every layer trained, or the first three blocks without gradients. Ours is the loop of
training/learning as the trainer runs it; an epoch is the second one, in which the frozen blocks are kept already.
"""

import argparse
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.measuring import median, peak_memory, seconds_of
from benchmarks.passes import device_details
from benchmarks.pictures import write_smooth_pngs
from benchmarks.report import Report, has_bf16
from retrieval.network.architectures import ARCHITECTURES
from retrieval.network.execution import best_device
from retrieval.network.preprocessing import TORCHVISION
from retrieval.network.projection import ENOUGH_IMAGES, fit_projection
from retrieval.network.vgg import VGG, build_network, split_at_block
from training.learning.data import LabelledImages
from training.learning.loop import Environment, Task, train
from training.learning.recipe import DEFAULT_RECIPE, RECIPES, Recipe

CLASSES = 18
SIDE = 320
BATCH = 32
FROZEN = 3
TARGET_ALL, TARGET_FROZEN = 2.5, 6
TARGET_MEMORY_GB = 6


def main() -> None:
    options = _options()
    report = Report("training", options=options)
    report.details |= device_details()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_smooth_pngs(folder / "pictures", count=options.images, side=SIDE)
        images = LabelledImages(paths=paths, targets=np.arange(len(paths)) % CLASSES)
        _add_memory(images, folder=folder, architecture=options.architecture, report=report)
        _add_speeds(images, folder=folder, options=options, report=report)
    report.finish()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", choices=list(ARCHITECTURES), default="published")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=2)
    return parser.parse_args()


def _add_memory(images: LabelledImages, *, folder: Path, architecture: str, report: Report) -> None:
    """Each in a process of its own, since the peak of a process never falls."""
    recommended = {**RECIPES[DEFAULT_RECIPE], "architecture": architecture, "epochs": 2}
    for name, recipe in (
        ("all layers trained", _recipe(architecture, frozen=0)),
        ("the recommended recipe", Recipe(**recommended)),
    ):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            peak = alone.submit(_peak_gb, images, folder=folder, recipe=recipe).result()
        report.add(f"peak resident memory, {name}", peak, unit="GB", at_most=TARGET_MEMORY_GB)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        peak, seconds = alone.submit(_fitting, architecture=architecture).result()
    report.add("peak resident memory, fitting the projection", peak, unit="GB", at_most=TARGET_MEMORY_GB)
    report.add(f"fitting the projection on {ENOUGH_IMAGES:,} images, the most", seconds, unit="s")
    report.note("Memory is that of the loop's process; what is kept of frozen blocks of many images comes on top.")


def _peak_gb(images: LabelledImages, *, folder: Path, recipe: Recipe) -> float:
    _second_epoch(images, folder=folder, recipe=recipe)
    return peak_memory() / 1e9


def _fitting(*, architecture: str) -> tuple[float, float]:
    """Gigabytes and seconds, on random features and beside the network, as at the end of a run."""
    network, rng = _network(architecture), np.random.default_rng(0)
    features = np.abs(rng.standard_normal((ENOUGH_IMAGES, network.architecture.width), dtype=np.float32))
    classes = np.arange(len(features)) % CLASSES
    seconds = seconds_of(lambda: fit_projection(features, dense=network.architecture.dense_width, classes=classes))
    return peak_memory() / 1e9, seconds


def _add_speeds(images: LabelledImages, *, folder: Path, options: argparse.Namespace, report: Report) -> None:
    taken: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for kind, epoch in (("plain float32 loop", plain_epoch), ("ours", our_epoch)):
            for frozen in (0, FROZEN):
                seconds = epoch(images, folder=folder, architecture=options.architecture, frozen=frozen)
                taken.setdefault(f"{kind}, {frozen} blocks frozen", []).append(seconds)
    seconds = {name: median(each) for name, each in taken.items()}
    for name, each in seconds.items():
        report.add(name, len(images) / each, unit="images/s")
    plain, plain_frozen, ours, ours_frozen = seconds.values()
    fast = has_bf16()
    report.add("ours / plain, all layers trained", plain / ours, unit="times", at_least=TARGET_ALL if fast else None)
    report.add(
        "ours with 3 blocks frozen / plain", plain / ours_frozen, unit="times", at_least=TARGET_FROZEN if fast else None
    )
    report.add("ours / plain, both with 3 blocks frozen", plain_frozen / ours_frozen, unit="times")
    if not fast:
        report.note("No targets here: this processor has no bfloat16.")
    report.note(f"{len(images)} images of {SIDE} px in batches of {BATCH}; the second epoch, without its checkpoint.")


def our_epoch(images: LabelledImages, *, folder: Path, architecture: str, frozen: int) -> float:
    """Seconds of the second epoch of a run, its validation (two images) included."""
    return _second_epoch(images, folder=folder, recipe=_recipe(architecture, frozen=frozen))


def _recipe(architecture: str, *, frozen: int) -> Recipe:
    return Recipe(architecture=architecture, frozen_blocks=frozen, epochs=2, batch_size=BATCH)


def _second_epoch(images: LabelledImages, *, folder: Path, recipe: Recipe) -> float:
    few = LabelledImages(paths=images.paths[:2], targets=images.targets[:2])
    task = Task(recipe=recipe, preprocessing=TORCHVISION, training=images, validation=few)
    place = folder / "run"
    history = train(_network(recipe.architecture), task=task, folder=place, environment=Environment(workers=1))
    shutil.rmtree(place)
    return history.epochs[1].seconds


def plain_epoch(images: LabelledImages, *, folder: Path, architecture: str, frozen: int) -> float:  # noqa: ARG001
    """Seconds of one epoch of the loop that a tutorial shows."""
    device = best_device()
    network = _network(architecture).to(device).train()
    split_at_block(network, blocks=frozen)[0].requires_grad_(requires_grad=False)
    learnt = [each for each in network.parameters() if each.requires_grad]
    optimiser = torch.optim.SGD(learnt, lr=1e-3, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(_Files(images), batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        for inputs, targets in loader:
            optimiser.zero_grad()
            functional.cross_entropy(network(inputs.to(device)), targets.to(device)).backward()
            optimiser.step()

    return seconds_of(epoch)


def _network(architecture: str) -> VGG:
    return build_network(architecture, classes=CLASSES)


class _Files(Dataset):
    """Open, resize, to tensor, normalise."""

    def __init__(self, images: LabelledImages) -> None:
        self._images = images
        self._transform = transforms.Compose(
            [
                transforms.Resize((224, 224)),
                transforms.ToTensor(),
                transforms.Normalize(mean=TORCHVISION.mean, std=TORCHVISION.std),
            ]
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        with Image.open(self._images.paths[number]) as image:
            return self._transform(image.convert("RGB")), int(self._images.targets[number])


if __name__ == "__main__":
    main()
