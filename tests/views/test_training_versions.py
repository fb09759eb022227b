"""Putting versions into service and out of it, and two of them side by side."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import OperationalError, connection
from django.test import Client

from retrieval.models import Dataset, Embedding, IndexFailure, IndexJob, ModelVersion
from retrieval.services.switching import SwitchedMeanwhile, activate_model_version
from tests.training_rows import make_evaluation, make_run, make_version
from training.models import Evaluation, TrainingRun
from training.services.activation import put_into_service

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
HTMX = {"HX-Request": "true"}


def _text(page: bytes) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.decode()).split())


@pytest.fixture
def run(archive: Dataset, active_version: ModelVersion) -> TrainingRun:
    """A run that made version 7; the active version is judged on its test images, one of two wrong."""
    made = make_run(archive)
    make_version(number=7, run=made)
    make_evaluation(made, version=active_version, mistaken=1)
    return made


@pytest.fixture
def candidate(run: TrainingRun, active_version: ModelVersion) -> ModelVersion:
    """Version 7, as good as can be and fully indexed."""
    assert run.model_version is not None
    make_evaluation(run, version=run.model_version)
    _index(run.model_version, like=active_version)
    return run.model_version


def _index(version: ModelVersion, *, like: ModelVersion) -> None:
    Embedding.objects.bulk_create(
        Embedding(image_id=row.image_id, model_version=version, vector=row.vector) for row in like.embeddings.all()
    )


def _active() -> int:
    return ModelVersion.objects.get(status="active").number


def test_a_better_version_is_activated_at_once(logged_in: LoggedIn, candidate: ModelVersion) -> None:
    page = _text(logged_in("staff").post("/training/versions/7/activate/", follow=True).content)
    assert "Version 7 is active: it answers every search from now on." in page
    assert _active() == 7


def test_an_activation_that_cannot_plan_what_is_missing_is_none(
    client: Client, candidate: ModelVersion, active_version: ModelVersion
) -> None:
    """Imports embed for the active version alone: nobody would plan it later."""
    Embedding.objects.of(candidate).earliest("pk").delete()

    def fail(execute: Callable, sql: str, *rest: object) -> object:
        if sql.startswith('INSERT INTO "retrieval_indexjob"'):
            raise OperationalError("the database went away")
        return execute(sql, *rest)

    with connection.execute_wrapper(fail), pytest.raises(OperationalError):
        put_into_service(candidate)
    assert _active() == active_version.number


def test_a_version_stays_while_a_run_goes_on_from_it(
    logged_in: LoggedIn, candidate: ModelVersion, archive: Dataset
) -> None:
    waiting = make_run(archive, status="queued", epochs=0, weights=f"version:{candidate.number}")
    client = logged_in("staff")
    page = _text(client.post("/training/versions/7/retire/", follow=True).content)
    assert f"Training run {waiting.pk} goes on from model version 7, and needs it" in page
    candidate.refresh_from_db()
    assert candidate.status == "ready"
    TrainingRun.objects.filter(pk=waiting.pk).update(status="cancelled")
    assert "Version 7 is retired" in _text(client.post("/training/versions/7/retire/", follow=True).content)


def test_a_worse_version_asks_first(
    logged_in: LoggedIn, candidate: ModelVersion, active_version: ModelVersion, run: TrainingRun
) -> None:
    activate_model_version(candidate)
    client, address = logged_in("staff"), f"/training/versions/{active_version.number}/activate/"
    page = _text(client.post(address).content)
    assert f"is worse on the same 2 test images (run {run.pk}): P@20 is 0.500, that of version 7 1.000." in page
    assert "Activate anyway" in page
    assert "Keep version 7" in page
    assert _active() == 7
    client.post(address, {"active": "7"})
    assert _active() == active_version.number


def test_a_confirmation_holds_against_the_version_that_was_shown(
    logged_in: LoggedIn, candidate: ModelVersion, active_version: ModelVersion, run: TrainingRun
) -> None:
    client, address = logged_in("staff"), f"/training/versions/{active_version.number}/activate/"
    other = make_version(number=8)
    activate_model_version(other)
    question = client.get(address).content.decode()
    assert "Versions 1 and 8 were not compared" in question
    shown = dict(re.findall(r'<input type="hidden" name="(active)" value="(\d+)">', question))
    # Somebody else activates another one, which this one is worse than.
    activate_model_version(candidate)
    page = _text(client.post(address, shown).content)
    assert "Somebody else has just changed the model versions" in page
    assert f"is worse on the same 2 test images (run {run.pk})" in page
    assert _active() == 7
    with pytest.raises(SwitchedMeanwhile):
        put_into_service(active_version, agreed="8")
    assert "Version 1 is active" in _text(client.post(address, {"active": "7"}, follow=True).content)


def test_a_version_that_is_worse_on_any_test_images_asks_first(
    logged_in: LoggedIn, candidate: ModelVersion, active_version: ModelVersion, run: TrainingRun, archive: Dataset
) -> None:
    """A newer run, on whose test images both are equal, hides nothing."""
    activate_model_version(candidate)
    newer = make_run(archive)
    for version in (candidate, active_version):
        make_evaluation(newer, version=version)
    page = _text(logged_in("staff").post(f"/training/versions/{active_version.number}/activate/").content)
    assert f"is worse on the same 2 test images (run {run.pk})" in page
    assert f"(run {newer.pk})" not in page


def test_a_version_that_has_not_learnt_all_classes_asks_first(logged_in: LoggedIn, candidate: ModelVersion) -> None:
    ModelVersion.objects.filter(pk=candidate.pk).update(classes=["hand"])
    ModelVersion.objects.filter(status="active").update(classes=["chest", "hand"])
    page = _text(logged_in("staff").post("/training/versions/7/activate/").content)
    assert "Version 7 was not trained on 1 of the 2 classes that version 1 has learnt: chest." in page
    assert _active() == 1


def test_rolling_back_to_a_worse_version_says_so(logged_in: LoggedIn, candidate: ModelVersion) -> None:
    activate_model_version(candidate)
    page = _text(logged_in("staff").get("/training/versions/roll-back/").content)
    assert "Version 1 is worse on the same 2 test images" in page


def test_what_a_version_lacks_is_embedded_once_it_serves(
    logged_in: LoggedIn, candidate: ModelVersion, active_version: ModelVersion
) -> None:
    """Images came in while another version served."""
    client = logged_in("staff")

    def queued(version: ModelVersion) -> list[int]:
        return list(IndexJob.objects.filter(model_version=version).order_by("pk").values_list("total", flat=True))

    before = queued(active_version)
    client.post("/training/versions/7/activate/")
    assert queued(candidate) == []
    active_version.embeddings.all()[0].delete()
    client.post("/training/versions/roll-back/", {"active": 7, "to": active_version.number})
    assert queued(active_version) == [*before, 1]
    for embedding in candidate.embeddings.all()[:2]:
        embedding.delete()
    client.post("/training/versions/7/activate/", {"active": active_version.number})
    assert queued(candidate) == [2]


def _cannot_embed(version: ModelVersion) -> None:
    """An index job of the version has tried one of the images in vain."""
    embedding = version.embeddings.earliest("image_id")
    job = IndexJob.objects.create(model_version=version, total=1)
    IndexFailure.objects.create(index_job=job, image_id=embedding.image_id, reason="The preview is damaged.")
    embedding.delete()


def test_an_image_that_no_version_can_embed_is_no_objection(
    logged_in: LoggedIn, candidate: ModelVersion, active_version: ModelVersion
) -> None:
    for version in (candidate, active_version):
        _cannot_embed(version)
    client = logged_in("staff")
    client.post("/training/versions/7/activate/")
    assert _active() == 7
    assert candidate.index_jobs.count() == 1
    page = _text(client.get("/training/versions/roll-back/").content)
    assert "5 of 6 images are indexed for version 1. Of the others, 1 cannot be embedded" in page
    assert "no search finds" not in page
    page = _text(client.get(f"/training/runs/{candidate.training_run.pk}/").content)  # type: ignore[attr-defined]
    assert "5 of 6 images are indexed with it. Of the others, 1 cannot be embedded" in page
    assert "manage.py index --model-version 7 says why" in page
    assert "progress" not in page


def test_an_image_that_only_the_active_version_can_embed_asks_first(
    logged_in: LoggedIn, candidate: ModelVersion
) -> None:
    _cannot_embed(candidate)
    page = _text(logged_in("staff").post("/training/versions/7/activate/").content)
    assert "1 of the images that version 1 finds cannot be embedded by version 7" in page
    assert "until they are indexed" not in page
    assert _active() == 1


def test_an_unjudged_and_unindexed_version_asks_first(logged_in: LoggedIn, run: TrainingRun) -> None:
    page = _text(logged_in("staff").post("/training/versions/7/activate/").content)
    assert "6 of 6 images have no embedding of version 7 yet" in page
    assert "were not compared on the same test images" in page
    assert _active() != 7


def test_a_version_whose_file_is_damaged_is_refused(logged_in: LoggedIn, candidate: ModelVersion) -> None:
    Path(candidate.weights.path).write_bytes(b"something else")
    page = _text(logged_in("staff").post("/training/versions/7/activate/", follow=True).content)
    assert "The weights file of model version 7 is damaged" in page
    assert _active() != 7


def test_looking_at_the_question_activates_nothing(logged_in: LoggedIn, candidate: ModelVersion) -> None:
    assert "Activate version 7?" in _text(logged_in("staff").get("/training/versions/7/activate/").content)
    assert _active() != 7


def test_rolling_back_says_what_it_does_and_does_it(
    logged_in: LoggedIn, candidate: ModelVersion, active_version: ModelVersion
) -> None:
    client, former = logged_in("staff"), active_version.number
    activate_model_version(candidate)
    assert f"Roll back to version {former}" in _text(client.get("/training/").content)
    question = _text(client.get("/training/versions/roll-back/").content)
    assert f"6 of 6 images are indexed for version {former}" in question
    assert "Version 7 stays ready" in question
    assert _active() == 7
    response = client.get("/training/versions/roll-back/")
    shown = dict(re.findall(r'<input type="hidden" name="(active|to)" value="(\d+)">', response.content.decode()))
    page = _text(client.post("/training/versions/roll-back/", shown, follow=True).content)
    assert f"Version {former} is active again." in page
    assert _active() == former
    # Somebody else had the same question open: once more would put the version back into service that failed.
    page = _text(client.post("/training/versions/roll-back/", shown, follow=True).content)
    assert "Somebody else has just changed the model versions" in page
    assert _active() == former


@pytest.mark.parametrize("method", ["get", "post"])
def test_without_a_former_version_there_is_no_way_back(logged_in: LoggedIn, run: TrainingRun, method: str) -> None:
    client, before = logged_in("staff"), _active()
    assert "Roll back" not in _text(client.get("/training/").content)
    response = getattr(client, method)("/training/versions/roll-back/", follow=True)
    assert 'class="notice notice-error"' in response.content.decode()
    assert _active() == before


def test_retiring_says_what_it_deletes_and_deletes_it(logged_in: LoggedIn, candidate: ModelVersion) -> None:
    client = logged_in("staff")
    question = _text(client.get("/training/versions/7/retire/").content)
    assert "6 embeddings" in question
    assert "its weights file, 20 bytes" in question
    assert candidate.embeddings.count() == 6
    page = _text(client.post("/training/versions/7/retire/", follow=True).content)
    assert "Version 7 is retired" in page
    assert candidate.embeddings.count() == 0
    candidate.refresh_from_db()
    assert candidate.status == "retired"
    assert not candidate.weights
    assert "Activate version 7" not in client.get("/training/").content.decode()
    for ask in (client.get, client.post):
        assert "Model version 7 is retired" in _text(ask("/training/versions/7/activate/", follow=True).content)


def test_the_active_version_is_not_retired(logged_in: LoggedIn, archive: Dataset, active_version: ModelVersion) -> None:
    address = f"/training/versions/{active_version.number}/retire/"
    response = logged_in("staff").post(address, follow=True)
    assert 'class="notice notice-error"' in response.content.decode()
    assert _active() == active_version.number
    assert active_version.embeddings.count() == 6


def test_two_versions_stand_side_by_side(
    logged_in: LoggedIn, candidate: ModelVersion, active_version: ModelVersion
) -> None:
    client, former = logged_in("staff"), active_version.number
    page = _text(client.get("/training/compare/").content)
    assert f"Figures on 2 test images Figure Version {former} Version 7 Change" in page
    assert "Accuracy 50.0 % 100.0 % ▲ +50.0 points" in page
    assert "P@20 0.500 1.000 ▲ +0.500" in page
    assert "hand 1 1.000 1.000 +0.000 chest 1 0.000 1.000 ▲ +1.000" in page
    assert "What got worse No test image." in page
    assert "P@20 of 1 test image rose. chest P@20 0.000 → 1.000 hand → chest" in page
    page = _text(client.get("/training/compare/", {"a": 7, "b": former}).content)
    assert "▼ −50.0 points" in page  # noqa: RUF001
    assert "chest 1 1.000 0.000 ▼ −1.000" in page  # noqa: RUF001
    assert "P@20 of 1 test image fell." in page


def test_what_a_perfect_ranking_would_reach_stands_beside_the_figures(
    logged_in: LoggedIn, run: TrainingRun, candidate: ModelVersion, active_version: ModelVersion
) -> None:
    client = logged_in("staff")
    pages = "/training/compare/", f"/training/runs/{run.pk}/"
    assert not any("a perfect ranking" in _text(client.get(page).content) for page in pages)
    for evaluation in Evaluation.objects.all():
        evaluation.report["best_p_at_20"] = 0.25
        evaluation.save()
    sentence = "fewer than 20 images in this gallery: a perfect ranking would reach a P@20 of 0.250."
    assert all(sentence in _text(client.get(page).content) for page in pages)


def test_accuracies_of_two_kinds_are_not_subtracted(
    logged_in: LoggedIn, candidate: ModelVersion, active_version: ModelVersion
) -> None:
    untrained = active_version.evaluations.get()
    untrained.report["accuracy_by"] = "nearest neighbour"
    untrained.save()
    client = logged_in("staff")
    page = _text(client.get("/training/compare/").content)
    assert "P@20 0.500 1.000 ▲ +0.500" in page
    assert "points" not in page
    assert "50.0 % by nearest neighbour" in _text(client.get("/training/").content)


def test_a_version_that_is_not_judged_can_be(
    logged_in: LoggedIn, run: TrainingRun, active_version: ModelVersion
) -> None:
    client = logged_in("staff")
    address = f"/training/compare/?run={run.pk}&a={active_version.number}&b=7"
    assert "Version 7 has not been judged on the test images" in _text(client.get(address).content)
    response = client.post("/training/compare/", {"run": run.pk, "version": 7, "a": active_version.number, "b": 7})
    assert response["Location"] == address
    evaluation = Evaluation.objects.get(model_version__number=7)
    assert evaluation.run == run
    assert "Version 7 waits for the trainer" in _text(client.get(address).content)
    update = client.get(address, headers=HTMX)
    assert 'hx-get="/training/compare/?' in update.content.decode()
    assert "<html" not in update.content.decode()
    Evaluation.objects.filter(pk=evaluation.pk).update(status="failed", reason="The weights file is missing.")
    assert client.get(address, headers=HTMX)["HX-Refresh"] == "true"
    page = _text(client.get(address).content)
    assert "could not be judged. The weights file is missing." in page
    assert "Judge version 7 again" in page


def test_what_cannot_be_compared_says_why(logged_in: LoggedIn, candidate: ModelVersion) -> None:
    client = logged_in("staff")
    for chosen, words in (
        ({"run": 999}, "There is no finished run of that number."),
        ({"a": 7, "b": 7}, "This is the same version twice"),
        ({"a": 999}, "Choose two versions"),
    ):
        assert words in _text(client.get("/training/compare/", chosen).content)
    assert client.post("/training/compare/", {"run": "x", "version": "7"}).status_code == 404


def test_nothing_to_compare_offers_a_first_run(logged_in: LoggedIn) -> None:
    page = _text(logged_in("staff").get("/training/compare/").content)
    assert "before a training run is done. Start a training run" in page
