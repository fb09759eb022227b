"""The training loop on a narrow network: it learns, stops, resumes, and freezes what it should."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from retrieval.network.execution import best_dtype
from retrieval.network.vgg import VGG, split_at_block
from tests.learning.conftest import ALL_STAGES, narrow_network, small_task
from training.learning import learner
from training.learning.data import LabelledImages
from training.learning.learner import TrainingDiverged
from training.learning.loop import Environment, EpochResult, History, Hooks, Task, train
from training.learning.recipe import LIMITS, Recipe

FLOAT32 = Environment(device=torch.device("cpu"), dtype=torch.float32)
HAS_BFLOAT16 = best_dtype(torch.device("cpu")) == torch.bfloat16
BFLOAT16 = Environment(device=torch.device("cpu"), dtype=torch.bfloat16)


class Interruption(Exception):
    pass


def weights(network: VGG) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in network.parameters()])


def figures(history: History) -> list[tuple[float, ...]]:
    """Of each epoch; final epochs have no validation figures."""
    known = [(each.train_loss, each.train_accuracy, each.val_loss, each.val_accuracy) for each in history.epochs]
    return [tuple(value for value in row if value is not None) for row in known]


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(FLOAT32, id="float32"),
        pytest.param(BFLOAT16, id="bfloat16", marks=pytest.mark.skipif(not HAS_BFLOAT16, reason="a minute without it")),
    ],
)
@pytest.mark.parametrize("optimiser", [{}, {"optimiser": "adamw", "learning_rate": 1e-3}], ids=["sgd", "adamw"])
def test_it_learns_to_tell_two_classes_apart(
    images: LabelledImages, tmp_path: Path, environment: Environment, optimiser: dict[str, object]
) -> None:
    task = small_task(images, epochs=12, patience=12, **optimiser)
    history = train(narrow_network(), task=task, folder=tmp_path / "run", environment=environment)
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss / 2
    assert history.best.val_accuracy == 1.0


def test_training_and_validation_losses_can_be_compared(images: LabelledImages, tmp_path: Path) -> None:
    """Learnt from is the loss with smoothed labels, which can't fall below 0.33; both that are told can."""
    task = small_task(images, epochs=12, patience=12, label_smoothing=0.2)
    last = train(narrow_network(), task=task, folder=tmp_path, environment=FLOAT32).epochs[-1]
    assert last.val_loss is not None
    # Where the smoothed loss is lowest, the network gives the right class 0.9.
    assert [last.train_loss, last.val_loss] == [pytest.approx(-math.log(0.9), abs=0.06)] * 2


def _misleading(task: Task) -> Task:
    """With the wrong classes for its validation images: the more is learnt, the worse they get."""
    wrong = LabelledImages(paths=task.validation.paths, targets=1 - task.validation.targets)
    return replace(task, validation=wrong)


def test_epochs_without_improvement_end_it(images: LabelledImages, tmp_path: Path) -> None:
    task = _misleading(small_task(images, epochs=50, patience=2, schedule="constant"))
    history = train(narrow_network(), task=task, folder=tmp_path / "run", environment=FLOAT32)
    assert len(history.epochs) == history.best.epoch + 2 < 50
    assert history.stopped_early(task.recipe)


def test_no_epoch_begins_when_the_time_is_over_and_the_best_is_kept(images: LabelledImages, tmp_path: Path) -> None:
    seen: dict[int, torch.Tensor] = {}
    network = narrow_network()
    hooks = Hooks(
        on_epoch=lambda result: seen.update({result.epoch: weights(network).clone()}), has_time=lambda: len(seen) < 3
    )
    task = _misleading(small_task(images, epochs=50, patience=50, schedule="constant"))
    history = train(network, task=task, folder=tmp_path / "run", hooks=hooks, environment=FLOAT32)
    assert len(history.epochs) == 3
    assert torch.equal(weights(network), seen[history.best.epoch])


def test_the_first_epoch_has_time_and_final_ones_need_some(images: LabelledImages, tmp_path: Path) -> None:
    task = small_task(images, epochs=3, final_epochs=2)
    history = train(
        narrow_network(),
        task=task,
        folder=tmp_path / "run",
        hooks=Hooks(has_time=lambda: False),
        environment=FLOAT32,
    )
    assert [each.val_loss is None for each in history.epochs] == [False]


