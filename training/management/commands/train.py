import time
from argparse import ArgumentParser, BooleanOptionalAction
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from retrieval.management.base import ReportingCommand, progress_bar
from retrieval.models import Dataset, JobStatus
from retrieval.network.architectures import ARCHITECTURES
from retrieval.services import jobs
from training.learning.recipe import AUGMENTATIONS, BLOCKS, DEFAULT_RECIPE, OPTIMISERS, RECIPES, SCHEDULES, Recipe
from training.models import EpochMetrics, TrainingRun
from training.results import result_of
from training.services.ending import clean_up
from training.services.running import train_run
from training.services.starting import AnotherRunUnfinished, RunRefused, complete_recipe, start_run
from training.services.words import lines_of_report

# Options that set the recipe's field of the same name: type, metavar or choices, help.
NUMBERS: dict[str, tuple[type, str]] = {
    "epochs": (int, "at most"),
    "patience": (int, "epochs at full size without a better validation result that end the training"),
    "batch_size": (int, "images a step"),
    "learning_rate": (float, "the highest of the schedule"),
    "momentum": (float, "how much of the last step goes into the next one"),
    "gradient_clip": (float, "longer gradients are shortened to it"),
    "weight_decay": (float, "pull of the weights towards zero"),
    "dropout": (float, "share of dense features that are dropped while training"),
    "label_smoothing": (float, "share of certainty that is given to the other classes"),
    "small_share": (float, "share of the epochs, the first ones, that learn from smaller images"),
    "small_side": (int, "side of the smaller images in pixels"),
    "final_epochs": (int, "more epochs, from the best one on, that learn from the validation images too"),
    "seed": (int, "of the split, the random weights and the order"),
}
CHOICES = {
    "architecture": tuple(ARCHITECTURES),
    "optimiser": OPTIMISERS,
    "schedule": SCHEDULES,
    "augmentation": AUGMENTATIONS,
}
ANOTHER = "Training run {pk} is under way. Wait for it, or cancel it on its page; then start this one."


