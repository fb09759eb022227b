"""The training loop. It knows images, a network and a recipe; progress, cancelling and the database are functions.

The same loop runs alone and under `torchrun`: where torch.distributed has been initialised, each process takes its
share of every batch and the gradients are averaged, so that without dropout the result is that of one process with the
whole batch. What dropout leaves out each process draws for itself.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from retrieval.network.architectures import INPUT_SIDE
from retrieval.network.execution import best_device, best_dtype
from retrieval.network.preprocessing import Preprocessing
from retrieval.network.vgg import VGG
from training.learning.augmentation import make_augmentation
from training.learning.data import NO_IMAGES, FrozenBlocks, Inputs, LabelledImages
from training.learning.learner import Learner, Sums, checkpoint_preprocessing, checkpoint_state, processes, rank
from training.learning.recipe import LIMITS, Recipe, RecipeRefused

# Of the highest learning rate, in the final epochs.
_FINAL_RATE = 1 / 3


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """Epochs are counted from 1. Losses are mean cross-entropies; training figures are taken while it learns.

    Final epochs, which learn from the validation images too, have no validation figures.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float


@dataclass(kw_only=True)
class History:
    """The epochs so far. The best one has the highest validation accuracy, and among equals the lowest loss; where
    none was validated it is the last.
    """

    epochs: list[EpochResult] = field(default_factory=list)

    @property
    def best(self) -> EpochResult:
        return max(self.epochs, key=_merit)

    def stopped_early(self, recipe: Recipe) -> bool:
        validated = sum(each.val_accuracy is not None for each in self.epochs)
        return validated > 0 and recipe.stops_early(done=validated, best=self.best.epoch)

    def is_over(self, recipe: Recipe) -> bool:
        return len(self.epochs) >= recipe.epochs or self.stopped_early(recipe)


