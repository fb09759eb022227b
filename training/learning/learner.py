"""A network while it learns: the optimiser, its schedule, one step, and the files that all of it goes on from."""

import math
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR

from retrieval.network.preprocessing import Preprocessing
from retrieval.network.vgg import VGG, split_at_block
from training.learning.checkpoint import load_state, load_tensors, save_tensors
from training.learning.recipe import Recipe

_CHECKPOINT = "checkpoint.safetensors"
_OF = " of "


class TrainingDiverged(Exception):
    """The loss is no number any more."""

    def __init__(self) -> None:
        super().__init__("The loss grew beyond all numbers. Start again with a lower learning rate.")


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def processes() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


@dataclass(kw_only=True)
class Sums:
    """What is summed over images."""

    loss: float = 0.0
    correct: int = 0
    images: int = 0

    def add(self, *, loss: float, correct: int, images: int) -> None:
        self.loss += loss
        self.correct += correct
        self.images += images

    def of_all_processes(self, *, device: torch.device) -> "Sums":
        if processes() == 1:
            return self
        # Gloo and NCCL both add float64.
        values = torch.tensor([self.loss, self.correct, self.images], dtype=torch.float64, device=device)
        distributed.all_reduce(values)
        loss, correct, images = values.tolist()
        return Sums(loss=loss, correct=round(correct), images=round(images))


def checkpoint_state(folder: Path, *, task: str) -> dict[str, Any]:
    """The state of the checkpoint in `folder`, or {} where `Learner.resume` could not go on from it."""
    return _checkpoint(folder, task=task)[1]


def checkpoint_preprocessing(folder: Path) -> Preprocessing | None:
    """What the checkpoint in `folder` was learnt with; None where there is none, or one of before that was kept."""
    try:
        return Preprocessing.from_dict(load_state(folder / _CHECKPOINT)["preprocessing"])
    except (KeyError, ValueError):
        return None