def test_the_network_ends_with_the_weights_of_its_best_epoch(images: LabelledImages, tmp_path: Path) -> None:
    seen: dict[int, torch.Tensor] = {}
    network = narrow_network()
    hooks = Hooks(on_epoch=lambda result: seen.update({result.epoch: weights(network).clone()}))
    task = _misleading(small_task(images, epochs=6, patience=6, schedule="constant"))
    history = train(network, task=task, folder=tmp_path / "run", hooks=hooks, environment=FLOAT32)
    assert history.best.epoch < len(history.epochs)
    assert torch.equal(weights(network), seen[history.best.epoch])


def test_the_best_epoch_has_the_highest_accuracy_and_then_the_lowest_loss() -> None:
    figures = [(0.9, 0.5), (0.95, 0.6), (0.95, 0.4), (0.8, 0.1)]
    epochs = [
        EpochResult(
            epoch=number,
            train_loss=0,
            train_accuracy=0,
            val_loss=loss,
            val_accuracy=accuracy,
            learning_rate=0,
            seconds=0,
        )
        for number, (accuracy, loss) in enumerate(figures, start=1)
    ]
    assert History(epochs=epochs).best.epoch == 3


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"augmentation": "strong"},
        {"optimiser": "adamw", "learning_rate": 1e-3},
        {"frozen_blocks": 1, "small_share": 0.5, "small_side": 96},
        {"frozen_blocks": 1, "small_share": 0.75, "small_side": 96},
        {"epochs": 2, "final_epochs": 2},
        {"epochs": 1, "final_epochs": 3, "small_share": 0.5, "optimiser": "adamw", "learning_rate": 1e-3},
    ],
    ids=[
        "as published",
        "augmented",
        "adamw",
        "between the sizes",
        "on small images",
        "before the final epochs",
        "in the final epochs",
    ],
)
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    images: LabelledImages, tmp_path: Path, choices: dict[str, object]
) -> None:
    task = small_task(images, **{"epochs": 4, "patience": 4, "dropout": 0.5} | choices)
    whole = narrow_network()
    expected = train(whole, task=task, folder=tmp_path / "whole", environment=FLOAT32)

    def interrupt(phase: str, done: int, total: int) -> None:
        if phase == "training" and done == 1 and len(told) == 2:
            raise Interruption

    told: list[EpochResult] = []
    hooks = Hooks(on_progress=interrupt, on_epoch=told.append)
    with pytest.raises(Interruption):
        train(narrow_network(), task=task, folder=tmp_path / "parts", hooks=hooks, environment=FLOAT32)
    known: list[EpochResult] = []
    network = narrow_network()
    resumed = train(
        network, task=task, folder=tmp_path / "parts", hooks=Hooks(on_resume=known.extend), environment=FLOAT32
    )
    assert {each.epoch for each in known} == {1, 2}
    assert len(resumed.epochs) == 4
    assert figures(resumed) == figures(expected)
    assert torch.equal(weights(network), weights(whole))


def test_frozen_blocks_come_from_the_checkpoint_too(images: LabelledImages, tmp_path: Path) -> None:
    """The file of weights that a run began with may be another one by the time that it is gone on with."""
    task = small_task(images, epochs=2, frozen_blocks=1)
    whole, other = narrow_network(), narrow_network(seed=1)
    expected = train(whole, task=task, folder=tmp_path / "whole", environment=FLOAT32)

    def interrupt(result: EpochResult) -> None:
        raise Interruption

    with pytest.raises(Interruption):
        hooks = Hooks(on_epoch=interrupt)
        train(narrow_network(), task=task, folder=tmp_path / "parts", hooks=hooks, environment=FLOAT32)
    resumed = train(other, task=task, folder=tmp_path / "parts", environment=FLOAT32)
    assert figures(resumed) == figures(expected)
    assert torch.equal(weights(other), weights(whole))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_an_interrupted_run_on_cuda_is_gone_on_with(images: LabelledImages, tmp_path: Path, optimiser: str) -> None:
    task = small_task(images, epochs=4, patience=4, optimiser=optimiser, learning_rate=1e-3)

    def interrupt(phase: str, done: int, total: int) -> None:
        if phase == "training" and len(told) == 2:
            raise Interruption

    told: list[EpochResult] = []
    with pytest.raises(Interruption):
        train(narrow_network(), task=task, folder=tmp_path, hooks=Hooks(on_progress=interrupt, on_epoch=told.append))
    history = train(narrow_network(), task=task, folder=tmp_path)
    assert history.epochs[:2] == told
    assert len(history.epochs) == 4


