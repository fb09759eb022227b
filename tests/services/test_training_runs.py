"""A training run from its start to a judged model version, and what is refused before it begins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.models import IndexBatch, JobStatus, MedicalImage, ModelVersion
from retrieval.services import jobs
from retrieval.services.versions import load_embedder
from tests.services.training import work
from training.models import EvaluatedImage, SplitImage, TrainingRun
from training.services.ending import run_folder
from training.services.reading import Reader
from training.services.starting import RunRefused

Part = SplitImage.Part


def test_a_run_ends_with_a_judged_version_that_is_being_indexed(start: Callable[..., TrainingRun]) -> None:
    run = work(start())
    assert (run.status, run.reason, run.classes) == (JobStatus.DONE, "", ["across", "upright"])
    version = run.model_version
    assert version is not None
    assert (version.status, version.classes, version.weights_source) == ("ready", run.classes, "trained")
    assert [each.epoch for each in run.epochs.all()] == [1, 2, 3, 4]
    parts = {part: run.split.filter(part=part).count() for part in Part.values}
    assert (sum(parts.values()), parts[Part.TEST]) == (40, 8)
    evaluation = run.evaluations.get(model_version=version)
    assert run.started_at < evaluation.started_at < evaluation.finished_at < run.finished_at  # type: ignore[operator]
    report = evaluation.report
    assert (report["queries"], report["gallery"], report["accuracy_by"]) == (8, 32, "classifier")
    assert "sampled_from" not in report
    assert version.metrics["p_at"] == report["p_at"]
    assert report["p_at"]["1"] > 0.8
    assert set(report["features"]["p_at"]) == {"1", "5", "10", "20"}
    assert IndexBatch.objects.get(index_job__model_version=version).total == 40
    assert not run_folder(run).exists()


def test_a_run_tells_when_its_epoch_began(start: Callable[..., TrainingRun]) -> None:
    run = work(start())
    last = run.epochs.get(epoch=4)
    assert run.epoch_began_at is not None
    assert (run.finished_at - run.epoch_began_at).total_seconds() >= last.seconds  # type: ignore[operator]


def test_a_classifier_is_not_asked_about_classes_that_it_has_not_learnt(start: Callable[..., TrainingRun]) -> None:
    version = work(start()).model_version
    assert version is not None
    reader = Reader(version)
    classified = reader.classified(reader.see([Path(MedicalImage.objects.all()[0].preview.path)]).dense)
    _, by = reader.predictions(classified, asked_labels=["across"], nearest_labels=["upright"])
    assert by == "classifier"
    assert reader.predictions(classified, asked_labels=["across", "new"], nearest_labels=["new"]) == (
        ["new"],
        "nearest neighbour",
    )


def test_each_test_image_keeps_its_answer(start: Callable[..., TrainingRun]) -> None:
    run = work(start())
    rows = EvaluatedImage.objects.filter(evaluation__run=run).select_related("image")
    in_test = set(run.split.filter(part=Part.TEST).values_list("image_id", flat=True))
    assert {row.image_id for row in rows} == in_test
    for row in rows:
        assert row.label == row.image.label
        assert len(set(row.neighbours)) == 20
        assert not in_test & set(row.neighbours)
        labels = dict(MedicalImage.objects.filter(pk__in=row.neighbours).values_list("pk", "label"))
        assert row.p_at_20 == pytest.approx(sum(label == row.label for label in labels.values()) / 20)


def test_the_active_version_is_judged_on_the_same_images(
    active_version: ModelVersion, start: Callable[..., TrainingRun]
) -> None:
    run = work(start())
    reports = {each.model_version_id: each.report for each in run.evaluations.all()}
    assert set(reports) == {active_version.pk, run.model_version_id}
    assert reports[active_version.pk]["accuracy_by"] == "nearest neighbour"
    assert {report["queries"] for report in reports.values()} == {8}
    assert ModelVersion.objects.active() == active_version


def test_the_network_in_the_file_is_the_one_that_was_judged(start: Callable[..., TrainingRun]) -> None:
    version = work(start()).model_version
    assert version is not None
    embedder = load_embedder(version.pk)
    paths = [Path(image.preview.path) for image in MedicalImage.objects.all()]
    vectors = next(iter(embedder.embed_images(paths, batch_size=40))).vectors
    labels = np.array([image.label for image in MedicalImage.objects.all()])
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -1)
    assert (labels[similarities.argmax(axis=1)] == labels).mean() > 0.8


def test_one_run_at_a_time(start: Callable[..., TrainingRun]) -> None:
    first = start()
    with pytest.raises(RunRefused, match=f"Training run {first.pk} is not finished"):
        start()
    jobs.cancel(first)
    assert start().pk != first.pk


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"label": ""}, "None of these images has a label"),
        ({"label": "one"}, "All images are of class “one”"),
    ],
)
def test_what_cannot_be_learnt_is_refused_before_it_is_queued(
    start: Callable[..., TrainingRun], change: dict[str, str], sentence: str
) -> None:
    MedicalImage.objects.update(**change)
    with pytest.raises(RunRefused, match=sentence):
        start()
    assert not TrainingRun.objects.exists()


def test_a_class_of_one_image_is_named(start: Callable[..., TrainingRun]) -> None:
    MedicalImage.objects.filter(pk=MedicalImage.objects.first().pk).update(label="rare")
    with pytest.raises(RunRefused, match="class “rare”"):
        start()


def test_a_class_of_two_patients_is_named(start: Callable[..., TrainingRun]) -> None:
    MedicalImage.objects.filter(label="across").update(patient_key="a")
    MedicalImage.objects.filter(pk=MedicalImage.objects.filter(label="across").first().pk).update(patient_key="b")
    with pytest.raises(RunRefused, match="class “across”"):
        start()


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"epochs": 0}, "Epochs is a number from 1"),
        ({"frozen_blocks": 2}, "without weights, freeze none"),
        ({"weights": "version:99"}, "no model version 99"),
        ({"weights": "/nowhere/weights.pth"}, "no file of weights weights.pth"),
        ({"schedule": "random"}, "Schedule is one of"),
        ({"wings": 2}, "A recipe has no wings"),
    ],
)
def test_choices_that_make_no_sense_are_refused(
    start: Callable[..., TrainingRun], choices: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RunRefused, match=sentence):
        start(**choices)


def test_patients_are_never_divided(start: Callable[..., TrainingRun]) -> None:
    for number, image in enumerate(MedicalImage.objects.order_by("pk")):
        MedicalImage.objects.filter(pk=image.pk).update(patient_key=f"patient {number // 3}")
    run = work(start(epochs=1))
    parts: dict[str, set[str]] = {}
    for row in run.split.select_related("image"):
        parts.setdefault(row.image.patient_key, set()).add(row.part)
    assert {len(own) for own in parts.values()} == {1}
