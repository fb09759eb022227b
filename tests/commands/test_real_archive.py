"""The main job on real images: imported, indexed with the published network, and searched with images held back."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.services.searching import query_decoder
from retrieval.services.versions import _embedder_in
from tests.commands.conftest import Manage

pytestmark = [pytest.mark.real, pytest.mark.django_db]
EACH = 6
# With 7 of 13 convolutions trained and the rest random; chance would find 1 of 18.
FOUND_AT_LEAST = 12


@pytest.fixture
def sample(real_data: Path, tmp_path: Path) -> Path:
    """Some images of every class, and their rows of the manifest."""
    source, folder = real_data / "archive18", tmp_path / "sample"
    with (source / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = sorted({row["class"] for row in rows})
    # Spread over each class: neighbours in the list may be neighbours in the body.
    kept = [row for label in labels for row in [row for row in rows if row["class"] == label][::50][:EACH]]
    for row in kept:
        (folder / row["file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / row["file"], folder / row["file"])
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    return folder


@pytest.fixture(autouse=True)
def no_network_kept() -> Iterator[None]:
    yield
    _embedder_in.cache_clear()
    query_decoder().close()


def test_real_images_find_their_class(manage: Manage, sample: Path, real_data: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions"
    questions.mkdir()
    for folder in filter(Path.is_dir, sample.iterdir()):
        held_back = sorted(folder.iterdir())[0]
        held_back.rename(questions / f"{folder.name}{held_back.suffix}")
    status, report = manage("import_dataset", sample, "--name", "sample")
    assert (status, report["accepted"], report["rejected"]) == (0, 18 * (EACH - 1), [])
    weights = real_data / "weights" / "vgg16_conv1-3.safetensors"
    status, report = manage("create_model_version", "--weights", weights, "--caffe", "--activate")
    assert status == 0
    assert report["loaded"].startswith("14 of 36 parameters loaded")
    status, report = manage("index")
    assert (status, report["indexed"], report["failed"]) == (0, 18 * (EACH - 1), [])
    found = 0
    for question in questions.iterdir():
        status, report = manage("search", question)
        assert (status, len(report["results"])) == (0, 20)
        assert report["results"][0]["modality"]
        found += report["results"][0]["label"] == question.stem
    assert found >= FOUND_AT_LEAST
    assert manage("check_archive")[1]["ok"]