def _merit(result: EpochResult) -> tuple[float, float]:
    if result.val_accuracy is None or result.val_loss is None:
        return -1, result.epoch
    return result.val_accuracy, -result.val_loss


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What the loop tells while it works. Each may raise: the training ends there, and the last checkpoint stays.

    `on_progress` gets a phase ("preparing", "training", "validating"), what is done of it and how much it is;
    `on_resume` the epochs that a checkpoint holds already, none at a fresh start. `has_time` is asked before each epoch
    but the first, and ends the training with the best so far; several processes must give the same answer.
    """

    on_progress: Callable[[str, int, int], None] = lambda *_: None
    on_epoch: Callable[[EpochResult], None] = lambda _: None
    on_resume: Callable[[list[EpochResult]], None] = lambda _: None
    has_time: Callable[[], bool] = lambda: True


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where the work is done. `cache_bytes` bounds what is kept of the frozen blocks; `workers` decode and augment."""

    device: torch.device = field(default_factory=best_device)
    dtype: torch.dtype | None = None
    cache_bytes: int = 2 * 2**30
    workers: int = 0

    @property
    def precision(self) -> torch.dtype:
        return self.dtype or best_dtype(self.device)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be learnt: from `training`; `validation`, where it has images, decides which epoch is the best, and
    when to stop.
    """

    recipe: Recipe
    preprocessing: Preprocessing
    training: LabelledImages
    validation: LabelledImages

    @property
    def batches(self) -> int:
        """In one epoch."""
        return math.ceil(len(self.training) / self.recipe.batch_size) - self._leaves_out_last

    @property
    def _leaves_out_last(self) -> bool:
        """Whether the last batch has fewer images than there are processes."""
        return 0 < len(self.training) % self.recipe.batch_size < processes()

    def final(self) -> "Task | None":
        """What the final epochs learn, if there are any: from all images, gently, so that little is unlearnt."""
        if not self.recipe.final_epochs:
            return None
        rate = max(self.recipe.learning_rate * _FINAL_RATE, LIMITS["learning_rate"][0])
        recipe = replace(
            self.recipe, epochs=self.recipe.final_epochs, final_epochs=0, small_share=0.0, learning_rate=rate
        )
        return replace(self, recipe=recipe, training=self.training + self.validation, validation=NO_IMAGES)

    def fingerprint(self) -> str:
        """Of all that a checkpoint must agree with to be gone on from."""
        # What is as it is by default is left out: an update that adds a choice leaves unfinished runs what they are.
        chosen = {name: value for name, value in self.recipe.to_dict().items() if value != getattr(Recipe, name)}
        digest = hashlib.sha256(repr(sorted(chosen.items())).encode() + repr(self.preprocessing).encode())
        for images in (self.training, self.validation):
            digest.update(repr([str(path) for path in images.paths]).encode() + images.targets.tobytes())
        # The schedule is another one then; that of one process is what it was before this was asked.
        if self._leaves_out_last:
            digest.update(b"without the last batch")
        return digest.hexdigest()


def resumed_task(folder: Path, *, recipe: Recipe, training: LabelledImages, validation: LabelledImages) -> Task | None:
    """Return the task that `train` goes on with from the checkpoint in `folder`, None where it would begin anew.

    All weights come with the checkpoint, so that the network may begin with any.
    """
    preprocessing = checkpoint_preprocessing(folder)
    if preprocessing is None:
        return None
    task = Task(recipe=recipe, preprocessing=preprocessing, training=training, validation=validation)
    stages = [stage for stage in (task, task.final()) if stage]
    return task if any(checkpoint_state(folder, task=stage.fingerprint()) for stage in stages) else None


def train(
    network: VGG, *, task: Task, folder: Path, hooks: Hooks = Hooks(), environment: Environment | None = None
) -> History:
    """Train `network` in place and leave it, on the CPU and in evaluation mode, with the weights of its best epoch, or
    with those that the final epochs made of them.

    `folder` keeps the checkpoint: with one of the same task in it the training goes on after its last epoch, to the
    same result as if it had never stopped; several processes must all see the same folder. Raises TrainingDiverged,
    RecipeRefused for more processes than a batch has images, PreviewUnreadable, OSError for a full disk, and whatever a
    hook raises.
    """
    # One that gets no image would leave the others waiting for its gradients.
    if min(task.recipe.batch_size, len(task.training)) < processes():
        raise RecipeRefused(
            f"{processes()} processes are more than a batch has images: start fewer, or choose a larger batch size."
        )
    where = environment or Environment()
    final = task.final()
    if final is None:
        return _train(network, task=task, folder=folder, hooks=hooks, where=where)
    # Once the final epochs have a checkpoint, it is the only one.
    before = _results(checkpoint_state(folder, task=final.fingerprint()).get("before", []))
    if not before:
        before = _train(network, task=task, folder=folder, hooks=hooks, where=where).epochs
        if not hooks.has_time():
            return History(epochs=before)
    last = _train(network, task=final, folder=folder, hooks=hooks, where=where, before=before)
    return History(epochs=[*before, *last.epochs])


def _train(
    network: VGG,
    *,
    task: Task,
    folder: Path,
    hooks: Hooks,
    where: Environment,
    before: Sequence[EpochResult] = (),
) -> History:
    """Train for the epochs of the task, which come after those that were `before`; return them."""
    recipe = task.recipe
    steps = task.batches * recipe.epochs
    learner = Learner(network, recipe=recipe, steps=steps, device=where.device, dtype=where.precision)
    history = History(epochs=_results(learner.resume(folder, task=task.fingerprint()).get("epochs", [])))
    hooks.on_resume([*before, *history.epochs])
    supply = _Supply(learner, task=task, environment=where, hooks=hooks)
    while not history.is_over(recipe) and (not history.epochs or hooks.has_time()):
        number = len(before) + len(history.epochs) + 1
        result = _epoch(learner, task=task, inputs=supply.of_epoch(number), number=number, hooks=hooks)
        history.epochs.append(result)
        if rank() == 0:
            state = {
                "task": task.fingerprint(),
                "preprocessing": task.preprocessing.to_dict(),
                "before": _plain(before),
                "epochs": _plain(history.epochs),
            }
            learner.save(folder, state=state, best=history.best.epoch, is_best=history.best is result)
        hooks.on_epoch(result)
    learner.finish(folder, best=history.best.epoch)
    return history


def _plain(results: Sequence[EpochResult]) -> list[dict[str, Any]]:
    return [asdict(each) for each in results]


def _results(plain: Sequence[Mapping[str, Any]]) -> list[EpochResult]:
    return [EpochResult(**each) for each in plain]


class _Supply:
    """The inputs of each epoch. What is kept of frozen blocks is computed before the first epoch that needs it."""

    def __init__(self, learner: Learner, *, task: Task, environment: Environment, hooks: Hooks) -> None:
        self._task, self._environment, self._hooks = task, environment, hooks
        self._frozen = FrozenBlocks(
            learner.frozen, preprocessing=task.preprocessing, device=environment.device, dtype=environment.precision
        )
        self._validation: Inputs | None = None
        self._training: Inputs | None = None
        self._side = 0

    def of_epoch(self, number: int) -> tuple[Inputs, Inputs]:
        """For training, of the epoch's size, and for validation, which never changes."""
        recipe, room = self._task.recipe, self._environment.cache_bytes
        if self._validation is None:
            self._validation = self._inputs(self._task.validation, side=INPUT_SIDE, room=room)
        side = recipe.side(number)
        if self._training is None or side != self._side:
            # Given up first: there may be no room for both sizes.
            self._training, self._side = None, side
            changes = None
            if recipe.augmentation != "none":
                changes = make_augmentation(recipe.augmentation, side=side, flips=recipe.flips)
            room -= self._validation.cached_bytes
            self._training = self._inputs(self._task.training, side=side, room=room, augmentation=changes)
        return self._training, self._validation

    def _inputs(self, images: LabelledImages, *, side: int, room: int, augmentation: nn.Module | None = None) -> Inputs:
        return Inputs(
            images,
            side=side,
            frozen=self._frozen,
            augmentation=augmentation,
            cache_bytes=room,
            workers=self._environment.workers,
            on_progress=lambda done: self._hooks.on_progress("preparing", done, len(images)),
        )


