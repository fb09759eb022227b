"""What staff see of training runs: all of them, one while it works, one that has ended, and its judgement."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from retrieval.models import Dataset, ModelVersion
from retrieval.templatetags.archive import duration
from tests.training_rows import add_epoch, make_evaluation, make_run, make_version
from training.models import EpochMetrics, Evaluation, TrainingRun

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
HTMX = {"HX-Request": "true"}


def _text(client: Client, address: str) -> str:
    """The words of a page, without its tags."""
    response = client.get(address)
    assert response.status_code == 200, address
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


@pytest.fixture
def judged(archive: Dataset) -> Evaluation:
    """A run that is done: version 7, one of its two test images answered wrongly."""
    run = make_run(archive, epochs=3)
    return make_evaluation(run, version=make_version(number=7, run=run), mistaken=1)


def test_runs_versions_and_figures_are_listed(logged_in: LoggedIn, judged: Evaluation) -> None:
    page = _text(logged_in("staff"), "/training/")
    assert "Start a training run" in page
    assert re.search(r"done Drawn 3 of 20 70\.0 % 0\.500 version 7 a command", page)
    assert re.search(r"7 ready narrow trained here, run \d+ 0 of 6 50\.0 % 0\.500 0\.500", page)


def test_a_version_from_elsewhere_is_judged_by_another_runs_images_and_says_so(
    logged_in: LoggedIn, judged: Evaluation, active_version: ModelVersion
) -> None:
    assert judged.run is not None
    make_evaluation(judged.run, version=active_version)
    page = _text(logged_in("staff"), "/training/")
    assert re.search(rf"100\.0 % 1\.000 1\.000 on images of run {judged.run.pk}", page)


def test_figures_of_its_own_run_come_before_those_of_a_run_that_made_nothing(
    logged_in: LoggedIn, judged: Evaluation, archive: Dataset
) -> None:
    failed = make_run(archive, status="failed")
    make_evaluation(failed, version=judged.model_version)
    page = _text(logged_in("staff"), "/training/")
    assert re.search(r"7 ready narrow trained here, run \d+ 0 of 6 50\.0 % 0\.500 0\.500", page)
    assert "on images of run" not in page


def test_the_unfinished_run_stands_first_and_takes_the_start_buttons_place(
    logged_in: LoggedIn, archive: Dataset
) -> None:
    make_run(archive, status="running", epochs=2, phase="training", done=30, total=60)
    client = logged_in("staff")
    page = _text(client, "/training/")
    assert "Training, 2 of at most 20 epochs done, about 35 min left" in page
    assert "Start a training run" not in page
    assert 'hx-get="/training/"' in client.get("/training/").content.decode()


def test_an_empty_site_offers_the_first_run(logged_in: LoggedIn) -> None:
    client = logged_in("staff")
    assert "Start the first training run" in _text(client, "/training/")
    assert "hx-get" not in client.get("/training/").content.decode()


def test_a_run_is_watched_while_it_works(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", epochs=2, phase="training", done=30, total=60, attempts=2)
    client, address = logged_in("staff"), f"/training/runs/{run.pk}/"
    page = _text(client, address)
    assert "Training , epoch 3 of at most 20, about 35 min left" in page
    assert "30 of 60 batches" in page
    assert "Best validation accuracy so far: 60.0 % in epoch 2" in page
    assert "was interrupted 1 time;" in page
    assert "Cancel …" in page
    assert f'hx-get="{address}?epochs=2"' in client.get(address).content.decode()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(59, "less than a minute"), (90 * 60 - 40, "about 89 min"), (6000, "about 1.5 h"), (7300, "about 2 h")],
)
def test_time_left_is_told_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_first_epoch_tells_the_time_left_once_some_of_it_is_done(logged_in: LoggedIn, archive: Dataset) -> None:
    began = timezone.now() - timedelta(minutes=12)
    run = make_run(archive, status="running", epochs=0, phase="training", done=2, total=60, epoch_began_at=began)
    client, address = logged_in("staff"), f"/training/runs/{run.pk}/"
    assert "Training , epoch 1 of at most 20 2 of 60 batches" in _text(client, address)
    # A fifth of the first of 20 epochs took 12 minutes: 19.8 of them take 19.8 hours.
    TrainingRun.objects.update(done=12)
    assert "Training , epoch 1 of at most 20, about 20 h left" in _text(client, address)
    assert "Training, 0 of at most 20 epochs done, about 20 h left" in _text(client, "/training/")
    TrainingRun.objects.update(phase="validating", done=0)
    assert "Validating , epoch 1 of at most 20, about 4 h left" in _text(client, address)


def test_a_validation_counts_batches_and_gives_no_time_back(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", epochs=2, phase="validating", done=1, total=8)
    client = logged_in("staff")
    page = _text(client, "/training/")
    assert "Validating, 2 of at most 20 epochs done, about 34 min left" in page
    assert "1 of 8 batches of epoch 3" in page
    page = _text(client, f"/training/runs/{run.pk}/")
    assert "Validating , epoch 3 of at most 20, about 34 min left" in page
    assert "1 of 8 batches" in page


def test_epochs_on_small_images_take_less_of_the_time_that_is_left(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", epochs=2, phase="training", done=30, total=60)
    # Of 20 epochs 16 learn from a quarter of the pixels: 13.5 of those are left, and 4 that take four times as long.
    TrainingRun.objects.filter(pk=run.pk).update(recipe=run.recipe | {"small_share": 0.8, "small_side": 112})
    page = _text(logged_in("staff"), f"/training/runs/{run.pk}/")
    assert "epoch 3 of at most 20, about 59 min left" in page
    assert "Epochs 1 to 16 learn from images of 112 pixels a side" in page
    # One at full size has taken no longer than the small ones: what was expected of the others before is forgotten.
    TrainingRun.objects.filter(pk=run.pk).update(recipe=run.recipe | {"small_share": 0.05, "small_side": 112})
    page = _text(logged_in("staff", name="another"), f"/training/runs/{run.pk}/")
    assert "epoch 3 of at most 20, about 35 min left" in page


def test_final_epochs_are_told_from_those_before_them(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", epochs=3, phase="training", done=30, total=60)
    recipe = run.recipe | {"epochs": 4, "final_epochs": 2}
    TrainingRun.objects.filter(pk=run.pk).update(recipe=recipe)
    client, address = logged_in("staff"), f"/training/runs/{run.pk}/"
    page = _text(client, address)
    assert "epoch 4 of at most 4 and 2 final, about 5 min left if nothing ends it earlier" in page
    # What was best is known: after the last epoch, or as soon as patience is at its end.
    TrainingRun.objects.filter(pk=run.pk).update(recipe=recipe | {"epochs": 3})
    assert "final epoch 1 of 2, about 3 min left 30 of 60" in _text(client, address)
    EpochMetrics.objects.filter(run=run, epoch=1).update(val_accuracy=0.9)
    TrainingRun.objects.filter(pk=run.pk).update(recipe=recipe | {"patience": 2})
    assert "final epoch 1 of 2" in _text(client, address)
    add_epoch(run, epoch=4, is_final=True)
    page = _text(client, address)
    assert "final epoch 2 of 2" in page
    assert "Best validation accuracy so far: 90.0 % in epoch 1" in page
    assert "Epoch 4 learns from the validation images too" in page
    assert "Training, 4 of at most 6 epochs done" in _text(client, "/training/")


def test_a_run_with_final_epochs_tells_which_epoch_they_went_on_from(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, epochs=3)
    TrainingRun.objects.filter(pk=run.pk).update(recipe=run.recipe | {"epochs": 3, "final_epochs": 2})
    for epoch in (4, 5):
        add_epoch(run, epoch=epoch, is_final=True)
    page = _text(logged_in("staff"), f"/training/runs/{run.pk}/")
    assert "in epoch 3 of 3. 2 final epochs went on from there with the validation images too." in page
    assert "ended early" not in page
    assert "5 of 5" in _text(logged_in("staff", name="another"), "/training/")


def test_a_run_that_has_just_been_taken_waits_no_more(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", epochs=0)
    for address in (f"/training/runs/{run.pk}/", "/training/"):
        page = _text(logged_in("staff", name=address), address)
        assert "Getting ready" in page
        assert "Waiting for the trainer" not in page


def test_curves_come_anew_with_an_epoch_and_only_then(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", epochs=1, phase="training")
    client, address = logged_in("staff"), f"/training/runs/{run.pk}/"
    assert "hx-swap-oob" not in client.get(f"{address}?epochs=1", headers=HTMX).content.decode()
    add_epoch(run, epoch=2)
    update = client.get(f"{address}?epochs=1", headers=HTMX).content.decode()
    assert 'id="run-charts"' in update
    assert "hx-swap-oob" in update
    assert "<html" not in update


def test_the_page_is_read_anew_when_the_run_ends(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", phase="judging")
    client, address = logged_in("staff"), f"/training/runs/{run.pk}/"
    assert "HX-Refresh" not in client.get(address, headers=HTMX)
    TrainingRun.objects.filter(pk=run.pk).update(status="failed", reason="It went wrong.")
    assert client.get(address, headers=HTMX)["HX-Refresh"] == "true"
    assert "hx-get" not in client.get(address).content.decode()


def test_a_run_that_nobody_takes_says_so(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="queued", epochs=0)
    client, address = logged_in("staff"), f"/training/runs/{run.pk}/"
    assert "No trainer is free" not in _text(client, address)
    TrainingRun.objects.filter(pk=run.pk).update(queued_at="2020-01-01T00:00Z")
    page = _text(client, address)
    assert "Waiting for the trainer" in page
    assert "No trainer is free" in page


def test_a_failed_run_says_why_and_can_be_started_again(
    logged_in: LoggedIn, archive: Dataset, active_version: ModelVersion
) -> None:
    run = make_run(archive, status="failed")
    client, address = logged_in("staff"), f"/training/runs/{run.pk}/"
    page = _text(client, address)
    assert f"The disk is full. Version {active_version.number} serves on as before." in page
    assert f'href="/training/start/?run={run.pk}"' in client.get(address).content.decode()


def test_settings_split_and_images_left_out_are_told(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, left_out={"unlabelled": 12, "unreadable": 0}, parameters=151152530)
    page = _text(logged_in("staff"), f"/training/runs/{run.pk}/")
    assert "Learning rate 0.02" in page
    assert "Schedule One cycle" in page
    assert "Weights in all 151,152,530" in page
    assert "chest 1 1 1 3 hand 1 1 1 3 All classes 2 2 2 6" in page
    assert "Left out: 12 unlabelled images." in page


def test_curves_stand_in_tables(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, epochs=2)
    page = _text(logged_in("staff"), f"/training/runs/{run.pk}/")
    assert "Epoch Training Validation 1 2.0000 2.5000 2 1.0000 1.2500" in page
    assert "Epoch Training Validation 1 55.0 % 50.0 % 2 65.0 % 60.0 %" in page


def test_a_judgement_says_what_its_figures_are_worth(logged_in: LoggedIn, judged: Evaluation) -> None:
    client, address = logged_in("staff"), f"/training/runs/{judged.run_id}/"
    page = _text(client, address)
    assert "Accuracy by classifier 50.0 % P@20 0.500 mAP@20 0.500" in page
    assert "These figures flatter." in page
    assert "manage.py evaluate --model-version 7 --queries FOLDER" in page
    assert "Embedding, as searches use it 2 4 0.500 0.500 0.500 0.500 0.500" in page
    assert "Features before they are projected 2 4 0.500" in page
    unknown = {"dental": {"queries": 5, "mean_similarity": 0.4, "auroc": 0.975, "unlike": 0.8}}
    elsewhere = Evaluation.objects.create(
        model_version=judged.model_version,
        source="othersources",
        status="done",
        report={
            **judged.report,
            "unknown": unknown,
            "unlike": 0.05,
            "left_out": {"refused": 3, "unlabelled": 2, "already_in_archive": 1},
            "p_at": dict.fromkeys(("1", "5", "10", "20"), 0.25),
        },
    )
    page = _text(client, address)
    assert "P@20, images from “othersources” 0.250" in page
    assert "--queries" not in page
    page = _text(client, f"/training/evaluations/{elsewhere.pk}/")
    assert "on images from “othersources”" in page
    assert "dental 5 0.400 0.975 80.0 %" in page
    assert "of the images of known classes it were 5.0 %" in page
    assert "Left out: 3 files that are no readable images, 2 without a class, 1 that the archive has already." in page
    assert "Confusion matrix" in _text(client, f"/training/evaluations/{elsewhere.pk}/?label=chest")


def test_test_images_that_the_version_learnt_from_are_told(logged_in: LoggedIn, judged: Evaluation) -> None:
    judged.report["seen_in_training"] = 1
    judged.save()
    page = _text(logged_in("staff"), f"/training/runs/{judged.run_id}/")
    assert "1 of the 2 test images are images that this version learnt from" in page


def test_classes_sort_by_their_columns(logged_in: LoggedIn, judged: Evaluation) -> None:
    client = logged_in("staff")

    def labels(sort: str) -> list[str]:
        page = client.get(f"/training/runs/{judged.run_id}/", {"sort": sort}).content.decode()
        return re.findall(r'<th scope="row"><a [^>]+>(chest|hand)</a>', page)

    assert labels("label") == ["chest", "hand"]
    assert labels("-label") == ["hand", "chest"]
    assert labels("p") == labels("nonsense") == ["chest", "hand"]
    assert labels("-p") == labels("-accuracy") == ["hand", "chest"]


def test_the_confusion_matrix_leads_to_its_images(logged_in: LoggedIn, judged: Evaluation) -> None:
    client = logged_in("staff")
    page = client.get(f"/training/runs/{judged.run_id}/").content.decode()
    cells = re.findall(r'href="(/training/evaluations/[^"]+)" title="([^"]+)">(\d+)</a>', page)
    assert [(title, count) for _, title, count in cells] == [
        ("chest taken for hand: 1 of 1", "1"),
        ("hand taken for hand: 1 of 1", "1"),
    ]
    words = _text(client, cells[0][0].replace("&amp;", "&"))
    assert "chest taken for hand 1 test image of run" in words
    assert "✗ taken for hand AP@20 0.000 P@20 0.000" in words
    rates = client.get(f"/training/runs/{judged.run_id}/", {"rates": 1}).content.decode()
    assert re.findall(r': 1 of 1">(\d+)</a>', rates) == ["100", "100"]


def test_the_hardest_test_images_stand_before_their_answers(logged_in: LoggedIn, judged: Evaluation) -> None:
    page = _text(logged_in("staff"), f"/training/runs/{judged.run_id}/")
    strips = page.partition("Hardest test images")[2]
    assert re.search(r"chest ✗ taken for hand .*✗ Answer 1, wrong: hand .*hand ✓ recognised .*Answer 1, right", strips)


def test_test_images_are_chosen_and_turned_over(logged_in: LoggedIn, judged: Evaluation) -> None:
    client, address = logged_in("staff"), f"/training/evaluations/{judged.pk}/"
    assert "2 test images of run" in _text(client, f"{address}?label=")
    assert "hand, recognised 1 test image" in _text(client, f"{address}?label=hand&predicted=hand")
    assert "No test image with this label was taken for that." in _text(client, f"{address}?label=hand&predicted=chest")
    assert "Confusion matrix" in _text(client, address)


def test_a_deleted_neighbour_keeps_its_place(logged_in: LoggedIn, judged: Evaluation) -> None:
    asked = judged.images.earliest("pk")
    asked.neighbours = [999_999, *asked.neighbours[1:]]
    asked.save()
    assert "deleted" in _text(logged_in("staff"), f"/training/runs/{judged.run_id}/")


def test_an_evaluation_that_is_not_done_says_how_far_it_is(logged_in: LoggedIn, judged: Evaluation) -> None:
    assert judged.run is not None
    waiting = Evaluation.objects.create(model_version=judged.model_version, run=judged.run)
    client, address = logged_in("staff"), f"/training/evaluations/{waiting.pk}/"
    assert "waits for the trainer" in _text(client, address)
    assert f'hx-get="{address}"' in client.get(address, headers=HTMX).content.decode()
    Evaluation.objects.filter(pk=waiting.pk).update(status="failed", reason="The weights file is missing.")
    assert client.get(address, headers=HTMX)["HX-Refresh"] == "true"
    assert "could not be judged. The weights file is missing." in _text(client, address)
    assert "hx-get" not in client.get(address).content.decode()


def _running(judged: Evaluation) -> Evaluation:
    return Evaluation.objects.create(
        model_version=judged.model_version, run=judged.run, status="running", lease_expires_at=timezone.now()
    )


def test_cancelling_a_judgement_asks_once_more(logged_in: LoggedIn, judged: Evaluation) -> None:
    evaluation = _running(judged)
    client, address = logged_in("staff"), f"/training/evaluations/{evaluation.pk}/cancel/"
    for page in (f"/training/evaluations/{evaluation.pk}/", "/training/"):
        assert f'href="{address}"' in client.get(page).content.decode()
    assert "Cancel the judgement of version 7?" in _text(client, address)
    evaluation.refresh_from_db()
    assert not evaluation.cancel_requested
    page = client.post(address, follow=True).content.decode()
    evaluation.refresh_from_db()
    assert evaluation.cancel_requested
    assert "being cancelled" in page
    assert "Cancel …" not in page


def test_a_waiting_judgement_is_cancelled_at_once(logged_in: LoggedIn, judged: Evaluation) -> None:
    waiting = Evaluation.objects.create(model_version=judged.model_version, run=judged.run)
    client = logged_in("staff")
    page = client.post(f"/training/evaluations/{waiting.pk}/cancel/", follow=True).content.decode()
    waiting.refresh_from_db()
    assert waiting.status == "cancelled"
    assert "The judgement of version 7 was cancelled." in page


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_judgement_that_has_ended_is_not_cancelled(logged_in: LoggedIn, judged: Evaluation, method: str) -> None:
    response = getattr(logged_in("staff"), method)(f"/training/evaluations/{judged.pk}/cancel/", follow=True)
    assert "had ended before it could be cancelled" in response.content.decode()
    judged.refresh_from_db()
    assert judged.status == "done"


def test_every_training_page_keeps_to_the_content_security_policy(logged_in: LoggedIn, judged: Evaluation) -> None:
    client = logged_in("staff")
    running = make_run(judged.images.earliest("pk").image.dataset, status="running")
    pages = ("", "start/", f"runs/{judged.run_id}/", f"runs/{running.pk}/", f"runs/{running.pk}/cancel/", "compare/")
    versions = ("versions/7/activate/", "versions/7/retire/")
    evaluations = (f"{judged.pk}/", f"{judged.pk}/?label=chest", f"{_running(judged).pk}/cancel/")
    for name in (*pages, *versions, *(f"evaluations/{each}" for each in evaluations)):
        response = client.get(f"/training/{name}")
        page = response.content.decode()
        assert response.status_code == 200, name
        assert not re.search(r'\s(style|on\w+)="', page), name
        assert not re.search(r"<script(?![^>]*\bsrc=)", page), name


@pytest.mark.parametrize("address", ["runs/999/", "evaluations/999/", "versions/999/activate/", "start/?run=999"])
def test_what_does_not_exist_is_not_found(logged_in: LoggedIn, address: str) -> None:
    assert logged_in("staff").get(f"/training/{address}").status_code == 404
