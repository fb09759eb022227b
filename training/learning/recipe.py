"""What a training run does with its images: every choice, its default and its limits, in this one place."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from retrieval.network.architectures import ARCHITECTURES, INPUT_SIDE

OPTIMISERS = ("sgd", "adamw")
SCHEDULES = ("one_cycle", "constant")
AUGMENTATIONS = ("none", "light", "strong")
BLOCKS = 5


class RecipeRefused(ValueError):
    """A choice that makes no sense; the message is a sentence for people."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Gradient descent on cross-entropy, and how it is regularised and ended.

    `frozen_blocks` first blocks of convolutions keep the weights they start with. `patience` epochs at full size
    without a better validation result end the run. `learning_rate` is the highest of the schedule: "one_cycle" rises to
    it and falls to almost nothing over `epochs` (Smith and Topin 2019). Gradients longer than `gradient_clip` are
    shortened to it.
    "sgd" is the published optimiser; "adamw" (Loshchilov and Hutter 2019) needs a learning rate some 30 times smaller,
    and takes `momentum` for its first moment.
    The first `small_share` of the epochs learn from images of `small_side` pixels a side, which takes a fraction of the
    time; the rest, at full size, gets the network used to the size that it will see (Touvron et al. 2019).
    Once the best epoch is known, validation has done its work: `final_epochs` more go on from its weights, at a third
    of the learning rate, and learn from the validation images too (Goodfellow et al. 2016, section 7.8). Their result
    is kept as it is.
    Raises RecipeRefused.
    """

    architecture: Literal["published", "vgg16", "narrow"] = "published"
    frozen_blocks: int = 3
    epochs: int = 25
    patience: int = 5
    batch_size: int = 32
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    gradient_clip: float = 1.0
    dropout: float = 0.5
    label_smoothing: float = 0.0
    augmentation: Literal["none", "light", "strong"] = "none"
    flips: bool = False
    small_share: float = 0.0
    small_side: int = 128
    final_epochs: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise RecipeRefused(f"{_spoken(name)} is one of {', '.join(allowed)}.")
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            # Written so that NaN is refused.
            if not least <= value <= most:
                raise RecipeRefused(f"{_spoken(name)} is a number from {least:g} to {most:g}, not {value:g}.")

    @property
    def small_epochs(self) -> int:
        """Never all: at least the last epoch has the full size."""
        return int(self.epochs * self.small_share)

    def side(self, epoch: int) -> int:
        """Of the images of an epoch, counted from 1, in pixels."""
        return self.small_side if epoch <= self.small_epochs else INPUT_SIDE

    def stops_early(self, *, done: int, best: int) -> bool:
        """Whether patience is at its end after so many epochs, the best of which was that one."""
        # On small images the validation result says little yet: patience counts from the first epoch at full size.
        return done - max(best, self.small_epochs) >= self.patience

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of to_dict; what is missing takes its default. Raises RecipeRefused for unknown names."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise RecipeRefused(f"A recipe has no {unknown[0]}.")
        return cls(**values)


_CHOICES = {
    "architecture": tuple(ARCHITECTURES),
    "optimiser": OPTIMISERS,
    "schedule": SCHEDULES,
    "augmentation": AUGMENTATIONS,
}
LIMITS: dict[str, tuple[float, float]] = {
    "frozen_blocks": (0, BLOCKS),
    "epochs": (1, 1000),
    "patience": (1, 1000),
    "batch_size": (1, 1024),
    "learning_rate": (1e-7, 10),
    "momentum": (0, 0.999),
    "weight_decay": (0, 1),
    "gradient_clip": (1e-3, 1e6),
    "dropout": (0, 0.95),
    "label_smoothing": (0, 0.9),
    "small_share": (0, 0.95),
    "small_side": (64, 192),
    "final_epochs": (0, 1000),
    "seed": (0, 2**31 - 1),
}


# Choices that go together, as differences from the defaults.
RECIPES: dict[str, dict[str, Any]] = {
    "published": {},
    "elsewhere": {
        # Strong augmentation makes the validation result of one epoch a matter of luck until the rate has fallen.
        "patience": 8,
        "augmentation": "strong",
        "flips": True,
        "optimiser": "adamw",
        "learning_rate": 3e-4,
        "weight_decay": 0.05,
        "batch_size": 64,
        "dropout": 0.3,
        "label_smoothing": 0.1,
    },
}
# The better one for images from elsewhere, and for P@20 and mAP@20 on the same sources: docs/measurements.md.
DEFAULT_RECIPE = "elsewhere"


def _spoken(name: str) -> str:
    return name.replace("_", " ").capitalize()
