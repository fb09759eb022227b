"""Judging a version with a folder of images while the archive goes on changing."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from retrieval.models import Dataset, Embedding, IndexJob, MedicalImage, ModelVersion
from retrieval.services import jobs
from retrieval.services.switching import retire_model_version
from tests.pictures import png, striped_pixels
from tests.quality_rows import add_images, unit
from tests.services.conftest import small_disk_at
from training.services.elsewhere import _gallery, _neighbours, _Question, _report, judge_folder
from training.services.reading import Reader

Index = Callable[[ModelVersion], IndexJob]


@pytest.fixture
def indexed(active_version: ModelVersion, dataset: Dataset, index: Index) -> ModelVersion:
    index(active_version)
    return active_version


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Two images of each class that the archive does not have."""
    for number in range(100, 104):
        upright = number % 2 == 1
        path = tmp_path / "elsewhere" / ("upright" if upright else "across") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(striped_pixels(number, upright=upright)))
    return tmp_path / "elsewhere"


def vectors_of(version: ModelVersion) -> list[np.ndarray]:
    return [np.asarray(each.vector) for each in Embedding.objects.of(version).order_by("image_id")]


def add_twins(version: ModelVersion, *, label: str) -> list[MedicalImage]:
    """Of each image one that is embedded as it is."""
    twins = [(vector, {"label": label}) for vector in vectors_of(version)]
    return add_images(Dataset.objects.create(name="came since"), version=version, specs=twins)


def test_what_comes_while_questions_are_read_is_searched_too(
    indexed: ModelVersion, dataset: Dataset, elsewhere: Path
) -> None:
    def on_progress(done: int, total: int | None) -> None:
        if done == total:
            add_twins(indexed, label="across")

    report = judge_folder(indexed, folder=elsewhere, progress=on_progress).report
    assert (report["queries"], report["gallery"]) == (4, 80)
    assert set(report["p_at"]) == {"1", "5", "10", "20"}


def test_what_comes_while_questions_are_asked_is_passed_over(indexed: ModelVersion, dataset: Dataset) -> None:
    vectors = vectors_of(indexed)
    numbers = {image.pk: number for number, image in enumerate(MedicalImage.objects.order_by("pk"))}
    questions = [_Question(label="across", vector=vector, classified="") for vector in vectors[:3]]
    before = _neighbours(questions, version=indexed, numbers=numbers)
    add_twins(indexed, label="across")
    after = _neighbours(questions, version=indexed, numbers=numbers)
    assert before.indices.shape == (3, 20)
    assert np.array_equal(before.indices, after.indices)
    assert np.array_equal(before.similarities, after.similarities)


def test_what_goes_while_questions_are_asked_shortens_the_answers(indexed: ModelVersion, dataset: Dataset) -> None:
    images = list(MedicalImage.objects.order_by("pk"))
    numbers = {image.pk: number for number, image in enumerate(images)}
    question = _Question(label="across", vector=vectors_of(indexed)[0], classified="")
    Embedding.objects.filter(image__in=images[15:]).delete()
    add_twins(indexed, label="upright")
    assert set(_neighbours([question], version=indexed, numbers=numbers).indices[0]) == set(range(15))


def test_unlike_the_archive_is_what_is_unlike_all_of_it(indexed: ModelVersion, dataset: Dataset) -> None:
    """Images without a label can't be right or wrong, but a searcher is shown them, and told of what is like none."""
    indexed.metrics = {"usual_similarity": 0.9}
    strange, stranger = (unit(np.random.default_rng(seed).normal(size=512)) for seed in (1, 2))
    others = Dataset.objects.create(name="not labelled")
    add_images(others, version=indexed, specs=[(strange, {"label": ""}), (stranger, {"label": ""})])
    questions = [
        _Question(label="across", vector=strange, classified="across"),
        _Question(label="knee", vector=stranger, classified="across"),
        _Question(label="toe", vector=-stranger, classified="across"),
    ]
    report = _report(questions, version=indexed, gallery=_gallery(indexed), reader=Reader(indexed))
    assert (report["queries"], report["gallery"], report["unlike"]) == (1, 40, 0)
    unlike = {label: own["unlike"] for label, own in report["unknown"].items()}
    assert unlike == {"knee": 0, "toe": 1}
    assert report["unknown"]["knee"]["mean_similarity"] == pytest.approx(1, abs=1e-3)
    assert report["unknown"]["toe"]["auroc"] == 1


def test_a_version_that_is_retired_meanwhile_has_nothing_to_answer_with(
    indexed: ModelVersion, dataset: Dataset, elsewhere: Path
) -> None:
    def on_progress(done: int, total: int | None) -> None:
        if done == total:
            ModelVersion.objects.update(status="ready")
            retire_model_version(indexed)

    with pytest.raises(jobs.JobFailed, match="has no embeddings of labelled images"):
        judge_folder(indexed, folder=elsewhere, progress=on_progress)


def test_the_archive_is_asked_once_for_many_images(indexed: ModelVersion, elsewhere: Path) -> None:
    with CaptureQueriesContext(connection) as queries:
        judge_folder(indexed, folder=elsewhere)
    assert sum("pixel_sha256" in each["sql"] for each in queries) == 1


def test_a_full_disk_is_said(indexed: ModelVersion, elsewhere: Path, settings: Settings, tmp_path: Path) -> None:
    with small_disk_at(tmp_path / "small") as folder:
        settings.WORK_DIR = folder
        with suppress(OSError):
            (folder / "full").write_bytes(bytes(2**20))
        with pytest.raises(jobs.JobFailed, match="The disk is full"):
            judge_folder(indexed, folder=elsewhere)


def test_a_folder_with_nothing_to_ask_says_why(indexed: ModelVersion, tmp_path: Path) -> None:
    folder = tmp_path / "asked"
    (folder / "across").mkdir(parents=True)
    (folder / "across" / "1.png").write_bytes(b"\x89PNG broken")
    (folder / "loose.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(jobs.JobFailed, match="1 of its files are no readable images, 1 have no class, 0 are in the"):
        judge_folder(indexed, folder=folder)