def _checkpoint(folder: Path, *, task: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, state = load_tensors(folder / _CHECKPOINT) or ({}, {})
    if state.get("task") != task or load_tensors(folder / _best(state["best"])) is None:
        return {}, {}
    return tensors, state


class Learner:
    """The trainable part of `network`, from the activations of its frozen blocks to the logits, on one device.

    `steps` is the number of batches of the whole run. Computes in `dtype` under autocast, with weights in float32.
    """

    def __init__(self, network: VGG, *, recipe: Recipe, steps: int, device: torch.device, dtype: torch.dtype) -> None:
        self._network, self._recipe, self.device, self._dtype = network, recipe, device, dtype
        network.to(device).train()
        for layer in network.classifier:
            if isinstance(layer, nn.Dropout):
                layer.p = recipe.dropout
        self.frozen, trainable = split_at_block(network, blocks=recipe.frozen_blocks)
        self.frozen.requires_grad_(requires_grad=False)
        trainable.to(memory_format=torch.channels_last)
        self._trainable = DistributedDataParallel(trainable) if processes() > 1 else trainable
        self._parameters = {name: each for name, each in network.named_parameters() if each.requires_grad}
        self._optimiser = _optimiser(self._parameters.values(), recipe=recipe)
        self._schedule = _schedule(self._optimiser, recipe=recipe, steps=steps)

    @property
    def learning_rate(self) -> float:
        return float(self._schedule.get_last_lr()[0])

    def step(self, inputs: Tensor, *, targets: np.ndarray, whole: int, sums: Sums) -> None:
        """Learn from this process's share of a batch of `whole` images. Raises TrainingDiverged."""
        self._trainable.train()
        wanted = torch.from_numpy(targets).to(self.device)
        logits = self._logits(inputs)
        loss, plain = _losses(logits, wanted, smoothing=self._recipe.label_smoothing)
        if not math.isfinite(loss.item()):
            raise TrainingDiverged
        self._optimiser.zero_grad(set_to_none=True)
        # Gradients are averaged over processes: scaled so that the average is that of the whole batch.
        (loss * (processes() / whole)).backward()
        nn.utils.clip_grad_norm_(self._parameters.values(), self._recipe.gradient_clip)
        self._optimiser.step()
        self._schedule.step()
        sums.add(loss=plain.item(), correct=_correct(logits, wanted), images=len(targets))

    def judge(self, inputs: Tensor, *, targets: np.ndarray, sums: Sums) -> None:
        """Add what the network says of images that it does not learn from. Raises TrainingDiverged."""
        self._trainable.eval()
        wanted = torch.from_numpy(targets).to(self.device)
        with torch.no_grad():
            logits = self._logits(inputs)
            loss = functional.cross_entropy(logits, wanted, reduction="sum").item()
        if not math.isfinite(loss):
            raise TrainingDiverged
        sums.add(loss=loss, correct=_correct(logits, wanted), images=len(targets))

    def _logits(self, inputs: Tensor) -> Tensor:
        reduced = self._dtype != torch.float32
        with torch.autocast(self.device.type, self._dtype) if reduced else nullcontext():
            return self._trainable(inputs).float()

    def save(self, folder: Path, *, state: dict[str, Any], best: int, is_best: bool) -> None:
        """Write what `resume` reads. The weights that a checkpoint names are there before it and as long as it."""
        if is_best:
            save_tensors(folder / _best(best), tensors=self._weights(), state={})
        # One tensor or more for each parameter: momentum, moments, the number of steps.
        buffers = {
            f"{kind}{_OF}{name}": buffer.contiguous()
            for name, each in self._parameters.items()
            for kind, buffer in self._optimiser.state[each].items()
        }
        schedule = self._schedule.state_dict()
        save_tensors(
            folder / _CHECKPOINT, tensors=self._weights() | buffers, state=state | {"schedule": schedule, "best": best}
        )
        for other in set(folder.glob(_best("*"))) - {folder / _best(best)}:
            other.unlink()

    def resume(self, folder: Path, *, task: str) -> dict[str, Any]:
        """Go on from the checkpoint in `folder`; its state, or {} where there is none of this task."""
        tensors, state = _checkpoint(folder, task=task)
        if not state:
            return {}
        self._set_weights(tensors)
        for key, tensor in tensors.items():
            kind, found, name = key.partition(_OF)
            if found:
                each = self._parameters[name]
                # In the parameter's memory layout, and all of it on its device: fused kernels read the steps there.
                like = each if tensor.shape == each.shape else tensor
                self._optimiser.state[each][kind] = torch.empty_like(like, device=each.device).copy_(tensor)
        self._schedule.load_state_dict(state["schedule"])
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate
        return state

    def finish(self, folder: Path, *, best: int) -> None:
        """Leave the network with its best weights and no gradients, on the CPU, in evaluation mode."""
        if processes() > 1:
            distributed.barrier()
        kept = load_tensors(folder / _best(best))
        if kept is None:
            raise OSError(f"The weights of the best epoch are missing or damaged: {_best(best)}.")
        self._set_weights(kept[0])
        self._network.cpu().eval().zero_grad(set_to_none=True)

    def _weights(self) -> dict[str, Tensor]:
        """Those of the frozen blocks too: what the network began with may be gone, or another file by then."""
        return {name: each.detach().contiguous() for name, each in self._network.named_parameters()}

    def _set_weights(self, tensors: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, each in self._network.named_parameters():
                # Checkpoints of before an update hold no frozen ones.
                if name in tensors:
                    each.copy_(tensors[name])


def _optimiser(parameters: Iterable[nn.Parameter], *, recipe: Recipe) -> torch.optim.Optimizer:
    """Fused: one pass over the parameters instead of three. They are 600 MB in the published network."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, betas=(recipe.momentum, 0.999), weight_decay=decay, fused=True)
    return torch.optim.SGD(parameters, lr=rate, momentum=recipe.momentum, weight_decay=decay, fused=True)


def _schedule(optimiser: torch.optim.Optimizer, *, recipe: Recipe, steps: int) -> LRScheduler:
    if recipe.schedule == "constant":
        return ConstantLR(optimiser, factor=1.0)
    # One step more than there are: the schedule is stepped after the last batch too.
    return OneCycleLR(optimiser, max_lr=recipe.learning_rate, total_steps=steps + 1, cycle_momentum=False)


def _best(epoch: object) -> str:
    """The name of the file with the weights of that epoch."""
    return f"best-{epoch}.safetensors"


def _losses(logits: Tensor, wanted: Tensor, *, smoothing: float) -> tuple[Tensor, Tensor]:
    """The sum of the cross-entropies with smoothed labels (Szegedy et al. 2016), to learn from, and with plain ones.

    Plain ones are what validation tells; smoothed ones never fall near 0.
    """
    logs = functional.log_softmax(logits, dim=1)
    plain = functional.nll_loss(logs, wanted, reduction="sum")
    if not smoothing:
        return plain, plain
    return (1 - smoothing) * plain - smoothing * logs.mean(dim=1).sum(), plain


def _correct(logits: Tensor, wanted: Tensor) -> int:
    return int((logits.argmax(dim=1) == wanted).sum())
