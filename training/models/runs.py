"""Training runs: what was asked for, how the images were split, and one row for each epoch."""

from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q, Value
from django.utils import timezone

from retrieval.models import Dataset, Job, JobStatus, MedicalImage, ModelVersion
from retrieval.models.jobs import UNFINISHED
from retrieval.network.architectures import INPUT_SIDE
from training.learning.recipe import Recipe

# The first ones wait for images that are still being decoded.
_TELLING_BATCHES = 3


class TrainingRun(Job):
    """One training of a network (status: see Job). Only one is unfinished at any time, which the database sees to.

    `done` and `total` count within the `phase`: images while preparing (validation and training part one after the
    other), projecting and judging, batches while an epoch runs.
    """

    task_name: ClassVar[str] = "training.tasks.train_task"
    queue: ClassVar[str] = "training"
    # Each attempt goes on after the last finished epoch: interruptions cost little, and hosts are restarted.
    max_attempts: ClassVar[int] = 10

    class Phase(models.TextChoices):
        WAITING = "", "waiting for the trainer"
        READING = "reading", "reading the images"
        PREPARING = "preparing", "computing the frozen blocks"
        TRAINING = "training", "training"
        VALIDATING = "validating", "validating"
        PROJECTING = "projecting", "fitting the projection"
        STORING = "storing", "storing the model version"
        JUDGING = "judging", "judging on the test images"

    datasets = models.ManyToManyField(Dataset, related_name="training_runs")
    recipe = models.JSONField(help_text="The choices of training/learning/recipe.py.")
    weights = models.CharField(max_length=500, help_text="imagenet, none, version:N, or the path of a file.")
    caffe_preprocessing = models.BooleanField(
        default=False, help_text="The weights file expects blue, green, red in 0 to 255, as networks from Caffe do."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="training_runs"
    )
    phase = models.CharField(max_length=12, choices=Phase.choices, default=Phase.WAITING, blank=True, editable=False)
    epoch_began_at = models.DateTimeField(null=True, editable=False)
    classes = models.JSONField(default=list, editable=False, help_text="The network's outputs, in order.")
    left_out = models.JSONField(
        default=dict, editable=False, help_text="Images that take no part: unlabelled, unreadable."
    )
    weights_report = models.TextField(blank=True, editable=False)
    parameters = models.PositiveBigIntegerField(null=True, editable=False)
    model_version = models.OneToOneField(
        ModelVersion, null=True, blank=True, on_delete=models.SET_NULL, related_name="training_run", editable=False
    )

    class Meta(Job.Meta):
        ordering = ["-pk"]
        constraints = [
            *Job.Meta.constraints,
            models.UniqueConstraint(Value(1), condition=Q(status__in=UNFINISHED), name="trainingrun_one_unfinished"),
        ]

    def __str__(self) -> str:
        return f"training run {self.pk}"

    @property
    def is_in_epoch(self) -> bool:
        """Whether `done` and `total` count batches of an epoch."""
        return self.phase in (self.Phase.TRAINING, self.Phase.VALIDATING)

    @property
    def seconds_left(self) -> float | None:
        """To the last epoch, if none stops it earlier; None while too little is done to tell."""
        learnt, final = self.learnt_epochs, self.final_epochs
        share = self.done / self.total if self.phase == self.Phase.TRAINING and self.total else 0
        # Validation is the short end of an epoch: what is left does not jump back by a whole one.
        share = 1 if self.phase == self.Phase.VALIDATING else share
        seconds = [epoch.seconds for epoch in learnt] or self._first_epoch(share)
        if self.is_finished or not seconds:
            return None
        recipe = Recipe.from_dict(self.recipe)
        sides = [recipe.side(epoch) for epoch in range(1, recipe.epochs + 1)]
        sides_left = [] if self.is_in_final_epochs else sides[len(learnt) :]
        sides_left += [INPUT_SIDE] * (recipe.final_epochs - len(final))
        expected = [_expected(seconds, sides=sides, side=side) for side in sides_left]
        return sum(expected) - share * sum(expected[:1])

    def _first_epoch(self, share: float) -> list[float]:
        """What the first epoch will take, by its share that is done; nothing before that says something."""
        # On a slow machine it takes the better part of an hour.
        if self.epoch_began_at is None or share == 0 or (share < 1 and self.done < _TELLING_BATCHES):
            return []
        return [(timezone.now() - self.epoch_began_at).total_seconds() / share]

    @property
    def learnt_epochs(self) -> "list[EpochMetrics]":
        """Those that were validated, which looked for the best weights."""
        return [epoch for epoch in self.epochs.all() if not epoch.is_final]

    @property
    def final_epochs(self) -> "list[EpochMetrics]":
        return [epoch for epoch in self.epochs.all() if epoch.is_final]

    @property
    def is_in_final_epochs(self) -> bool:
        """Whether the best epoch is known, and what is left is to learn from the validation images too."""
        recipe, best, done = Recipe.from_dict(self.recipe), self.best_epoch, len(self.learnt_epochs)
        is_over = done >= recipe.epochs or (best is not None and recipe.stops_early(done=done, best=best.epoch))
        return recipe.final_epochs > 0 and (is_over or len(self.final_epochs) > 0)

    @property
    def most_epochs(self) -> int:
        """With the final ones, if nothing ends it earlier."""
        recipe = Recipe.from_dict(self.recipe)
        return recipe.epochs + recipe.final_epochs

    @property
    def best_epoch(self) -> "EpochMetrics | None":
        """The one whose weights were kept, or gone on from: the highest validation accuracy, and among equals the
        lowest loss.
        """
        return max(self.learnt_epochs, key=lambda each: (each.val_accuracy, -(each.val_loss or 0)), default=None)

    @property
    def stopped_early(self) -> bool:
        """Whether patience, or the time allowed, ended it before all epochs were done."""
        return self.status == JobStatus.DONE and len(self.learnt_epochs) < self.recipe["epochs"]

    @property
    def ran_out_of_time(self) -> bool:
        """Whether it stopped early although something better might have come."""
        best, done = self.best_epoch, len(self.learnt_epochs)
        recipe = Recipe.from_dict(self.recipe)
        return self.stopped_early and best is not None and not recipe.stops_early(done=done, best=best.epoch)

    @property
    def duration(self) -> timedelta:
        """Since it was asked for, with all its attempts."""
        return (self.finished_at or timezone.now()) - self.queued_at


