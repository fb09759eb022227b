"""A training run through whatever may come between: broken files, kills, cancels, full disks."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from django.utils import timezone
from pytest_django import Settings

from retrieval.models import Dataset, JobStatus, MedicalImage, ModelVersion
from retrieval.services import jobs
from retrieval.services.switching import activate_model_version
from tests.services.conftest import ImportFolder, small_disk_at
from tests.services.training import RECIPE, work
from tests.training_rows import make_run
from training.models import EvaluatedImage, Evaluation, SplitImage, TrainingRun
from training.services import judging, running
from training.services.ending import run_folder
from training.services.judging import evaluate_version, request_evaluation
from training.services.reasons import EPOCHS_LOST, IMAGE_GONE
from training.services.starting import RunRefused, start_run
from training.services.words import lines_of_report

Part = SplitImage.Part


def _judged(version: ModelVersion, *, run: TrainingRun) -> Evaluation:
    """What the trainer makes of one more evaluation."""
    evaluation = jobs.claim(Evaluation, Evaluation.objects.create(model_version=version, run=run).pk)
    assert evaluation is not None
    with jobs.working_on(evaluation):
        evaluate_version(evaluation)
    return Evaluation.objects.get(pk=evaluation.pk)


def test_images_without_label_or_preview_are_left_out_and_counted(start: Callable[..., TrainingRun]) -> None:
    images = list(MedicalImage.objects.order_by("pk"))
    MedicalImage.objects.filter(pk=images[0].pk).update(label="")
    Path(images[1].preview.path).write_bytes(b"damaged")
    run = work(start(epochs=1))
    assert run.left_out == {"unlabelled": 1, "unreadable": 1, "duplicate": 0}
    assert run.split.count() == 38


def test_weights_of_another_kind_are_refused_at_the_start(start: Callable[..., TrainingRun], tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"not weights at all")
    with pytest.raises(RunRefused, match=r"weights\.safetensors is not a complete safetensors file"):
        start(weights=str(path))


def test_weights_of_another_network_are_refused_at_the_start(
    start: Callable[..., TrainingRun], active_version: ModelVersion
) -> None:
    with pytest.raises(RunRefused, match="fits the network 'vgg16'"):
        start(weights=f"version:{active_version.number}", architecture="vgg16", frozen_blocks=0)
    assert not TrainingRun.objects.exists()


def test_what_only_torch_can_read_fails_the_run_with_the_reason(
    start: Callable[..., TrainingRun], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"PK\x03\x04 and then nothing")
    run = work(start(weights=str(path)))
    assert run.status == JobStatus.FAILED
    assert "weights.pth is damaged" in run.reason
    assert run.model_version is None


def test_blocks_that_the_weights_do_not_fill_cannot_be_frozen(
    start: Callable[..., TrainingRun], active_version: ModelVersion, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(active_version.weights.path)
    first = {name.removeprefix("network."): each for name, each in tensors.items() if "features.0." in name}
    save_file(first, tmp_path / "first.safetensors")
    with pytest.raises(RunRefused, match=r"The first 1 blocks cannot be frozen: first\.safetensors"):
        start(weights=str(tmp_path / "first.safetensors"), frozen_blocks=1)
    # What only torch can read.
    torch.save(first, tmp_path / "first.pth")
    run = work(start(weights=str(tmp_path / "first.pth"), frozen_blocks=1))
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


def test_a_judgement_whose_images_go_meanwhile_has_no_figures(
    active_version: ModelVersion, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows which were read before: they would stand beside those of another version on all images."""
    monkeypatch.setattr("training.services.watching.TELL_SECONDS", 0)
    run = make_run(dataset)
    gone = run.split.filter(part=Part.TRAINING).latest("image_id").image

    def delete(done: int, total: int | None) -> None:
        MedicalImage.objects.filter(pk=gone.pk).delete()

    evaluation = jobs.claim(Evaluation, Evaluation.objects.create(model_version=active_version, run=run).pk)
    assert evaluation is not None
    with jobs.working_on(evaluation):
        evaluate_version(evaluation, progress=delete)
    evaluation = Evaluation.objects.get(pk=evaluation.pk)
    assert (evaluation.status, evaluation.reason) == (JobStatus.FAILED, IMAGE_GONE)
    assert not EvaluatedImage.objects.exists()
    assert _judged(active_version, run=run).status == JobStatus.DONE


