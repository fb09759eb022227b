"""Judgements that outlive some of their images: what is not of the same images is not compared."""

import re
from collections.abc import Callable

import pytest
from django.test import Client

from retrieval.models import Dataset, Embedding, ModelVersion
from tests.training_rows import make_evaluation, make_run, make_version
from training.models import Evaluation, TrainingRun

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]


def _text(page: bytes) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.decode()).split())


@pytest.fixture
def run(archive: Dataset, active_version: ModelVersion) -> TrainingRun:
    """A run that made version 7, which is fully indexed; the active version is judged on it, all right."""
    made = make_run(archive)
    version = make_version(number=7, run=made)
    Embedding.objects.bulk_create(
        Embedding(image_id=row.image_id, model_version=version, vector=row.vector)
        for row in active_version.embeddings.all()
    )
    make_evaluation(made, version=active_version)
    return made


def _delete_a_test_image(run: TrainingRun) -> None:
    row = run.split.filter(part="test").earliest("image_id")
    row.image.delete()


def _judge(run: TrainingRun, *, mistaken: int = 0) -> Evaluation:
    assert run.model_version is not None
    return make_evaluation(run, version=run.model_version, mistaken=mistaken)


def test_what_was_judged_before_images_went_is_judged_again_before_it_is_compared(
    logged_in: LoggedIn, run: TrainingRun, active_version: ModelVersion
) -> None:
    _delete_a_test_image(run)
    _judge(run)
    client, number = logged_in("staff"), active_version.number
    chosen = {"run": run.pk, "a": number, "b": 7}
    page = _text(client.get("/training/compare/", chosen).content)
    assert f"Images of run {run.pk} were deleted since version {number} was judged." in page
    assert f"Judge version {number} again" in page
    assert "Judge version 7" not in page
    assert "Figures on" not in page
    for _ in range(2):
        client.post("/training/compare/", {**chosen, "version": number})
    asked_for = Evaluation.objects.get(model_version=active_version, status="queued")
    assert f"Version {number} waits for the trainer" in _text(client.get("/training/compare/", chosen).content)
    asked_for.delete()
    make_evaluation(run, version=active_version)
    page = _text(client.get("/training/compare/", chosen).content)
    assert f"Figures on 1 test images Figure Version {number} Version 7 Change" in page
    assert "deleted since" not in page


def test_versions_that_were_judged_before_images_went_are_compared_and_it_is_said(
    logged_in: LoggedIn, run: TrainingRun
) -> None:
    _judge(run)
    _delete_a_test_image(run)
    page = _text(logged_in("staff").get("/training/compare/").content)
    assert "Figures on 2 test images" in page
    assert f"Images of run {run.pk} were deleted since: both versions were judged on all that there were then." in page
    assert "Judge version 7 again" in page


def test_where_one_could_read_fewer_images_the_way_to_a_comparison_is_said(
    logged_in: LoggedIn, run: TrainingRun, active_version: ModelVersion
) -> None:
    evaluation = _judge(run)
    evaluation.report["queries"] -= 1
    evaluation.save()
    page = _text(logged_in("staff").get("/training/compare/").content)
    assert "Figures on" not in page
    assert "The two were not judged on the same images" in page
    for number in (active_version.number, 7):
        assert f"manage.py evaluate --run {run.pk} --model-version {number}" in page


def test_what_can_not_be_judged_again_says_why(
    logged_in: LoggedIn, run: TrainingRun, active_version: ModelVersion, archive: Dataset
) -> None:
    _delete_a_test_image(run)
    _judge(run)
    client = logged_in("staff")
    archive.images.all().delete()
    page = _text(client.get("/training/compare/").content)
    assert f"Version 7 cannot be judged again: none of the images of run {run.pk} is in the archive any more." in page
    assert "Judge version" not in page


def test_figures_say_that_their_images_are_not_all_there_any_more(logged_in: LoggedIn, run: TrainingRun) -> None:
    evaluation = _judge(run)
    client, address = logged_in("staff"), f"/training/evaluations/{evaluation.pk}/"
    assert "were deleted since" not in _text(client.get(address).content)
    _delete_a_test_image(run)
    assert "Some of the images were deleted since" in _text(client.get(address).content)


def test_figures_of_other_images_are_no_objection(logged_in: LoggedIn, run: TrainingRun) -> None:
    _delete_a_test_image(run)
    _judge(run, mistaken=1)
    page = _text(logged_in("staff").post("/training/versions/7/activate/").content)
    assert "is worse" not in page
    assert "were not compared on the same test images" in page


def test_a_run_objects_once_however_often_it_was_judged_on(logged_in: LoggedIn, run: TrainingRun) -> None:
    for _ in range(2):
        _judge(run, mistaken=1)
    page = _text(logged_in("staff").post("/training/versions/7/activate/").content)
    assert page.count("is worse on the same 2 test images") == 1
