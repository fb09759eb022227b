"""What staff see of training runs: all of them, one while it works, one that has ended, and its judgement."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone

from retrieval.models import Dataset, ModelVersion
from retrieval.templatetags.archive import duration
from tests.elements import page_text
from tests.training_rows import add_epoch, make_evaluation, make_run, running_again
from training.models import EpochMetrics, Evaluation, SplitImage, TrainingRun

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
HTMX = {"HX-Request": "true"}


def test_runs_versions_and_figures_are_listed(logged_in: LoggedIn, judged: Evaluation) -> None:
    page = page_text(logged_in("staff"), "/training/")
    assert "Start a training run" in page
    assert re.search(r"done Drawn 3 of 20 70\.0 % 0\.500 version 7 a command, or somebody who is gone", page)
    assert re.search(r"7 ready narrow trained here, run \d+ 0 of 6 50\.0 % 0\.500 0\.500", page)


def test_a_version_from_elsewhere_is_judged_by_another_runs_images_and_says_so(
    logged_in: LoggedIn, judged: Evaluation, active_version: ModelVersion
) -> None:
    assert judged.run is not None
    make_evaluation(judged.run, version=active_version)
    page = page_text(logged_in("staff"), "/training/")
    assert re.search(rf"100\.0 % 1\.000 1\.000 on images of run {judged.run.pk}", page)


def test_figures_of_its_own_run_come_before_those_of_a_run_that_made_nothing(
    logged_in: LoggedIn, judged: Evaluation, archive: Dataset
) -> None:
    failed = make_run(archive, status="failed")
    make_evaluation(failed, version=judged.model_version)
    page = page_text(logged_in("staff"), "/training/")
    assert re.search(r"7 ready narrow trained here, run \d+ 0 of 6 50\.0 % 0\.500 0\.500", page)
    assert "on images of run" not in page


def test_the_unfinished_run_stands_first_and_takes_the_start_buttons_place(
    logged_in: LoggedIn, archive: Dataset
) -> None:
    make_run(archive, status="running", epochs=2, phase="training", done=30, total=60)
    client = logged_in("staff")
    page = page_text(client, "/training/")
    assert "Training, 2 of at most 20 epochs done, about 35 min left" in page
    assert "Start a training run" not in page
    assert 'hx-get="/training/"' in client.get("/training/").content.decode()


def test_an_empty_site_offers_the_first_run(logged_in: LoggedIn) -> None:
    client = logged_in("staff")
    assert "Start the first training run" in page_text(client, "/training/")
    assert "hx-get" not in client.get("/training/").content.decode()


def test_a_run_is_watched_while_it_works(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", epochs=2, phase="training", done=30, total=60, attempts=2)
    client, address = logged_in("staff"), f"/training/runs/{run.pk}/"
    page = page_text(client, address)
    assert "Training , epoch 3 of at most 20, about 35 min left" in page
    assert "30 of 60 batches" in page
    assert "started by a command, or somebody who is gone" in page
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
    assert "Training , epoch 1 of at most 20 2 of 60 batches" in page_text(client, address)
    # A fifth of the first of 20 epochs took 12 minutes: 19.8 of them take 19.8 hours.
    TrainingRun.objects.update(done=12)
    assert "Training , epoch 1 of at most 20, about 20 h left" in page_text(client, address)
    assert "Training, 0 of at most 20 epochs done, about 20 h left" in page_text(client, "/training/")
    TrainingRun.objects.update(phase="validating", done=0)
    assert "Validating , epoch 1 of at most 20, about 4 h left" in page_text(client, address)


def test_a_validation_counts_batches_and_gives_no_time_back(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", epochs=2, phase="validating", done=1, total=8)
    client = logged_in("staff")
    page = page_text(client, "/training/")
    assert "Validating, 2 of at most 20 epochs done, about 34 min left" in page
    assert "1 of 8 batches of epoch 3" in page
    page = page_text(client, f"/training/runs/{run.pk}/")
    assert "Validating , epoch 3 of at most 20, about 34 min left" in page
    assert "1 of 8 batches" in page


def test_epochs_on_small_images_take_less_of_the_time_that_is_left(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", epochs=2, phase="training", done=30, total=60)
    # Of 20 epochs 16 learn from a quarter of the pixels: 13.5 of those are left, and 4 that take four times as long.
    TrainingRun.objects.filter(pk=run.pk).update(recipe=run.recipe | {"small_share": 0.8, "small_side": 112})
    page = page_text(logged_in("staff"), f"/training/runs/{run.pk}/")
    assert "epoch 3 of at most 20, about 59 min left" in page
    assert "Epochs 1 to 16 learn from images of 112 pixels a side" in page
    # One at full size has taken no longer than the small ones: what was expected of the others before is forgotten.
    TrainingRun.objects.filter(pk=run.pk).update(recipe=run.recipe | {"small_share": 0.05, "small_side": 112})
    page = page_text(logged_in("staff", name="another"), f"/training/runs/{run.pk}/")
    assert "epoch 3 of at most 20, about 35 min left" in page


def test_final_epochs_are_told_from_those_before_them(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", epochs=3, phase="training", done=30, total=60)
    recipe = run.recipe | {"epochs": 4, "final_epochs": 2}
    TrainingRun.objects.filter(pk=run.pk).update(recipe=recipe)
    client, address = logged_in("staff"), f"/training/runs/{run.pk}/"
    page = page_text(client, address)
    assert "epoch 4 of at most 4 and 2 final, about 5 min left if nothing ends it earlier" in page
    # What was best is known: after the last epoch, or as soon as patience is at its end.
    TrainingRun.objects.filter(pk=run.pk).update(recipe=recipe | {"epochs": 3})
    assert "final epoch 1 of 2, about 3 min left 30 of 60" in page_text(client, address)
    EpochMetrics.objects.filter(run=run, epoch=1).update(val_accuracy=0.9)
    TrainingRun.objects.filter(pk=run.pk).update(recipe=recipe | {"patience": 2})
    assert "final epoch 1 of 2" in page_text(client, address)
    add_epoch(run, epoch=4, is_final=True)
    page = page_text(client, address)
    assert "final epoch 2 of 2" in page
    assert "Best validation accuracy so far: 90.0 % in epoch 1" in page
    assert "Epoch 4 learns from the validation images too" in page
    assert "Training, 4 of at most 6 epochs done" in page_text(client, "/training/")


def test_a_run_with_final_epochs_tells_which_epoch_they_went_on_from(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, epochs=3)
    TrainingRun.objects.filter(pk=run.pk).update(recipe=run.recipe | {"epochs": 3, "final_epochs": 2})
    for epoch in (4, 5):
        add_epoch(run, epoch=epoch, is_final=True)
    page = page_text(logged_in("staff"), f"/training/runs/{run.pk}/")
    assert "in epoch 3 of 3. 2 final epochs went on from there with the validation images too." in page
    assert "ended early" not in page
    assert "5 of 5" in page_text(logged_in("staff", name="another"), "/training/")


def test_a_run_that_ended_early_says_why(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, epochs=3)
    EpochMetrics.objects.filter(run=run, epoch=1).update(val_accuracy=0.9)
    address, client = f"/training/runs/{run.pk}/", logged_in("staff")
    for patience, reason in ((2, "nothing better came in 2 epochs"), (3, "the time allowed for learning was over")):
        TrainingRun.objects.filter(pk=run.pk).update(recipe=run.recipe | {"patience": patience})
        assert f"; ended early, since {reason}." in page_text(client, address)


def test_a_run_that_has_just_been_taken_waits_no_more(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", epochs=0)
    for address in (f"/training/runs/{run.pk}/", "/training/"):
        page = page_text(logged_in("staff", name=address), address)
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
    assert "No trainer is free" not in page_text(client, address)
    TrainingRun.objects.filter(pk=run.pk).update(queued_at="2020-01-01T00:00Z")
    page = page_text(client, address)
    assert "Waiting for the trainer" in page
    assert "No trainer is free" in page


def test_a_failed_run_says_why_and_can_be_started_again(
    logged_in: LoggedIn, archive: Dataset, active_version: ModelVersion
) -> None:
    run = make_run(archive, status="failed")
    client, address = logged_in("staff"), f"/training/runs/{run.pk}/"
    page = page_text(client, address)
    assert f"The disk is full. Version {active_version.number} serves on as before." in page
    assert f'href="/training/start/?run={run.pk}"' in client.get(address).content.decode()


def test_settings_split_and_images_left_out_are_told(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, left_out={"unlabelled": 12, "unreadable": 0}, parameters=151152530)
    page = page_text(logged_in("staff"), f"/training/runs/{run.pk}/")
    assert "Learning rate 0.02" in page
    assert "Schedule One cycle" in page
    assert "Weights in all 151,152,530" in page
    assert "chest 1 1 1 3 hand 1 1 1 3 All classes 2 2 2 6" in page
    assert "Left out: 12 unlabelled images." in page


def test_the_parts_of_the_images_come_to_a_page_that_was_opened_before(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="queued", epochs=0)
    parts = list(run.split.all())
    run.split.all().delete()
    client, address = logged_in("staff"), f"/training/runs/{run.pk}/"
    page = client.get(address).content.decode()
    [polled] = [unescape(found) for found in re.findall(r'hx-get="([^"]+)"', page)]
    TrainingRun.objects.filter(pk=run.pk).update(status="running", lease_expires_at="2999-01-01T00:00Z")
    assert "HX-Refresh" not in client.get(polled, headers=HTMX)
    SplitImage.objects.bulk_create(parts)
    assert client.get(polled, headers=HTMX)["HX-Refresh"] == "true"
    [polled] = re.findall(r'hx-get="([^"]+)"', client.get(address).content.decode())
    assert "HX-Refresh" not in client.get(unescape(polled), headers=HTMX)


def test_curves_stand_in_tables(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, epochs=2)
    page = page_text(logged_in("staff"), f"/training/runs/{run.pk}/")
    assert "Epoch Training Validation 1 2.0000 2.5000 2 1.0000 1.2500" in page
    assert "Epoch Training Validation 1 55.0 % 50.0 % 2 65.0 % 60.0 %" in page


def test_every_training_page_keeps_to_the_content_security_policy(logged_in: LoggedIn, judged: Evaluation) -> None:
    client = logged_in("staff")
    running = make_run(judged.images.earliest("pk").image.dataset, status="running")
    pages = ("", "start/", f"runs/{judged.run_id}/", f"runs/{running.pk}/", f"runs/{running.pk}/cancel/", "compare/")
    versions = ("versions/7/activate/", "versions/7/retire/")
    evaluations = (f"{judged.pk}/", f"{judged.pk}/?label=chest", f"{running_again(judged).pk}/cancel/")
    for name in (*pages, *versions, *(f"evaluations/{each}" for each in evaluations)):
        response = client.get(f"/training/{name}")
        page = response.content.decode()
        assert response.status_code == 200, name
        assert not re.search(r'\s(style|on\w+)="', page), name
        assert not re.search(r"<script(?![^>]*\bsrc=)", page), name


@pytest.mark.parametrize("address", ["runs/999/", "evaluations/999/", "versions/999/activate/", "start/?run=999"])
def test_what_does_not_exist_is_not_found(logged_in: LoggedIn, address: str) -> None:
    assert logged_in("staff").get(f"/training/{address}").status_code == 404
