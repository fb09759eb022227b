"""The work of a training run, from its images to a model version that is judged and ready.

Every step leaves behind what the next attempt needs: the split in rows, a checkpoint after each epoch in the run's
folder, the model version. A worker that is killed costs at most the epoch it was in.
"""

from __future__ import annotations

import copy
import logging
import os
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from retrieval.models import ModelVersion
from retrieval.services import jobs
from retrieval.services.indexing import create_index_job
from retrieval.services.sampling import sample
from retrieval.services.versions import store_version
from retrieval.storage import work_folder
from training.models import EpochMetrics, SplitImage, TrainingRun
from training.services.ending import remove_left_checkpoints, run_folder
from training.services.images import Parts, RunImage, images_of
from training.services.judging import judge_in_run, keep_figures
from training.services.reasons import EPOCHS_LOST, spoken_reasons
from training.services.starting import RunRefused, weights_path
from training.services.watching import Watch

if TYPE_CHECKING:
    from retrieval.network.preprocessing import Preprocessing
    from retrieval.network.vgg import VGG
    from training.learning.data import LabelledImages
    from training.learning.loop import EpochResult, Hooks, Task
    from training.learning.recipe import Recipe

logger = logging.getLogger(__name__)
Phase, Part = TrainingRun.Phase, SplitImage.Part
# Enough to see what reaches a layer.
_SAMPLE = 32


def train_run(run: TrainingRun, *, progress: jobs.Progress = jobs.silent) -> None:
    """Do the work of a claimed run, or what is left of it. Raises JobFailed with the reason, JobCancelled.

    Once either is stored in the run's row, `clean_up` removes what is left.
    """
    watch = Watch(run, before=_learnt_before(run), progress=progress)
    remove_left_checkpoints(but=run)
    with spoken_reasons():
        parts = images_of(run, on_progress=lambda done, total: watch(done, total, phase=Phase.READING))
        if run.model_version is None:
            with spoken_reasons(low_disk=EPOCHS_LOST):
                _train(run, parts=parts, watch=watch)
        report = _judge(run, parts=parts, watch=watch)
    _finish(run, report=report)


def _learnt_before(run: TrainingRun) -> timedelta:
    """What the epochs of earlier attempts have taken."""
    return timedelta(seconds=run.epochs.aggregate(seconds=Sum("seconds"))["seconds"] or 0)


def _judge(run: TrainingRun, *, parts: Parts, watch: Watch) -> dict[str, Any]:
    """Judge the new version and return its report; then the active one on the same test images, to compare them."""
    jobs.beat(run, phase=Phase.JUDGING)
    version, active = run.model_version, ModelVersion.objects.active()
    if version is None:
        raise jobs.ClaimLost(f"training run {run.pk}: its model version was deleted")
    report = judge_in_run(run, version=version, parts=parts, watch=watch).report
    if active and active != version:
        try:
            with spoken_reasons():
                judge_in_run(run, version=active, parts=parts, watch=watch)
        except jobs.JobFailed as error:
            # A broken version in service is no reason to lose its successor.
            logger.warning("model version %s not judged beside %s: %s", active.pk, version.pk, error)
    return report


@transaction.atomic
def _finish(run: TrainingRun, *, report: dict[str, Any]) -> None:
    """The run is done, and the new version is being embedded beside the active one."""
    version = run.model_version
    if version is None:
        raise jobs.ClaimLost(f"training run {run.pk}: its model version was deleted")
    keep_figures(version, report=report)
    create_index_job(version=version, publish=True)
    jobs.finish(run, phase=Phase.WAITING)


def _train(run: TrainingRun, *, parts: Parts, watch: Watch) -> None:
    from training.learning.loop import Environment, train

    network, task = _begun(run, parts=parts)
    jobs.beat(run, parameters=sum(each.numel() for each in network.parameters()))
    environment = Environment(cache_bytes=settings.TRAINING_CACHE_BYTES, workers=_workers())
    train(network, task=task, folder=run_folder(run), hooks=_hooks(run, watch=watch), environment=environment)
    _store(run, network=network, preprocessing=task.preprocessing, parts=parts, watch=watch)


def _begun(run: TrainingRun, *, parts: Parts) -> tuple[VGG, Task]:
    """The network, and what it is to learn. A checkpoint brings all weights with it: those that the run began with are
    not read again, and may be gone.
    """
    from retrieval.network.vgg import build_network
    from training.learning.loop import Task, resumed_task
    from training.learning.recipe import Recipe

    recipe = Recipe.from_dict(run.recipe)
    training, validation = (_labelled(parts[part], classes=run.classes) for part in (Part.TRAINING, Part.VALIDATION))
    task = resumed_task(run_folder(run), recipe=recipe, training=training, validation=validation)
    if task:
        return build_network(recipe.architecture, classes=len(run.classes), seed=recipe.seed), task
    network, preprocessing = _network(run, recipe=recipe, training=parts[Part.TRAINING])
    return network, Task(recipe=recipe, preprocessing=preprocessing, training=training, validation=validation)


def _labelled(images: list[RunImage], *, classes: list[str]) -> LabelledImages:
    import numpy as np

    from training.learning.data import LabelledImages

    targets = np.array([classes.index(image.label) for image in images], dtype=np.int64)
    return LabelledImages(paths=[image.path for image in images], targets=targets)