def test_a_run_whose_time_is_over_keeps_what_it_has_learnt(
    start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr("training.services.watching.TELL_SECONDS", 0)
    run, began = start(epochs=1000, patience=1000), time.monotonic()

    def run_out(done: int, total: int | None) -> None:
        """In the third epoch; there is time for what comes after it."""
        passed = timezone.timedelta(seconds=time.monotonic() - began)
        settings.TRAINING_TIME_LIMIT = passed if run.epochs.count() == 2 else timezone.timedelta(hours=1)

    run = work(run, progress=run_out)
    assert (run.status, run.epochs.count()) == (JobStatus.DONE, 3)
    assert run.model_version is not None
    assert run.stopped_early
    assert run.ran_out_of_time


@pytest.mark.parametrize(
    ("choices", "learnt_from"),
    [({}, 28), ({"epochs": 1, "final_epochs": 3}, 32)],
    ids=["while it looks for the best epoch", "in the final epochs"],
)
def test_a_worker_that_dies_costs_the_epoch_it_was_in(
    start: Callable[..., TrainingRun],
    monkeypatch: pytest.MonkeyPatch,
    choices: dict[str, int],
    learnt_from: int,
) -> None:
    monkeypatch.setattr("training.services.watching.TELL_SECONDS", 0)

    class Killed(BaseException):
        pass

    def die(done: int, total: int | None) -> None:
        if run.epochs.count() == 2:
            raise Killed

    run = start(**choices)
    with pytest.raises(Killed):
        work(run, progress=die)
    first = list(run.epochs.values_list("epoch", "train_loss"))
    TrainingRun.objects.filter(pk=run.pk).update(lease_expires_at=timezone.now(), weights_report="As it began.")
    jobs.sweep()
    run = work(run)
    assert (run.status, run.attempts, run.weights_report) == (JobStatus.DONE, 2, "As it began.")
    assert list(run.epochs.values_list("epoch", "train_loss"))[:2] == first
    assert run.epochs.count() == 4
    assert run.model_version is not None
    assert f"on {learnt_from} images of 2 classes" in run.model_version.weights_report


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
    assert (run.status, run.reason) == (JobStatus.FAILED, EPOCHS_LOST)
    assert not ModelVersion.objects.exists()


def test_the_same_pixels_and_the_frames_of_one_file_are_never_divided(
    start: Callable[..., TrainingRun], import_folder: ImportFolder, striped_folder: Path
) -> None:
    import_folder(striped_folder, dataset="again")
    run = start_run(datasets=Dataset.objects.all(), recipe=RECIPE | {"epochs": 1}, weights="none", publish=False)
    run = work(run)
    parts: dict[str, set[str]] = {}
    for row in run.split.select_related("image"):
        parts.setdefault(row.image.pixel_sha256, set()).add(row.part)
    assert (run.split.count(), len(parts)) == (80, 40)
    assert {len(own) for own in parts.values()} == {1}


def test_what_was_learnt_before_is_told_of_a_version_that_was_trained_further(
    start: Callable[..., TrainingRun],
) -> None:
    first = work(start(epochs=1))
    assert first.model_version is not None
    second = work(start(weights=f"version:{first.model_version.number}", epochs=1, seed=1))
    known = first.split.exclude(part=Part.TEST).values("image")
    expected = second.split.filter(part=Part.TEST, image__in=known).count()
    assert expected > 0
    assert second.evaluations.get(model_version=second.model_version).report["seen_in_training"] == expected


def test_the_same_pixels_and_patients_in_another_dataset_are_known(
    start: Callable[..., TrainingRun], import_folder: ImportFolder, striped_folder: Path
) -> None:
    first = work(start(epochs=1))
    assert first.model_version is not None
    import_folder(striped_folder, dataset="again")
    again = make_run(Dataset.objects.get(name="again"))
    learnt = MedicalImage.objects.filter(splits__in=first.split.exclude(part=Part.TEST))
    asked = MedicalImage.objects.filter(splits__in=again.split.filter(part=Part.TEST))
    known = asked.filter(pixel_sha256__in=learnt.values("pixel_sha256"))
    unknown = asked.exclude(pixel_sha256__in=learnt.values("pixel_sha256"))
    expected = known.count()
    assert 0 < expected < asked.count()
    assert _judged(first.model_version, run=again).report["seen_in_training"] == expected
    MedicalImage.objects.filter(pk__in=(unknown[0].pk, known[0].pk, learnt[0].pk)).update(patient_key="one")
    assert _judged(first.model_version, run=again).report["seen_in_training"] == expected + 1


def test_a_version_is_judged_again_once_images_of_the_run_went(
    start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few of them were in the sample that was judged."""
    monkeypatch.setattr(judging, "MOST_GALLERY", 4)
    run = work(start(epochs=1))
    assert run.model_version is not None
    evaluation = run.evaluations.get()
    assert (evaluation.report["gallery"], evaluation.report["run_images"]) == (4, 40)
    assert evaluation.report["sampled_from"] == {"queries": 8, "gallery": 32}
    assert "  a sample, evenly spread: there are 8 test images and 32 others" in lines_of_report(evaluation.report)
    assert request_evaluation(version=run.model_version, run=run) == evaluation
    row = run.split.filter(part=Part.TRAINING).latest("image_id")
    row.image.delete()
    assert request_evaluation(version=run.model_version, run=run) != evaluation


def test_a_label_that_is_changed_meanwhile_changes_nothing(
    start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.services.watching.TELL_SECONDS", 0)
    run = start(epochs=2)

    def relabel(done: int, total: int | None) -> None:
        if run.epochs.count() == 1:
            MedicalImage.objects.update(label="changed")

    run = work(run, progress=relabel)
    assert (run.status, run.classes) == (JobStatus.DONE, ["across", "upright"])
    assert set(EvaluatedImage.objects.values_list("label", flat=True)) == {"across", "upright"}


def test_a_preview_that_goes_meanwhile_fails_it_in_one_sentence(
    start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.services.watching.TELL_SECONDS", 0)
    run = start(epochs=3, patience=3)

    def remove(done: int, total: int | None) -> None:
        if run.epochs.count() == 1:
            for image in MedicalImage.objects.all():
                Path(image.preview.path).unlink(missing_ok=True)

    run = work(run, progress=remove)
    assert (run.status, "\n" in run.reason) == (JobStatus.FAILED, False)
    assert "deleted or damaged" in run.reason
    assert not run_folder(run).exists()


def test_a_broken_version_in_service_does_not_cost_its_successor(
    active_version: ModelVersion, start: Callable[..., TrainingRun]
) -> None:
    Path(active_version.weights.path).write_bytes(b"broken")
    run = work(start(epochs=1))
    assert (run.status, run.evaluations.count()) == (JobStatus.DONE, 1)


def test_another_evaluation_of_the_new_version_does_no_harm(start: Callable[..., TrainingRun]) -> None:
    def also_asked(done: int, total: int | None) -> None:
        if run.model_version_id is None and (made := ModelVersion.objects.first()):
            Evaluation.objects.get_or_create(model_version=made, run=run, status=JobStatus.CANCELLED)

    run = start(epochs=1)
    run = work(run, progress=also_asked)
    assert run.status == JobStatus.DONE
    assert run.model_version is not None
    assert run.model_version.metrics["queries"] == 8


def test_a_run_that_is_cancelled_while_it_is_judged_makes_no_version(
    start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.services.watching.TELL_SECONDS", 0)
    run = start(epochs=1)

    def cancel(done: int, total: int | None) -> None:
        if ModelVersion.objects.exists():
            jobs.cancel(run)

    run = work(run, progress=cancel)
    assert run.status == JobStatus.CANCELLED
    assert [version.status for version in ModelVersion.objects.all()] == ["retired"]


def test_a_version_that_is_in_service_already_survives_the_cancelling_of_its_run(
    start: Callable[..., TrainingRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.services.watching.TELL_SECONDS", 0)
    run = start(epochs=1)

    def activate_and_cancel(done: int, total: int | None) -> None:
        if made := ModelVersion.objects.first():
            activate_model_version(made)
            jobs.cancel(run)

    run = work(run, progress=activate_and_cancel)
    assert (run.status, run.reason) == (JobStatus.CANCELLED, "")
    assert ModelVersion.objects.active() == run.model_version


def test_a_run_whose_images_are_gone_is_not_divided_anew(start: Callable[..., TrainingRun]) -> None:
    run = work(start(epochs=1))
    assert run.model_version is not None
    run.split.all().delete()
    evaluation = _judged(run.model_version, run=run)
    assert (evaluation.status, "no longer there" in evaluation.reason) == (JobStatus.FAILED, True)
    assert not run.split.exists()
