"""The form that starts a training run: every choice of a recipe, each with a line of help."""

import re
from dataclasses import fields
from typing import Any

from django import forms
from django.db.models import Exists, Max, OuterRef

from retrieval.models import Dataset, MedicalImage
from retrieval.network.architectures import ARCHITECTURES
from training.learning.recipe import AUGMENTATIONS, BLOCKS, LIMITS, OPTIMISERS, SCHEDULES, Recipe
from training.models import TrainingRun
from training.services.starting import FILE, VERSION, RunRefused, check_classes, weights_choices

DEFAULTS = Recipe()
WORDS = {
    "published": "Published network, 151 million weights",
    "vgg16": "VGG16, 134 million weights",
    "narrow": "Narrow network, to try things out",
    "sgd": "SGD: plain descent with momentum, as published",
    "adamw": "AdamW: a step of its own for each weight",
    "one_cycle": "One cycle: rises, then falls to almost nothing",
    "constant": "Constant",
    "none": "None: every epoch sees the same images",
    "light": "Light: small shifts, scales and brightness",
    "strong": "Strong: hides the device it came from",
}
RECIPE_WORDS = {"published": "As published", "elsewhere": "For images from elsewhere"}
FROZEN_NOTHING = "Without weights there is nothing to keep: choose 0 frozen blocks, or other weights."


def _number(name: str, *, label: str, help_text: str) -> forms.IntegerField | forms.FloatField:
    least, most = LIMITS[name]
    default = getattr(DEFAULTS, name)
    kind: Any = forms.IntegerField if isinstance(default, int) else forms.FloatField
    sentence = f"A number from {_written(least)} to {_written(most)}."
    messages = dict.fromkeys(("required", "invalid", "min_value", "max_value"), sentence)
    return kind(
        label=label, help_text=help_text, min_value=least, max_value=most, initial=default, error_messages=messages
    )


def _written(limit: float) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"


def _choice(name: str, values: tuple[str, ...], *, label: str, help_text: str) -> forms.ChoiceField:
    choices = [(value, WORDS.get(value, value)) for value in values]
    return forms.ChoiceField(choices=choices, label=label, help_text=help_text, initial=getattr(DEFAULTS, name))


def _weights() -> list[tuple[str, str]]:
    """What can be started from here, and the files that were started from in a shell."""
    choices = weights_choices()
    files = TrainingRun.objects.filter(weights__contains="/").order_by("weights")
    former = files.values_list("weights").annotate(last=Max("pk"))
    return [*choices, *((path, f"File {path.rpartition('/')[2]}, as in run {last}") for path, last in former)]


def _gone(weights: object) -> str:
    """What a version or a file is called that is no choice any more; empty for all others."""
    kind, _, name = str(weights).partition(":")
    if f"{kind}:" not in (VERSION, FILE) or weights in dict(_weights()):
        return ""
    return f"Model version {name}" if f"{kind}:" == VERSION else f"File {name}"


