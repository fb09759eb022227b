"""A training run from its start to a judged model version, through whatever may come between."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone
from pytest_django import Settings

from retrieval.models import Dataset, IndexBatch, JobStatus, MedicalImage, ModelVersion
from retrieval.services import jobs
from retrieval.services.versions import load_embedder
from tests.services.conftest import ImportFolder, small_disk_at
from training.models import EvaluatedImage, SplitImage, TrainingRun
from training.services import running
from training.services.running import run_folder, train_run
from training.services.starting import RunRefused, start_run

RECIPE: dict[str, object] = {
    "architecture": "narrow",
    "frozen_blocks": 0,
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 0.02,
    "dropout": 0.0,
}
Part = SplitImage.Part


@pytest.fixture
def dataset(import_folder: ImportFolder, striped_folder: Path) -> Dataset:
    import_folder(striped_folder, dataset="stripes")
    return Dataset.objects.get(name="stripes")


@pytest.fixture
def start(dataset: Dataset) -> Callable[..., TrainingRun]:
    def run(**choices: object) -> TrainingRun:
        weights = str(choices.pop("weights", "none"))
        return start_run(datasets=[dataset], recipe=RECIPE | choices, weights=weights, publish=False)

    return run


def work(run: TrainingRun, *, progress: jobs.Progress = jobs.silent) -> TrainingRun:
    """What the trainer does with the message of a run; returns the row as it is afterwards."""
    claimed = jobs.claim(TrainingRun, run.pk)
    assert claimed is not None
    with jobs.working_on(claimed):
        train_run(claimed, progress=progress)
    return TrainingRun.objects.get(pk=run.pk)


def test_a_run_ends_with_a_judged_version_that_is_being_indexed(start: Callable[..., TrainingRun]) -> None:
    run = work(start())
    assert (run.status, run.reason, run.classes) == (JobStatus.DONE, "", ["across", "upright"])
    version = run.model_version
    assert version is not None
    assert (version.status, version.classes, version.weights_source) == ("ready", run.classes, "trained")
    assert [each.epoch for each in run.epochs.all()] == [1, 2, 3, 4]
    parts = {part: run.split.filter(part=part).count() for part in Part.values}
    assert (sum(parts.values()), parts[Part.TEST]) == (40, 8)
    report = run.evaluations.get(model_version=version).report
    assert (report["queries"], report["gallery"], report["accuracy_by"]) == (8, 32, "classifier")
    assert version.metrics["p_at"] == report["p_at"]
    assert report["p_at"]["1"] > 0.8
    assert set(report["features"]["p_at"]) == {"1", "5", "10", "20"}
    assert IndexBatch.objects.get(index_job__model_version=version).total == 40
    assert not run_folder(run).exists()


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
    load_embedder.cache_clear()
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


def test_images_without_label_or_preview_are_left_out_and_counted(start: Callable[..., TrainingRun]) -> None:
    images = list(MedicalImage.objects.order_by("pk"))
    MedicalImage.objects.filter(pk=images[0].pk).update(label="")
    Path(images[1].preview.path).write_bytes(b"damaged")
    run = work(start(epochs=1))
    assert run.left_out == {"unlabelled": 1, "unreadable": 1}
    assert run.split.count() == 38


def test_weights_of_another_kind_fail_the_run_with_the_reason(
    start: Callable[..., TrainingRun], tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"not weights at all")
    run = work(start(weights=str(path)))
    assert run.status == JobStatus.FAILED
    assert "weights.safetensors is not a complete safetensors file" in run.reason
    assert run.model_version is None


def test_blocks_that_the_weights_do_not_fill_cannot_be_frozen(
    start: Callable[..., TrainingRun], active_version: ModelVersion, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(active_version.weights.path)
    first = {name.removeprefix("network."): each for name, each in tensors.items() if "features.0." in name}
    save_file(first, tmp_path / "first.safetensors")
    run = work(start(weights=str(tmp_path / "first.safetensors"), frozen_blocks=1))
    assert run.status == JobStatus.FAILED
    assert "first 1 blocks cannot be frozen" in run.reason


def test_a_version_can_be_trained_further(start: Callable[..., TrainingRun], active_version: ModelVersion) -> None:
    run = work(start(weights=f"version:{active_version.number}", frozen_blocks=2, epochs=1))
    assert run.status == JobStatus.DONE
    assert "parameters loaded" in run.weights_report


def test_cancelling_ends_it_and_leaves_nothing_in_service(
    start: Callable[..., TrainingRun], active_version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.services.watching.TELL_SECONDS", 0)
    run = start(epochs=1000, patience=1000)

    def cancel(done: int, total: int | None) -> None:
        if run.epochs.count() == 2:
            jobs.cancel(run)

    run = work(run, progress=cancel)
    assert (run.status, run.model_version) == (JobStatus.CANCELLED, None)
    assert 2 <= run.epochs.count() <= 3
    assert list(ModelVersion.objects.all()) == [active_version]


def test_a_waiting_run_is_cancelled_at_once(start: Callable[..., TrainingRun]) -> None:
    run = start()
    jobs.cancel(run)
    run.refresh_from_db()
    assert run.status == JobStatus.CANCELLED
    assert jobs.claim(TrainingRun, run.pk) is None


def test_the_deadline_ends_it_with_a_reason(start: Callable[..., TrainingRun], settings: Settings) -> None:
    settings.TRAINING_TIME_LIMIT = timezone.timedelta(seconds=0)
    run = work(start())
    assert run.status == JobStatus.FAILED
    assert "took longer" in run.reason


def test_a_worker_that_dies_costs_the_epoch_it_was_in(
    start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.services.watching.TELL_SECONDS", 0)

    class Killed(BaseException):
        pass

    def die(done: int, total: int | None) -> None:
        if run.epochs.count() == 2:
            raise Killed

    run = start()
    with pytest.raises(Killed):
        work(run, progress=die)
    first = list(run.epochs.values_list("epoch", "train_loss"))
    TrainingRun.objects.filter(pk=run.pk).update(lease_expires_at=timezone.now())
    jobs.sweep()
    run = work(run)
    assert (run.status, run.attempts) == (JobStatus.DONE, 2)
    assert list(run.epochs.values_list("epoch", "train_loss"))[:2] == first
    assert run.epochs.count() == 4


def test_a_worker_that_dies_while_judging_makes_no_second_version(
    start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object, **values: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(running, "judge_in_run", die)
        run = start(epochs=1)
        work(run)
    TrainingRun.objects.filter(pk=run.pk).update(lease_expires_at=timezone.now())
    jobs.sweep()
    run = work(run)
    assert run.status == JobStatus.DONE
    assert ModelVersion.objects.count() == 1
    assert run.evaluations.count() == 1


def test_a_full_disk_fails_the_run_and_puts_nothing_into_service(
    start: Callable[..., TrainingRun], settings: Settings, tmp_path: Path
) -> None:
    with small_disk_at(tmp_path / "small") as folder:
        settings.WORK_DIR = folder
        run = work(start())
    assert run.status == JobStatus.FAILED
    assert "disk is full" in run.reason
    assert not ModelVersion.objects.exists()