class Command(ReportingCommand):
    help = "Train a network on datasets, judge it on images kept apart, and keep it as a model version."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        text = "the dataset to learn from; again for more"
        parser.add_argument("--dataset", action="append", required=True, metavar="NAME", help=text)
        parser.add_argument(
            "--weights",
            default="imagenet",
            help="to begin with: imagenet, none, version:N, or a safetensors or PyTorch file; default imagenet",
        )
        parser.add_argument("--caffe", action="store_true", help="the file's weights expect BGR in 0..255")
        parser.add_argument(
            "--freeze-blocks",
            dest="frozen_blocks",
            type=int,
            choices=range(BLOCKS + 1),
            help="so many of the first blocks keep the weights they begin with; default 3, with --weights none 0",
        )
        parser.add_argument(
            "--recipe",
            choices=RECIPES,
            default=DEFAULT_RECIPE,
            help=f"what the options below begin from: as published, or for images of other hospitals; {DEFAULT_RECIPE}",
        )
        for name, (kind, text) in NUMBERS.items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=f"{text}; {_begins_with(name)}")
        for name, choices in CHOICES.items():
            parser.add_argument(f"--{name}", choices=choices, help=_begins_with(name))
        text = f"mirror images left to right at random; {_begins_with('flips')}"
        parser.add_argument("--flips", action=BooleanOptionalAction, help=text)

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        run = self._claimed(options)
        with progress_bar("steps") as progress, jobs.working_on(run):
            try:
                train_run(run, progress=progress)
            except KeyboardInterrupt as stop:
                # Otherwise the trainer would take it for interrupted, and go on with it.
                raise jobs.JobCancelled from stop
        clean_up(run)
        if not run.is_finished:
            raise jobs.JobFailed(f"The trainer goes on with run {run.pk}: see its page.")
        if run.status != JobStatus.DONE or run.model_version is None:
            raise jobs.JobFailed(run.reason or "The training was cancelled.")
        return _report(run)

    def _claimed(self, options: dict[str, Any]) -> TrainingRun:
        """A new run, or the one that a killed command or trainer has left behind, to go on with."""
        chosen = [self._dataset(name) for name in options["dataset"]]
        weights = options["weights"]
        if weights not in ("imagenet", "none") and not weights.startswith("version:"):
            weights = str(Path(weights).resolve())
        names = ("frozen_blocks", *NUMBERS, *CHOICES, "flips")
        given = {name: options[name] for name in names if options[name] is not None}
        recipe = RECIPES[options["recipe"]] | given
        try:
            run = start_run(
                datasets=chosen,
                recipe=recipe,
                weights=weights,
                caffe_preprocessing=options["caffe"],
                publish=False,
            )
        except AnotherRunUnfinished as unfinished:
            complete = complete_recipe(recipe, weights=weights).to_dict()
            run = self._left_behind(unfinished.run, asked=(set(chosen), weights, complete, options["caffe"]))
        except RunRefused as error:
            raise CommandError(str(error)) from error
        claimed = jobs.claim(TrainingRun, run.pk)
        if claimed is None:
            raise CommandError(ANOTHER.format(pk=run.pk))
        return claimed

    def _left_behind(self, run: TrainingRun, *, asked: tuple[object, ...]) -> TrainingRun:
        """The unfinished run, if it is the same and nobody works on it any more. Raises CommandError."""
        # Choices that a run from before an update does not name are those that it was made with: the defaults.
        recipe = Recipe.from_dict(run.recipe).to_dict()
        same = asked == (set(run.datasets.all()), run.weights, recipe, run.caffe_preprocessing)
        beat = run.heartbeat_at
        while same and run.status == JobStatus.RUNNING and run.heartbeat_at == beat:
            # A worker that was killed holds its lease for some seconds more.
            time.sleep(1)
            jobs.sweep()
            run.refresh_from_db()
        if not same or run.status != JobStatus.QUEUED:
            raise CommandError(ANOTHER.format(pk=run.pk))
        self.stderr.write(f"Going on with training run {run.pk}, which was interrupted.")
        return run

    def _dataset(self, name: str) -> Dataset:
        try:
            return Dataset.objects.get(name=name)
        except Dataset.DoesNotExist as error:
            raise CommandError(f"There is no dataset “{name}”.") from error

    def describe(self, report: dict[str, Any]) -> None:
        count = len(report["final_epochs"])
        final = f", then {count} final {'epoch' if count == 1 else 'epochs'}" if count else ""
        self.stdout.write(
            f"Run {report['run']}: model version {report['model_version']}, {report['parameters']:,} parameters, "
            f"best of {len(report['epochs'])} epochs was epoch {report['best_epoch']}{final}."
        )
        for line in lines_of_report(report["test"]):
            self.stdout.write(line)
        self.stdout.write(f"Next: `manage.py index --model-version {report['model_version']}`, then `activate`.")


def _begins_with(name: str) -> str:
    """What an option is where it is not given: in each recipe, or in all."""
    values = {recipe: getattr(Recipe(**choices), name) for recipe, choices in RECIPES.items()}
    if len(set(values.values())) == 1:
        return f"default {values[DEFAULT_RECIPE]}"
    words = {True: "yes", False: "no"} if name == "flips" else {}
    return ", ".join(f"{recipe} {words.get(value, value)}" for recipe, value in values.items())


def _report(run: TrainingRun) -> dict[str, Any]:
    learnt, judged = ("epoch", "train_loss", "train_accuracy", "seconds"), ("val_loss", "val_accuracy")
    version = run.model_version
    evaluation = result_of(run)
    return {
        "run": run.pk,
        "model_version": version.number if version else None,
        "parameters": run.parameters,
        "epochs": [_columns(each, *learnt, *judged) for each in run.learnt_epochs],
        "final_epochs": [_columns(each, *learnt) for each in run.final_epochs],
        "stopped_early": run.stopped_early,
        "best_epoch": run.best_epoch.epoch if run.best_epoch else None,
        "test": {"model_version": version.number if version else None, **(evaluation.report if evaluation else {})},
    }


def _columns(epoch: EpochMetrics, *names: str) -> dict[str, Any]:
    return {name: getattr(epoch, name) for name in names}