def test_a_kill_between_the_best_weights_and_the_checkpoint_costs_one_epoch(
    images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = small_task(images, epochs=4, patience=4)
    expected = train(narrow_network(), task=task, folder=tmp_path / "whole", environment=FLOAT32)
    assert History(epochs=expected.epochs[:3]).best.epoch == 3
    told: list[EpochResult] = []
    save = learner.save_tensors

    def interrupt(path: Path, **content: Any) -> None:
        if path.name == "checkpoint.safetensors" and len(told) == 2:
            raise Interruption
        save(path, **content)

    with monkeypatch.context() as patch, pytest.raises(Interruption):
        patch.setattr(learner, "save_tensors", interrupt)
        hooks = Hooks(on_epoch=told.append)
        train(narrow_network(), task=task, folder=tmp_path / "parts", hooks=hooks, environment=FLOAT32)
    known: list[EpochResult] = []
    hooks = Hooks(on_resume=known.extend)
    resumed = train(narrow_network(), task=task, folder=tmp_path / "parts", hooks=hooks, environment=FLOAT32)
    assert {each.epoch for each in known} == {1, 2}
    assert len(resumed.epochs) == 4
    assert figures(resumed) == figures(expected)
    assert len(list((tmp_path / "parts").glob("best-*"))) == 1


def test_a_checkpoint_of_another_task_is_not_gone_on_from(images: LabelledImages, tmp_path: Path) -> None:
    train(narrow_network(), task=small_task(images, epochs=1), folder=tmp_path, environment=FLOAT32)
    known: list[EpochResult] = []
    hooks = Hooks(on_resume=known.extend)
    train(narrow_network(), task=small_task(images, epochs=1, seed=1), folder=tmp_path, hooks=hooks)
    assert known == []


def test_a_damaged_checkpoint_begins_anew(images: LabelledImages, tmp_path: Path) -> None:
    task = small_task(images, epochs=1)
    first = train(narrow_network(), task=task, folder=tmp_path, environment=FLOAT32)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    second = train(narrow_network(), task=task, folder=tmp_path, environment=FLOAT32)
    assert figures(second) == figures(first)


def test_frozen_blocks_keep_their_weights_and_all_others_learn(images: LabelledImages, tmp_path: Path) -> None:
    network = narrow_network()
    frozen, rest = split_at_block(network, blocks=2)
    before = [each.detach().clone() for each in frozen.parameters()]
    others = [each.detach().clone() for each in rest.parameters()]
    train(network, task=small_task(images, frozen_blocks=2), folder=tmp_path, environment=FLOAT32)
    assert all(torch.equal(old, new) for old, new in zip(before, frozen.parameters(), strict=True))
    assert not any(torch.equal(old, new) for old, new in zip(others, rest.parameters(), strict=True))


def test_the_cache_changes_nothing(images: LabelledImages, tmp_path: Path) -> None:
    task = small_task(images, frozen_blocks=3, **ALL_STAGES)
    kept = train(narrow_network(), task=task, folder=tmp_path / "kept", environment=FLOAT32)
    without = replace(FLOAT32, cache_bytes=0, workers=1)
    anew = train(narrow_network(), task=task, folder=tmp_path / "anew", environment=without)
    assert figures(kept) == [pytest.approx(row, rel=1e-4) for row in figures(anew)]


@pytest.mark.parametrize("augmentation", ["none", "light"])
def test_the_first_epochs_learn_from_small_images(images: LabelledImages, tmp_path: Path, augmentation: str) -> None:
    network = narrow_network()
    learnt_from: list[int] = []
    judged_on: set[int] = set()

    def look(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        side = inputs[0].shape[-1]
        learnt_from.append(side) if layer.training else judged_on.add(side)

    network.features[0].register_forward_pre_hook(look)
    task = small_task(images, epochs=3, small_share=0.7, small_side=96, batch_size=20, augmentation=augmentation)
    train(network, task=task, folder=tmp_path, environment=FLOAT32)
    assert learnt_from == [96, 96, 224]
    assert judged_on == {224}


@pytest.mark.parametrize("augmentation", ["none", "light"])
def test_small_images_are_small_for_frozen_blocks_too(
    images: LabelledImages, tmp_path: Path, augmentation: str
) -> None:
    network = narrow_network()
    learnt_from: list[int] = []
    _, rest = split_at_block(network, blocks=2)
    rest[0].register_forward_pre_hook(
        lambda layer, inputs: learnt_from.append(inputs[0].shape[-1]) if layer.training else None
    )
    choices = {"frozen_blocks": 2, "small_share": 0.7, "small_side": 96, "batch_size": 20}
    train(network, task=small_task(images, augmentation=augmentation, **choices), folder=tmp_path, environment=FLOAT32)
    assert learnt_from == [24, 24, 56]


def test_patience_counts_from_the_first_epoch_at_full_size(images: LabelledImages, tmp_path: Path) -> None:
    recipe = {"epochs": 8, "patience": 1, "small_share": 0.5, "small_side": 96, "schedule": "constant"}
    task = _misleading(small_task(images, **recipe))
    history = train(narrow_network(), task=task, folder=tmp_path, environment=FLOAT32)
    assert history.best.epoch < 4
    assert len(history.epochs) == 5


def test_final_epochs_learn_from_the_validation_images_too(images: LabelledImages, tmp_path: Path) -> None:
    network = narrow_network()
    learnt_from: list[int] = []
    network.features[0].register_forward_pre_hook(
        lambda layer, inputs: learnt_from.append(len(inputs[0])) if layer.training else None
    )
    seen: dict[int, torch.Tensor] = {}
    hooks = Hooks(on_epoch=lambda result: seen.update({result.epoch: weights(network).clone()}))
    task = small_task(images, epochs=2, final_epochs=2, batch_size=50)
    history = train(network, task=task, folder=tmp_path, hooks=hooks, environment=FLOAT32)
    assert learnt_from == [20, 20, 30, 30]
    assert [each.epoch for each in history.epochs] == [1, 2, 3, 4]
    assert [each.val_accuracy is None for each in history.epochs] == [False, False, True, True]
    assert torch.equal(weights(network), seen[4])


def test_final_epochs_go_on_gently_from_the_best_epoch(images: LabelledImages, tmp_path: Path) -> None:
    seen: dict[int, torch.Tensor] = {}
    network = narrow_network()
    hooks = Hooks(on_epoch=lambda result: seen.update({result.epoch: weights(network).clone()}))
    recipe = {"epochs": 50, "patience": 2, "schedule": "constant", "learning_rate": 0.03, "final_epochs": 1}
    task = _misleading(small_task(images, **recipe))
    history = train(network, task=task, folder=tmp_path, hooks=hooks, environment=FLOAT32)
    best = history.best.epoch
    assert history.stopped_early(task.recipe)
    assert len(history.epochs) == best + 3
    assert history.epochs[-1].learning_rate == pytest.approx(0.01)
    assert torch.dist(seen[best + 3], seen[best]) < torch.dist(seen[best + 3], seen[best + 2])


@pytest.mark.parametrize("epochs", [1, 2, 20, 1000])
def test_never_all_epochs_are_small(epochs: int) -> None:
    recipe = Recipe(epochs=epochs, small_share=LIMITS["small_share"][1], small_side=128)
    assert recipe.side(epochs) == 224
    assert [recipe.side(1), recipe.side(recipe.small_epochs + 1)] == [128 if epochs > 1 else 224, 224]


def test_a_loss_beyond_all_numbers_ends_it_with_advice(images: LabelledImages, tmp_path: Path) -> None:
    task = small_task(images, learning_rate=10.0, gradient_clip=1e6, epochs=20, patience=20, schedule="constant")
    with pytest.raises(TrainingDiverged, match="lower learning rate"):
        train(narrow_network(), task=task, folder=tmp_path, environment=FLOAT32)


def test_no_epoch_is_kept_whose_validation_loss_is_no_number(images: LabelledImages, tmp_path: Path) -> None:
    # One step an epoch: what it does to the network is seen by validation first.
    choices = {"learning_rate": 10.0, "gradient_clip": 1e6, "batch_size": 20, "schedule": "constant"}
    seen: list[float | None] = []
    with pytest.raises(TrainingDiverged):
        train(
            narrow_network(),
            task=small_task(images, epochs=20, patience=20, **choices),
            folder=tmp_path,
            hooks=Hooks(on_epoch=lambda result: seen.append(result.val_loss)),
            environment=FLOAT32,
        )
    assert all(loss is not None and math.isfinite(loss) for loss in seen)


def test_the_rate_rises_and_falls_over_the_whole_run(images: LabelledImages, tmp_path: Path) -> None:
    task = small_task(images, epochs=6, patience=6, learning_rate=0.01)
    history = train(narrow_network(), task=task, folder=tmp_path, environment=FLOAT32)
    rates = [each.learning_rate for each in history.epochs]
    assert rates.index(max(rates)) in (1, 2)
    assert max(rates) <= 0.01
    assert rates[-1] < max(rates) / 5


def test_recipes_of_which_nothing_is_known_are_not_the_same_task(images: LabelledImages) -> None:
    tasks = [small_task(images), small_task(images, weight_decay=0.1), small_task(images, dropout=0.1)]
    assert len({task.fingerprint() for task in tasks}) == 3
    assert small_task(images).fingerprint() == tasks[0].fingerprint()
    assert Recipe.from_dict(tasks[0].recipe.to_dict()) == tasks[0].recipe
