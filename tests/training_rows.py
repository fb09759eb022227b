"""Rows that a trainer would have written, without training anything: figures follow from neighbours made up here."""

import hashlib
from datetime import timedelta
from typing import Any

import numpy as np
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from retrieval.models import Dataset, MedicalImage, ModelVersion
from training.learning.metrics import Neighbours, judge
from training.learning.recipe import Recipe
from training.models import EpochMetrics, EvaluatedImage, Evaluation, SplitImage, TrainingRun


def make_run(dataset: Dataset, *, status: str = "done", epochs: int = 3, **values: Any) -> TrainingRun:
    """A run whose validation accuracy rises by 10 points an epoch from 50 %; every third image of a class is tested."""
    now = timezone.now()
    run = TrainingRun.objects.create(
        **{
            "recipe": Recipe(epochs=20, patience=4, learning_rate=0.02).to_dict(),
            "weights": "none",
            "status": status,
            "reason": "The disk is full." if status == "failed" else "",
            "attempts": 1,
            "started_at": now,
            "lease_expires_at": now + timedelta(days=1) if status == "running" else None,
            "finished_at": None if status in ("queued", "running") else now,
            **values,
        }
    )
    run.datasets.set([dataset])
    for epoch in range(1, epochs + 1):
        add_epoch(run, epoch=epoch)
    SplitImage.objects.bulk_create(
        SplitImage(run=run, image=image, label=label, part=("test", "training", "validation")[number % 3])
        for label in sorted(set(dataset.images.values_list("label", flat=True)))
        for number, image in enumerate(dataset.images.filter(label=label).order_by("pk"))
    )
    return run


def add_epoch(run: TrainingRun, *, epoch: int, is_final: bool = False) -> EpochMetrics:
    return EpochMetrics.objects.create(
        run=run,
        epoch=epoch,
        train_loss=2 / epoch,
        train_accuracy=min(1, 0.45 + 0.1 * epoch),
        val_loss=None if is_final else 2.5 / epoch,
        val_accuracy=None if is_final else min(1, 0.4 + 0.1 * epoch),
        learning_rate=0.01,
        seconds=120,
    )


def make_version(*, number: int, run: TrainingRun | None = None, **values: Any) -> ModelVersion:
    """A version made by `run`, if one is given. Its file holds no network, but is what its row says that it is."""
    content = f"weights of version {number}".encode()
    version = ModelVersion.objects.create(
        **{
            "number": number,
            "architecture": "narrow",
            "weights_source": "trained",
            "weights": default_storage.save(f"weights/{number}.safetensors", ContentFile(content)),
            "weights_sha256": hashlib.sha256(content).hexdigest(),
            **values,
        }
    )
    if run:
        run.model_version = version
        run.save(update_fields=["model_version"])
    return version


def make_evaluation(run: TrainingRun, *, version: ModelVersion, mistaken: int = 0, **report: Any) -> Evaluation:
    """Judge `version` on the run's test images: all is right but for the first `mistaken`, where all is wrong."""
    asked = [row.image for row in run.split.filter(part="test").select_related("image").order_by("image_id")]
    gallery = [row.image for row in run.split.exclude(part="test").select_related("image").order_by("image_id")]
    found = [_ranked(image, gallery=gallery, wrong=row < mistaken) for row, image in enumerate(asked)]
    predicted = [gallery[ranks[0]].label for ranks in found]
    judgement = judge(
        query_labels=[image.label for image in asked],
        gallery_labels=[image.label for image in gallery],
        neighbours=Neighbours(np.array(found), np.zeros((len(found), len(found[0])), np.float32)),
        predicted=predicted,
    )
    figures = judgement.to_dict()
    features = {"p_at": figures["p_at"], "map_at_20": figures["map_at_20"]}
    evaluation = Evaluation.objects.create(
        run=run,
        model_version=version,
        status="done",
        report={**figures, "accuracy_by": "classifier", "features": features, "seen_in_training": 0, **report},
    )
    EvaluatedImage.objects.bulk_create(
        EvaluatedImage(
            evaluation=evaluation,
            image=image,
            label=image.label,
            predicted=predicted[row],
            p_at_20=judgement.p_at_20[row],
            ap_at_20=judgement.ap_at_20[row],
            neighbours=[gallery[rank].pk for rank in found[row]],
        )
        for row, image in enumerate(asked)
    )
    return evaluation


def running_again(judged: Evaluation) -> Evaluation:
    return Evaluation.objects.create(
        model_version=judged.model_version, run=judged.run, status="running", lease_expires_at=timezone.now()
    )


def _ranked(image: MedicalImage, *, gallery: list[MedicalImage], wrong: bool) -> list[int]:
    """The numbers of as many gallery images as the smallest class has: those of its own label, or of others."""
    fitting = [rank for rank, other in enumerate(gallery) if (other.label == image.label) is not wrong]
    return fitting[:2]