class StartForm(forms.Form):
    """Names of fields are those of a Recipe, but for datasets, weights and caffe_preprocessing."""

    datasets = forms.ModelMultipleChoiceField(
        queryset=Dataset.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        help_text="The images to learn from. Labels are the classes; images without a label take no part.",
        error_messages={"required": "Choose at least one dataset."},
    )
    weights = forms.ChoiceField(
        label="Start from",
        choices=_weights,
        help_text="Weights that already know edges and shapes: training is shorter and needs fewer images.",
    )
    architecture = _choice(
        "architecture",
        tuple(ARCHITECTURES),
        label="Network",
        help_text="The published network is VGG16 with one more convolution and one more dense layer.",
    )
    frozen_blocks = forms.TypedChoiceField(
        label="Frozen blocks",
        coerce=int,
        choices=[(count, f"{count} of {BLOCKS}") for count in range(BLOCKS + 1)],
        initial=DEFAULTS.frozen_blocks,
        help_text="So many first blocks keep the weights they start with: much faster. 0 trains the whole network.",
    )
    augmentation = _choice(
        "augmentation",
        AUGMENTATIONS,
        label="Augmentation",
        help_text="Random changes of the training images. Strong also changes framing, resolution, blur, compression, "
        "window, contrast and noise: better for images from other hospitals, and slower.",
    )
    flips = forms.BooleanField(
        label="Mirror images left to right",
        required=False,
        initial=DEFAULTS.flips,
        help_text="Only with augmentation. More to learn from, but left and right of a body are told apart less.",
    )
    small_share = _number(
        "small_share",
        label="Share of epochs with small images",
        help_text="So much of the epochs, from the first on, learns from smaller images: faster, and less accurate. "
        "The others have the full size, and from them patience counts. 0 for none.",
    )
    small_side = _number(
        "small_side",
        label="Side of the small images",
        help_text="In pixels. 128 is a third of the work of the full 224.",
    )
    epochs = _number("epochs", label="Epochs at most", help_text="An epoch shows every training image once.")
    patience = _number(
        "patience",
        label="Patience",
        help_text="Training ends after so many epochs at full size without a better validation result.",
    )
    final_epochs = _number(
        "final_epochs",
        label="Final epochs",
        help_text="So many more go on from the best epoch with all images but those of the test, gently. 0 for none.",
    )
    batch_size = _number(
        "batch_size",
        label="Batch size",
        help_text="Images seen at once. Smaller takes less memory, larger is steadier.",
    )
    optimiser = _choice(
        "optimiser",
        OPTIMISERS,
        label="Optimiser",
        help_text="How weights are changed. AdamW learns strongly augmented images in fewer epochs.",
    )
    learning_rate = _number(
        "learning_rate",
        label="Learning rate",
        help_text="The longest step: about 0.01 with SGD, 0.0003 with AdamW. Ten times less if the loss jumps about.",
    )
    schedule = _choice(
        "schedule", SCHEDULES, label="Schedule", help_text="How the learning rate changes from epoch to epoch."
    )
    momentum = _number("momentum", label="Momentum", help_text="How much of the last step goes into the next one.")
    dropout = _number(
        "dropout",
        label="Dropout",
        help_text="The share of features left out at random while training, so that none is relied on alone.",
    )
    weight_decay = _number("weight_decay", label="Weight decay", help_text="Keeps weights small; against overfitting.")
    label_smoothing = _number(
        "label_smoothing",
        label="Label smoothing",
        help_text="Takes certainty from the labels; helps if some are wrong.",
    )
    gradient_clip = _number(
        "gradient_clip", label="Gradient clip", help_text="Longer steps than this are shortened: a brake against jumps."
    )
    seed = _number(
        "seed", label="Seed", help_text="Same seed, same images: same split and same start. Change it to repeat a run."
    )
    caffe_preprocessing = forms.BooleanField(
        label="The weights come from Caffe",
        required=False,
        help_text="Only for files of weights from elsewhere: they expect blue, green, red in 0 to 255.",
    )
    first = ("weights", "architecture", "frozen_blocks")
    # What no recipe is about: it stays as it was chosen when another one is.
    beside_recipe = (*first, "caffe_preprocessing", "seed")

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        images = MedicalImage.objects.shown().filter(dataset=OuterRef("pk"))
        datasets = Dataset.objects.with_counts(None).filter(Exists(images))
        self.fields["datasets"].queryset = datasets  # type: ignore[attr-defined]
        chosen = self["weights"].value()
        if gone := _gone(chosen):
            # Without it the browser would choose something else in silence.
            self.fields["weights"].choices = [(chosen, f"{gone}, not there any more"), *_weights()]  # type: ignore[attr-defined]

    @property
    def first_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.first]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in ("datasets", *self.first)]

    @property
    def has_more_errors(self) -> bool:
        return any(field.errors for field in self.more_fields)

    def clean_weights(self) -> str:
        weights = str(self.cleaned_data["weights"])
        if gone := _gone(weights):
            raise forms.ValidationError(f"{gone} is not there any more. Choose what else to start from.")
        return weights

    def clean_datasets(self) -> list[Dataset]:
        datasets = list(self.cleaned_data["datasets"])
        try:
            check_classes(datasets)
        except RunRefused as refused:
            raise forms.ValidationError(str(refused)) from refused
        return datasets

    def clean(self) -> None:
        if self.cleaned_data.get("weights") == "none" and self.cleaned_data.get("frozen_blocks"):
            self.add_error("frozen_blocks", FROZEN_NOTHING)

    def recipe(self) -> dict[str, object]:
        return {field.name: self.cleaned_data[field.name] for field in fields(Recipe)}


def initial_from(run: TrainingRun) -> dict[str, object]:
    """The form as it was filled in for a run."""
    chosen = {"weights": run.weights, "caffe_preprocessing": run.caffe_preprocessing}
    return {**run.recipe, **chosen, "datasets": [dataset.pk for dataset in run.datasets.all()]}


def described(run: TrainingRun) -> list[tuple[str, str]]:
    """(name, value) of every setting of a run, in the words of the form."""
    names = {"weights": run.weights, **run.recipe, "caffe_preprocessing": run.caffe_preprocessing}
    known = [name for name in StartForm.base_fields if name in names]
    return [(str(StartForm.base_fields[name].label), _in_words(name, names[name])) for name in known]


def _in_words(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "weights":
        return dict(_weights()).get(str(value)) or _gone(value) or str(value)
    return re.split("[:,]", WORDS.get(str(value), str(value)))[0]