def _expected(seconds: list[float], *, sides: list[int], side: int) -> float:
    """Of an epoch with images of that side: the mean of those that are done, or before there is one by their pixels."""
    same = [took for took, each in zip(seconds, sides, strict=False) if each == side]
    if same:
        return sum(same) / len(same)
    return sum(seconds) * side**2 / sum(each**2 for each in sides[: len(seconds)])


class EpochMetrics(models.Model):
    """One epoch of a run, counted from 1; a final one learns from the validation images too and has no validation."""

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="epochs")
    epoch = models.PositiveIntegerField()
    train_loss = models.FloatField()
    train_accuracy = models.FloatField()
    val_loss = models.FloatField(null=True)
    val_accuracy = models.FloatField(null=True)
    learning_rate = models.FloatField()
    seconds = models.FloatField()

    class Meta:
        ordering = ["epoch"]
        constraints = [models.UniqueConstraint(fields=["run", "epoch"], name="epochmetrics_once_an_epoch")]

    def __str__(self) -> str:
        return f"epoch {self.epoch} of run {self.run_id}"

    @property
    def is_final(self) -> bool:
        """Whether the validation images were learnt from too, which leaves nothing to validate with."""
        return self.val_accuracy is None


class SplitImage(models.Model):
    """An image's part in a run. What a version learnt from can be told for as long as the image exists."""

    class Part(models.TextChoices):
        TRAINING = "training", "training"
        VALIDATION = "validation", "validation"
        TEST = "test", "test"

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="split")
    image = models.ForeignKey(MedicalImage, on_delete=models.CASCADE, related_name="splits")
    part = models.CharField(max_length=10, choices=Part.choices)
    label = models.CharField(max_length=100, help_text="As it was when the run began: labels may be changed later.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "image"], name="splitimage_once_a_run")]

    def __str__(self) -> str:
        return f"image {self.image_id} in run {self.run_id}"