def _workers() -> int:
    """Processes that decode and augment beside the network's own threads; few, since those want the processor too."""
    return max(1, min(4, (os.cpu_count() or 1) // 2))


def _hooks(run: TrainingRun, *, watch: Watch) -> Hooks:
    from training.learning.loop import Hooks

    def on_resume(results: list[EpochResult]) -> None:
        # What the last attempt could not tell any more, and nothing that it told of a checkpoint that is gone.
        run.epochs.filter(epoch__gt=len(results)).delete()
        for result in results:
            on_epoch(result)

    def on_epoch(result: EpochResult) -> None:
        values = asdict(result)
        EpochMetrics.objects.update_or_create(run=run, epoch=values.pop("epoch"), defaults=values)

    def on_progress(phase: str, done: int, total: int) -> None:
        begins = phase == Phase.TRAINING and done == 0
        watch(done, total, phase=Phase(phase), **({"epoch_began_at": timezone.now()} if begins else {}))

    return Hooks(
        on_progress=on_progress,
        on_resume=on_resume,
        on_epoch=on_epoch,
        has_time=watch.has_time,
    )


def _network(run: TrainingRun, *, recipe: Recipe, training: list[RunImage]) -> tuple[VGG, Preprocessing]:
    """The network with the weights that the run begins with, its head fresh. Raises NetworkError, JobFailed."""
    from retrieval.network.preprocessing import CAFFE, TORCHVISION, preprocessing_for
    from retrieval.network.vgg import build_network, weighted_layers
    from retrieval.network.weights import initial_weights

    try:
        source = weights_path(run.weights) or run.weights
    except RunRefused as error:
        raise jobs.JobFailed(str(error)) from error
    network = build_network(recipe.architecture, classes=len(run.classes), seed=recipe.seed)
    head = copy.deepcopy(network.classifier[-1])
    report = initial_weights(network, source=source)  # type: ignore[arg-type]
    # What the outputs of other weights mean is not known, even where there are as many of them.
    network.classifier[-1] = head
    *_, last = weighted_layers(network)
    report = report.with_fresh(last)
    preprocessing = preprocessing_for(source, otherwise=CAFFE if run.caffe_preprocessing else TORCHVISION)
    _check_frozen(network, blocks=recipe.frozen_blocks, fresh=report.fresh_layers())
    _scale(network, preprocessing=preprocessing, images=sample(training, most=_SAMPLE))
    jobs.beat(run, weights_report=report.summary())
    return network, preprocessing


def _check_frozen(network: VGG, *, blocks: int, fresh: set[str]) -> None:
    from retrieval.network.vgg import split_at_block

    frozen, _ = split_at_block(network, blocks=blocks)
    names = {id(layer): name for name, layer in network.named_modules()}
    missing = [name for layer in frozen if (name := names[id(layer)]) in fresh]
    if missing:
        raise jobs.JobFailed(
            f"The first {blocks} blocks cannot be frozen: the weights do not hold all of their layers ({missing[0]} is "
            "the first that is missing). Freeze fewer blocks, or choose other weights."
        )


def _scale(network: VGG, *, preprocessing: Preprocessing, images: list[RunImage]) -> None:
    import numpy as np

    from retrieval.network.preprocessing import load_image, prepare
    from training.learning.scaling import scale_layers

    pixels = np.stack([load_image(image.path, preprocessing=preprocessing) for image in images])
    scale_layers(network, sample=prepare(pixels, preprocessing=preprocessing))


def _store(run: TrainingRun, *, network: VGG, preprocessing: Preprocessing, parts: Parts, watch: Watch) -> None:
    """Fit the projection, save everything as one file, and add the model version.

    Validation images help to choose its directions: the network has not learnt them by heart. How images of one class
    differ is told by the training images alone: with the others too, images of other hospitals are found less often
    (docs/measurements.md). The test part stays untouched.
    """
    import numpy as np

    from retrieval.network.embedder import Embedder
    from retrieval.network.projection import ENOUGH_IMAGES, fit_projection
    from retrieval.network.version_file import save_version
    from training.learning.judging import compute_features

    embedder = Embedder(network, preprocessing=preprocessing, projection=None)
    learnt = len(parts[Part.TRAINING]) + (len(parts[Part.VALIDATION]) if run.final_epochs else 0)
    images = sample(parts[Part.TRAINING] + parts[Part.VALIDATION], most=ENOUGH_IMAGES)
    paths = [image.path for image in images]
    features = compute_features(
        embedder, paths, on_progress=lambda done: watch(done, len(paths), phase=Phase.PROJECTING)
    )
    jobs.beat(run, phase=Phase.PROJECTING, done=0, total=None)
    classes = np.array([run.classes.index(image.label) for image in images], dtype=np.int64)
    learning = {image.pk for image in parts[Part.TRAINING]}
    learnt_from = np.array([image.pk in learning for image in images])
    projection = fit_projection(
        embedder.comparable(features.raw),
        dense=embedder.dense_width,
        classes=classes[features.rows],
        learnt=learnt_from[features.rows],
        seed=run.recipe["seed"],
    )
    jobs.beat(run, phase=Phase.STORING)
    with work_folder() as folder:
        path = folder / "version.safetensors"
        digest = save_version(
            path,
            network=network,
            preprocessing=preprocessing,
            projection=projection,
            classes=run.classes,
            notes={"training_run": run.pk, "recipe": run.recipe, "weights": run.weights_report},
        )
        version = store_version(
            path,
            digest=digest,
            architecture=run.recipe["architecture"],
            weights_source=ModelVersion.Weights.TRAINED,
            weights_report=f"Trained by run {run.pk} on {learnt} images of {len(run.classes)} classes.",
            classes=run.classes,
        )
    jobs.beat(run, model_version=version)
