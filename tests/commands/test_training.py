"""`train`, `evaluate`, `activate` and `baselines` as scripts meet them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import load_command_class
from django.utils import timezone

from retrieval.models import Dataset, MedicalImage, ModelVersion
from retrieval.services import jobs
from tests.commands.conftest import Manage
from tests.pictures import drawn_pixels, png, striped_pixels
from tests.training_rows import make_run
from training.models import Evaluation, TrainingRun
from training.services import running
from training.services.ending import run_folder
from training.services.starting import start_run

CHOICES = (
    "--recipe",
    "published",
    "--architecture",
    "narrow",
    "--weights",
    "none",
    "--batch-size",
    "8",
    "--learning-rate",
    "0.02",
)
EPOCH = {"epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds"}
FIGURES = {"queries", "gallery", "accuracy", "p_at", "map_at_20", "per_class", "confusion_matrix"}


@pytest.fixture
def stripes(manage: Manage, striped_folder: Path) -> str:
    assert manage("import_dataset", striped_folder, "--name", "stripes")[0] == 0
    return "stripes"


@pytest.fixture
def trained(manage: Manage, stripes: str) -> dict[str, Any]:
    status, report = manage("train", "--dataset", stripes, *CHOICES, "--epochs", "3", "--final-epochs", "2")
    assert status == 0
    return report


def test_train_reports_the_run_its_epochs_and_its_test(trained: dict[str, Any]) -> None:
    assert [set(epoch) for epoch in trained["epochs"]] == [EPOCH] * 3
    assert [set(epoch) for epoch in trained["final_epochs"]] == [EPOCH - {"val_loss", "val_accuracy"}] * 2
    assert [epoch["epoch"] for epoch in trained["epochs"] + trained["final_epochs"]] == [1, 2, 3, 4, 5]
    assert trained["best_epoch"] in (1, 2, 3)
    assert trained["stopped_early"] is False
    assert trained["parameters"] > 100_000
    assert set(trained["test"]) >= FIGURES
    assert set(trained["test"]["per_class"]) == {"across", "upright"}
    assert trained["test"]["confusion_matrix"]["labels"] == ["across", "upright"]
    assert ModelVersion.objects.get(number=trained["model_version"]).status == "ready"


def test_evaluate_asks_the_test_part_again(manage: Manage, trained: dict[str, Any]) -> None:
    status, report = manage("evaluate", "--model-version", trained["model_version"])
    assert status == 0
    assert {name: report[name] for name in FIGURES} == {name: trained["test"][name] for name in FIGURES}


def test_evaluate_renews_what_an_earlier_judgement_lacked(manage: Manage, trained: dict[str, Any]) -> None:
    version = ModelVersion.objects.get(number=trained["model_version"])
    kept = version.metrics
    assert set(kept) >= {"p_at", "usual_similarity"}
    ModelVersion.objects.filter(pk=version.pk).update(metrics={"queries": 8})
    assert manage("evaluate", "--model-version", version.number)[0] == 0
    version.refresh_from_db()
    assert version.metrics == kept


def test_evaluate_prefers_a_run_that_is_done_and_says_which(
    manage: Manage, stripes: str, active_version: ModelVersion, said: Callable[..., tuple[int, str]]
) -> None:
    dataset = Dataset.objects.get(name=stripes)
    failed_first, done = make_run(dataset, status="failed"), make_run(dataset)
    make_run(dataset, status="failed")
    status, report = manage("evaluate")
    assert (status, report["run"]) == (0, done.pk)
    assert Evaluation.objects.get().run == done
    done.delete()
    TrainingRun.objects.exclude(pk=failed_first.pk).delete()
    status, text = said("evaluate")
    assert (status, f"on the test images of run {failed_first.pk}" in text) == (0, True)
    assert Evaluation.objects.get().run == failed_first


def test_evaluate_asks_with_images_from_elsewhere(manage: Manage, trained: dict[str, Any], tmp_path: Path) -> None:
    number = trained["model_version"]
    folder = tmp_path / "elsewhere"
    for label, upright in (("across", False), ("upright", True)):
        (folder / label).mkdir(parents=True)
        for seed in range(100, 104):
            (folder / label / f"{seed}.png").write_bytes(png(striped_pixels(seed, upright=upright)))
    (folder / "blobs").mkdir()
    (folder / "blobs" / "1.png").write_bytes(png(drawn_pixels(1)))
    (folder / "across" / "broken.png").write_bytes(b"\x89PNG broken")
    known = MedicalImage.objects.filter(label="upright").first()
    assert known is not None
    (folder / "upright" / "known.png").write_bytes(Path(known.original.file.path).read_bytes())
    status, report = manage("evaluate", "--model-version", number, "--queries", folder)
    assert status == 0
    assert (report["queries"], report["gallery"]) == (8, 40)
    assert set(report["per_class"]) == {"across", "upright"}
    assert report["unknown"]["blobs"]["queries"] == 1
    assert report["left_out"] == {"refused": 1, "unlabelled": 0, "already_in_archive": 1}
    assert report["p_at"]["20"] > 0.7
    assert report["run"] is None
    assert Evaluation.objects.get(source=f"{tmp_path.name}/elsewhere").report["p_at"] == report["p_at"]
    assert (report["unlike"], report["unknown"]["blobs"]["unlike"]) == (None, None)
    ModelVersion.objects.filter(number=number).update(metrics={"usual_similarity": 1.5})
    _, report = manage("evaluate", "--model-version", number, "--queries", folder)
    assert (report["unlike"], report["unknown"]["blobs"]["unlike"]) == (1, 1)


def test_evaluate_says_what_is_missing(manage: Manage, active_version: ModelVersion, tmp_path: Path) -> None:
    status, report = manage("evaluate")
    assert (status, "--queries FOLDER" in report["error"]) == (1, True)
    status, report = manage("evaluate", "--queries", tmp_path)
    assert (status, "has no embeddings of labelled images" in report["error"]) == (1, True)
    assert manage("evaluate", "--queries", tmp_path / "nowhere")[0] == 1
    assert manage("evaluate", "--model-version", 99)[0] == 1


def test_train_begins_from_the_recipe_for_images_from_elsewhere(manage: Manage, stripes: str) -> None:
    status, _ = manage("train", "--dataset", stripes, "--architecture", "narrow", "--weights", "none", "--epochs", "1")
    assert status == 0
    run = TrainingRun.objects.get()
    assert (run.recipe["augmentation"], run.recipe["flips"]) == ("strong", True)


def test_each_choice_of_a_recipe_can_be_taken_back(manage: Manage, stripes: str) -> None:
    words = ("--architecture", "narrow", "--weights", "none", "--epochs", "1", "--no-flips", "--augmentation", "none")
    assert manage("train", "--dataset", stripes, *words)[0] == 0
    run = TrainingRun.objects.get()
    assert (run.recipe["optimiser"], run.recipe["augmentation"], run.recipe["flips"]) == ("adamw", "none", False)


def test_the_help_says_what_each_recipe_begins_with(capsys: pytest.CaptureFixture[str]) -> None:
    load_command_class("training", "train").print_help("manage.py", "train")
    text = " ".join(capsys.readouterr().out.split())
    assert "images a step; published 32, elsewhere 64" in text
    for words in ("published 0.01, elsewhere 0.0003", "published sgd, elsewhere adamw", "published no, elsewhere yes"):
        assert words in text
    assert "--epochs EPOCHS at most; default 25 " in text


def test_train_refuses_what_it_cannot_do(manage: Manage, stripes: str) -> None:
    assert "no dataset" in manage("train", "--dataset", "nothing", *CHOICES)[1]["error"]
    assert "Epochs" in manage("train", "--dataset", stripes, *CHOICES, "--epochs", "0")[1]["error"]
    MedicalImage.objects.update(label="")
    status, report = manage("train", "--dataset", stripes, *CHOICES)
    assert (status, "label" in report["error"]) == (1, True)


def test_train_says_that_another_run_is_under_way(manage: Manage, stripes: str) -> None:
    recipe: dict[str, object] = {"architecture": "narrow", "dropout": 0.1}
    run = start_run(datasets=[Dataset.objects.get()], recipe=recipe, weights="none", publish=False)
    TrainingRun.objects.filter(pk=run.pk).update(queued_at=timezone.now())
    status, report = manage("train", "--dataset", stripes, *CHOICES)
    assert (status, f"Training run {run.pk} is under way" in report["error"]) == (1, True)
    # What is wrong with this one is said first.
    status, report = manage("train", "--dataset", stripes, *CHOICES, "--epochs", "0")
    assert (status, "Epochs is a number from 1" in report["error"]) == (1, True)
    status, report = manage("train", "--dataset", stripes, *CHOICES, "--weights", "nowhere.safetensors")
    assert (status, "There is no file of weights nowhere.safetensors." in report["error"]) == (1, True)


def test_train_goes_on_with_what_a_killed_command_left(
    manage: Manage, stripes: str, said: Callable[..., tuple[int, str]]
) -> None:
    words = ("train", "--dataset", stripes, *CHOICES, "--epochs", "2")
    recipe: dict[str, object] = {"architecture": "narrow", "batch_size": 8, "learning_rate": 0.02, "epochs": 2}
    run = start_run(datasets=[Dataset.objects.get()], recipe=recipe, weights="none", publish=False)
    assert jobs.claim(TrainingRun, run.pk)
    # As it was stored by a version that did not know all the choices of today.
    older = {name: value for name, value in run.recipe.items() if not name.startswith("small_")}
    TrainingRun.objects.filter(pk=run.pk).update(lease_expires_at=timezone.now(), recipe=older)
    status, text = said(*words)
    assert (status, f"Going on with training run {run.pk}" in text) == (0, True)
    assert TrainingRun.objects.get().status == "done"


def test_ctrl_c_while_judging_leaves_no_version(manage: Manage, stripes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **values: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "judge_in_run", interrupt)
    status, report = manage("train", "--dataset", stripes, *CHOICES)
    assert (status, report["error"]) == (1, "The training was cancelled.")
    run = TrainingRun.objects.get()
    assert run.model_version is not None
    assert (run.status, run.model_version.status) == ("cancelled", "retired")
    assert not run_folder(run).exists()


def test_activate_tells_what_speaks_against_it(manage: Manage, trained: dict[str, Any]) -> None:
    status, report = manage("activate", trained["model_version"])
    assert (status, report["model_version"], report["previous"]) == (0, trained["model_version"], None)
    assert any("have no embedding" in warning for warning in report["warnings"])


def test_baselines_prints_a_table(
    manage: Manage, stripes: str, active_version: ModelVersion, said: Callable[..., tuple[int, str]]
) -> None:
    words = ("baselines", "--dataset", stripes, "--architecture", "narrow", "--weights", active_version.weights.path)
    status, report = manage(*words)
    assert status == 0
    names = [row["baseline"] for row in report["baselines"]]
    assert names[:3] == ["raw 32 x 32 pixels, 1-NN", "64 principal components, 1-NN", "untrained network, 1-NN"]
    assert names[3:] == ["first 5 blocks averaged, 1-NN", "first 5 blocks averaged, linear SVM"]
    assert all(set(row) >= FIGURES for row in report["baselines"])
    assert "P@20" in said(*words)[1]


def test_people_read_figures_with_what_they_are_worth(said: Callable[..., tuple[int, str]], stripes: str) -> None:
    status, text = said("train", "--dataset", stripes, *CHOICES, "--epochs", "1")
    assert status == 0
    assert "same sources" in text
    assert re.search(
        r"^  mAP@20 \d\.\d{4}\n  dense features, not projected: P@1 .* mAP@20 \d\.\d{4}$", text, re.MULTILINE
    )