def _epoch(learner: Learner, *, task: Task, inputs: tuple[Inputs, Inputs], number: int, hooks: Hooks) -> EpochResult:
    started = time.perf_counter()
    training, validation = inputs
    # Drawn anew from seed and number: an epoch that is repeated after an interruption is the same epoch.
    seed = int(np.random.SeedSequence([task.recipe.seed, number]).generate_state(1)[0])
    torch.manual_seed(seed + rank())
    shuffled = np.random.default_rng(seed).permutation(len(task.training))
    order = list(_batches(shuffled, size=task.recipe.batch_size))[: task.batches]
    rate = learner.learning_rate
    learnt, judged = Sums(), Sums()
    for done, (batch, images) in enumerate(zip(order, training.batches(_shares(order), seed=seed), strict=True)):
        hooks.on_progress("training", done, len(order))
        learner.step(images, targets=task.training.targets[_share(batch)], whole=len(batch), sums=learnt)
    order = _shares(list(_batches(np.arange(len(task.validation)), size=task.recipe.batch_size)))
    for done, (rows, images) in enumerate(zip(order, validation.batches(order, seed=0), strict=True)):
        hooks.on_progress("validating", done, len(order))
        learner.judge(images, targets=task.validation.targets[rows], sums=judged)
    learnt, judged = (sums.of_all_processes(device=learner.device) for sums in (learnt, judged))
    return EpochResult(
        epoch=number,
        train_loss=learnt.loss / learnt.images,
        train_accuracy=learnt.correct / learnt.images,
        val_loss=judged.loss / judged.images if judged.images else None,
        val_accuracy=judged.correct / judged.images if judged.images else None,
        learning_rate=rate,
        seconds=time.perf_counter() - started,
    )


def _batches(numbers: np.ndarray, *, size: int) -> Iterator[np.ndarray]:
    return (numbers[start : start + size] for start in range(0, len(numbers), size))


def _share(batch: np.ndarray) -> np.ndarray:
    """This process's part of a batch."""
    return batch[rank() :: processes()]


def _shares(order: list[np.ndarray]) -> list[np.ndarray]:
    """This process's part of each batch, where it has one."""
    return [share for share in map(_share, order) if len(share)]
