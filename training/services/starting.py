"""Asking for a training run: everything that can be refused before anything is queued is refused here."""

from collections.abc import Iterable
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Case, Count, F, Q, When

from retrieval.models import Dataset, DatasetDeletion, JobStatus, MedicalImage, ModelVersion
from retrieval.network.errors import WeightsRefused
from retrieval.network.headers import check_fit
from retrieval.services import jobs
from training.learning.recipe import Recipe, RecipeRefused
from training.models import TrainingRun

# Training, validation and test each need one.
LEAST_IMAGES = 3
ANOTHER_RUNS = "Training run {pk} is not finished yet, and one runs at a time. Wait for it, or cancel it."
CAME_BETWEEN = "Another run ended, or a dataset was deleted, at this moment. Start the run again."
BEING_DELETED = "One of the datasets is being deleted. Choose others."
VERSION, FILE = "version:", "file:"
# Networks whose layers VGG16's weights fit.
IMAGENET = ("published", "vgg16")
WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt")


class RunRefused(Exception):
    """The run cannot begin; the message says why, in words for people."""


class AnotherRunUnfinished(RunRefused):
    """One runs at a time, and `run` is not finished."""

    def __init__(self, run: TrainingRun) -> None:
        super().__init__(ANOTHER_RUNS.format(pk=run.pk))
        self.run = run


def weights_folder() -> Path:
    """Where administrators put files of weights that runs may start from."""
    return settings.DATA_DIR / "weights"


def weights_choices() -> list[tuple[str, str]]:
    """(value, words) of everything that a run can start from here."""
    folder = weights_folder()
    files = sorted(path.name for path in folder.glob("*") if path.suffix in WEIGHTS_SUFFIXES)
    versions = ModelVersion.objects.exclude(weights="")
    return [
        ("imagenet", "ImageNet (downloaded once)"),
        *((f"{VERSION}{version.number}", f"Model version {version.number}") for version in versions),
        *((f"{FILE}{name}", f"File {name}") for name in files),
        ("none", "None: begin with random weights"),
    ]


def weights_path(weights: str) -> Path | None:
    """The file that `weights` names, None for "imagenet" and "none". Raises RunRefused when it is not there."""
    if weights in ("imagenet", "none"):
        return None
    if weights.startswith(VERSION):
        number = weights.removeprefix(VERSION)
        version = ModelVersion.objects.filter(number=number).first() if number.isdigit() else None
        if version is None or not version.weights:
            raise RunRefused(f"There is no model version {number} to start from.")
        path = Path(version.weights.path)
    elif weights.startswith(FILE):
        path = weights_folder() / Path(weights.removeprefix(FILE)).name
    else:
        path = Path(weights)
    if not path.is_file():
        raise RunRefused(f"There is no file of weights {path.name}.")
    return path


def check_weights(weights: str, *, architecture: str, frozen_blocks: int) -> None:
    """Raise RunRefused where it is plain already that the network can't start from them."""
    if weights == "imagenet" and architecture not in IMAGENET:
        raise RunRefused(f"There are no ImageNet weights of the network {architecture!r}. Choose another, or none.")
    path = weights_path(weights)
    if path:
        try:
            check_fit(path, architecture=architecture, frozen_blocks=frozen_blocks)
        except WeightsRefused as refused:
            raise RunRefused(refused.reason) from refused


def start_run(
    *,
    datasets: Iterable[Dataset],
    recipe: dict[str, object],
    weights: str,
    caffe_preprocessing: bool = False,
    user: User | None = None,
    publish: bool = True,
) -> TrainingRun:
    """Add a run and send it to the trainer; `publish` false leaves it to the caller. Raises RunRefused."""
    chosen = list(datasets)
    complete = complete_recipe(recipe, weights=weights)
    check_weights(weights, architecture=complete.architecture, frozen_blocks=complete.frozen_blocks)
    check_classes(chosen)
    run = TrainingRun(
        recipe=complete.to_dict(), weights=weights, caffe_preprocessing=caffe_preprocessing, created_by=user
    )
    try:
        with transaction.atomic():
            # From here on none of them can be deleted; one that is on its way out can't be learnt from.
            rows = Dataset.objects.select_for_update(no_key=True).filter(pk__in=[each.pk for each in chosen])
            list(rows.order_by("pk").values_list("pk"))
            run.save()
            run.datasets.set(chosen)
            if DatasetDeletion.objects.unfinished().filter(dataset__in=chosen).exists():
                raise RunRefused(BEING_DELETED)
            if publish:
                jobs.enqueue(run)
    except IntegrityError as error:
        other = unfinished_run()
        raise (AnotherRunUnfinished(other) if other else RunRefused(CAME_BETWEEN)) from error
    return run


def unfinished_run() -> TrainingRun | None:
    return TrainingRun.objects.filter(status__in=(JobStatus.QUEUED, JobStatus.RUNNING)).first()


def complete_recipe(recipe: dict[str, object], *, weights: str) -> Recipe:
    """The recipe with its defaults; with random weights no block is frozen. Raises RunRefused."""
    if weights == "none":
        recipe = {"frozen_blocks": 0} | recipe
    try:
        complete = Recipe.from_dict(recipe)
    except RecipeRefused as error:
        raise RunRefused(str(error)) from error
    if weights == "none" and complete.frozen_blocks:
        raise RunRefused("Frozen blocks keep the weights they start with: without weights, freeze none.")
    return complete


def check_classes(datasets: list[Dataset]) -> None:
    """Raise RunRefused where these images can't be divided into training, validation and test."""
    if not datasets:
        raise RunRefused("Choose at least one dataset.")
    images = MedicalImage.objects.shown().filter(dataset__in=datasets).exclude(label="")
    counted = (
        images.order_by()
        .annotate(owner=_owner())
        .values("label")
        .annotate(patients=Count("owner", distinct=True), alone=Count("pk", filter=Q(owner=None)))
    )
    classes = {each["label"]: each for each in counted}
    if not classes:
        raise RunRefused("None of these images has a label: there is nothing to learn. Give them labels first.")
    if len(classes) == 1:
        raise RunRefused(f"All images are of class “{next(iter(classes))}”; training needs at least 2 classes.")
    few = sorted(name for name, each in classes.items() if each["patients"] + each["alone"] < LEAST_IMAGES)
    if few:
        names = ", ".join(f"“{name}”" for name in few)
        raise RunRefused(
            f"Too few images or patients in class {names}: training, validation and test need one each, so at least "
            f"{LEAST_IMAGES}. Add images, or give these another label."
        )


def _owner() -> Case:
    """What the images of one patient have in common, as far as one image tells; null for one that stands alone."""
    return Case(
        When(~Q(patient_key=""), then=F("patient_key")),
        When(~Q(study_instance_uid=""), then=F("study_instance_uid")),
        When(~Q(series_instance_uid="") | Q(frame_count__gt=1), then=F("stack")),
        default=None,
    )
