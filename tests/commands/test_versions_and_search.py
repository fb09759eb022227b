"""create_model_version, activate, search and check_archive: the contracts of docs/operations.md."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from retrieval.models import IndexJob, JobStatus, MedicalImage, ModelVersion, StoredFile
from retrieval.services.versions import create_model_version
from tests.commands.conftest import Manage
from tests.pictures import drawn_pixels, png
from tests.source import ROOT


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (tmp_path / "asked.png").write_bytes(png(drawn_pixels(4)))
    return tmp_path / "asked.png"


def test_a_database_that_does_not_answer_is_an_error_like_others() -> None:
    away = {"DATABASE_URL": "postgresql://site@127.0.0.1:1/site", "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check_archive", "--json"],
        cwd=ROOT,
        env=os.environ | away,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"].startswith("The database does not answer as it should: connection failed")
    assert "Traceback" not in done.stderr


def test_a_search_that_nothing_narrows_reads_no_choices(archive: ModelVersion, manage: Manage, picture: Path) -> None:
    """They are three passes over the whole archive."""
    with CaptureQueriesContext(connection) as captured:
        assert manage("search", picture)[0] == 0
    assert [each["sql"] for each in captured if "DISTINCT" in each["sql"]] == []


def test_a_version_is_made_ready_or_active(manage: Manage) -> None:
    status, report = manage("create_model_version", "--architecture", "narrow", "--weights", "none")
    assert (status, report["model_version"], report["active"], report["previous"]) == (0, 1, False, None)
    assert ModelVersion.objects.active() is None
    words = ("--architecture", "narrow", "--weights", "none", "--seed", "1", "--activate")
    status, report = manage("create_model_version", *words)
    assert (status, report["model_version"], report["active"]) == (0, 2, True)
    assert ModelVersion.objects.active() == ModelVersion.objects.get(number=2)


def test_what_a_version_made_active_lacks_is_embedded_and_once(
    archive: ModelVersion, manage: Manage, said: Callable[..., tuple[int, str]]
) -> None:
    words = ("create_model_version", "--architecture", "narrow", "--weights", "none", "--seed", 1)
    status, text = said(*words, "--activate")
    assert (status, "The workers embed the archive with it now" in text) == (0, True)
    active = ModelVersion.objects.active()
    assert active is not None
    queued = IndexJob.objects.get(model_version=active)
    assert queued.total == 6
    status, report = manage("index")
    assert (status, report["indexed"], report["already"]) == (0, 6, 0)
    assert queued.batches.get().status == JobStatus.DONE
    assert [job.total for job in active.index_jobs.order_by("pk")] == [6, 0]


def test_a_version_that_is_only_made_says_how_it_is_embedded(said: Callable[..., tuple[int, str]]) -> None:
    text = said("create_model_version", "--architecture", "narrow", "--weights", "none")[1]
    assert "`manage.py index --model-version 1`" in text


def test_the_same_version_is_not_made_twice(manage: Manage, media: Path) -> None:
    words = ("create_model_version", "--architecture", "narrow", "--weights", "none")
    manage(*words)
    status, report = manage(*words)
    assert (status, report) == (1, {"error": "Model version 1 has exactly these weights: use that one."})
    assert manage("check_archive")[1]["ok"] is True


def test_weights_that_are_none(manage: Manage, tmp_path: Path) -> None:
    status, report = manage("create_model_version", "--weights", tmp_path / "nowhere")
    assert (status, report) == (1, {"error": "There is no such file of weights."})
    (tmp_path / "text").write_text("no weights")
    status, report = manage("create_model_version", "--architecture", "narrow", "--weights", tmp_path / "text")
    assert (status, list(report)) == (1, ["error"])
    assert not ModelVersion.objects.exists()


def test_activate_switches_and_switches_back(manage: Manage, active_version: ModelVersion) -> None:
    other = create_model_version(architecture="narrow", weights="none", seed=1)
    first, second = active_version.number, other.number
    status, report = manage("activate", second)
    assert (status, report["model_version"], report["previous"], report["without_embedding"]) == (0, second, first, 0)
    assert "were not compared" in report["warnings"][0]
    assert ModelVersion.objects.active() == other
    assert manage("activate", first)[1]["previous"] == second
    assert ModelVersion.objects.active() == active_version


def test_activate_without_a_version_before(manage: Manage) -> None:
    version = create_model_version(architecture="narrow", weights="none")
    assert manage("activate", version.number)[1]["previous"] is None


def test_activate_says_how_many_images_are_not_indexed_and_queues_them(
    archive: ModelVersion, manage: Manage, said: Callable[..., tuple[int, str]]
) -> None:
    other = create_model_version(architecture="narrow", weights="none", seed=1)
    assert "6 of 6 images have no embedding" in said("activate", other.number)[1]
    assert IndexJob.objects.get(model_version=other).total == 6
    report = manage("activate", archive.number)[1]
    assert (report["without_embedding"], report["not_embeddable"]) == (0, 0)
    assert IndexJob.objects.filter(model_version=archive).count() == 1


def test_activate_refuses_an_unknown_number(manage: Manage, active_version: ModelVersion) -> None:
    assert manage("activate", 99) == (1, {"error": "There is no model version 99."})
    assert ModelVersion.objects.active() == active_version


def test_search_finds_the_file_itself_first(archive: ModelVersion, manage: Manage, picture: Path) -> None:
    status, report = manage("search", picture)
    assert (status, report["model_version"], len(report["results"])) == (0, archive.number, 6)
    first = report["results"][0]
    image = MedicalImage.objects.get(uuid=first["image"])
    assert first == {
        "rank": 1,
        "image": str(image.uuid),
        "label": "hand",
        "dataset": "drawn",
        "modality": "",
        "body_part": "",
        "distance": pytest.approx(0, abs=1e-3),
        "similarity": pytest.approx(1, abs=1e-3),
        "file_sha256": hashlib.sha256(picture.read_bytes()).hexdigest(),
    }
    assert [result["rank"] for result in report["results"]] == [1, 2, 3, 4, 5, 6]
    spent = report["milliseconds"]
    assert sorted(spent) == ["decode", "embed", "search", "total"]
    assert spent["total"] == pytest.approx(spent["decode"] + spent["embed"] + spent["search"], abs=0.1)


def test_search_narrowed(archive: ModelVersion, manage: Manage, picture: Path) -> None:
    _, report = manage("search", picture, "--label", "chest", "--k", 2)
    assert [result["label"] for result in report["results"]] == ["chest", "chest"]
    assert manage("search", picture, "--label", "CHEST", "--k", 2)[1]["results"] == report["results"]
    status, refused = manage("search", picture, "--dataset", "no such")
    assert (status, list(refused)) == (1, ["error"])
    assert "drawn" in refused["error"]


def test_search_tells_what_is_unlike_the_archive(
    archive: ModelVersion, manage: Manage, said: Callable[..., tuple[int, str]], picture: Path
) -> None:
    _, report = manage("search", picture)
    assert (report["unlike"], report["usual_similarity"]) == (False, None)
    ModelVersion.objects.update(metrics={"usual_similarity": 1.5})
    _, report = manage("search", picture)
    assert (report["unlike"], report["usual_similarity"]) == (True, 1.5)
    assert "Unlike the archive: 99 of 100 test images found one with 1.5000 or more." in said("search", picture)[1]
    assert manage("search", picture, "--label", "chest")[1]["unlike"] is False


def test_search_refuses(archive: ModelVersion, manage: Manage, picture: Path, tmp_path: Path) -> None:
    assert manage("search", tmp_path / "nowhere") == (1, {"error": "There is no such file."})
    assert manage("search", picture, "--k", 0)[0] == 1
    (tmp_path / "text.png").write_text("no image")
    status, report = manage("search", tmp_path / "text.png")
    assert (status, list(report)) == (1, ["error"])
    ModelVersion.objects.update(status="ready")
    status, report = manage("search", picture)
    assert status == 1
    assert "No model version is active" in report["error"]


def test_check_archive_is_ok_or_fails(
    archive: ModelVersion, manage: Manage, said: Callable[..., tuple[int, str]], media: Path
) -> None:
    status, report = manage("check_archive")
    assert (status, report) == (
        0,
        {
            "ok": True,
            "images": 6,
            "missing_files": [],
            "hash_mismatches": [],
            "orphan_files": [],
            "without_embedding": 0,
            "stalled_jobs": 0,
        },
    )
    original = StoredFile.objects.first()
    assert original is not None
    Path(original.file.path).write_bytes(b"changed")
    (media / "originals" / "orphan").write_bytes(b"nobody's")
    status, report = manage("check_archive")
    assert (status, report["ok"]) == (1, False)
    assert (report["hash_mismatches"], report["orphan_files"]) == ([original.file.name], ["originals/orphan"])
    status, text = said("check_archive")
    assert status == 1
    assert f"  changed: {original.file.name}\n  belongs to nothing: originals/orphan\nNOT ok\n" in text


def test_check_archive_removes_orphans_where_asked(archive: ModelVersion, manage: Manage, media: Path) -> None:
    (media / "originals" / "orphan").write_bytes(b"nobody's")
    status, report = manage("check_archive", "--remove-orphans")
    assert (status, report["ok"], report["removed_orphans"]) == (0, True, ["originals/orphan"])
    assert not (media / "originals" / "orphan").exists()


@pytest.mark.parametrize(
    "words", [("search",), ("activate",), ("activate", "first"), ("create_model_version", "--architecture", "resnet")]
)
def test_wrong_usage(refuses_usage: Callable[..., str], words: tuple[str, ...]) -> None:
    assert "usage: " in refuses_usage(*words)
