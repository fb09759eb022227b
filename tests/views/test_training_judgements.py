"""What staff see of a judgement: its figures, its confusion matrix, its images, and how it is cancelled."""

import re
from collections.abc import Callable

import pytest
from django.test import Client

from retrieval.services.curation import exclude
from tests.elements import page_text
from tests.training_rows import running_again
from training.models import Evaluation

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
HTMX = {"HX-Request": "true"}


def test_a_judgement_says_what_its_figures_are_worth(logged_in: LoggedIn, judged: Evaluation) -> None:
    client, address = logged_in("staff"), f"/training/runs/{judged.run_id}/"
    page = page_text(client, address)
    assert "Accuracy by classifier 50.0 % P@20 0.500 mAP@20 0.500" in page
    assert "These figures flatter." in page
    assert "manage.py evaluate --model-version 7 --queries FOLDER" in page
    assert "Embedding, as searches use it 2 4 0.500 0.500 0.500 0.500 0.500" in page
    assert "Dense features alone, not projected 2 4 0.500" in page
    figures = {"queries": 5, "mean_similarity": 0.4, "auroc": 0.975, "unlike": 0.8}
    # Folders may have any name, also that of something that templates know.
    unknown = {"dental": figures, "items": figures}
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
    page = page_text(client, address)
    assert "P@20, images from “othersources” 0.250" in page
    assert "--queries" not in page
    page = page_text(client, f"/training/evaluations/{elsewhere.pk}/")
    assert "on images from “othersources”" in page
    assert "dental 5 0.400 0.975 80.0 % items 5 0.400 0.975 80.0 %" in page
    assert "of the images of known classes it were 5.0 %" in page
    assert "Left out: 3 files that are no readable images, 2 without a class, 1 that the archive has already." in page
    assert "Confusion matrix" in page_text(client, f"/training/evaluations/{elsewhere.pk}/?label=chest")
    elsewhere.report["left_out"]["refused"] = 1
    elsewhere.save()
    page = page_text(client, f"/training/evaluations/{elsewhere.pk}/")
    assert "Left out: 1 file that is no readable image, 2 without a class" in page


def test_test_images_that_the_version_learnt_from_are_told(logged_in: LoggedIn, judged: Evaluation) -> None:
    judged.report["seen_in_training"] = 1
    judged.save()
    page = page_text(logged_in("staff"), f"/training/runs/{judged.run_id}/")
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


def test_test_images_that_were_taken_out_since_are_not_in_the_way_of_others(
    logged_in: LoggedIn, judged: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hardest ones are those that are looked at, and taken out."""
    for name in ("HARDEST", "PAGE"):
        monkeypatch.setattr(f"training.views.evaluations.{name}", 1)
    hardest, other = judged.images.select_related("image")
    exclude([hardest.image], user=None)
    client = logged_in("staff")
    page = page_text(client, f"/training/runs/{judged.run_id}/")
    assert "Hardest test images" in page
    assert f"AP@20 {other.ap_at_20:.3f}" in page
    page = page_text(client, f"/training/evaluations/{judged.pk}/?label=")
    assert "1 test image of run" in page
    assert "1 more was taken out of the archive since." in page
    assert f"AP@20 {other.ap_at_20:.3f}" in page


def test_the_confusion_matrix_leads_to_its_images(logged_in: LoggedIn, judged: Evaluation) -> None:
    client = logged_in("staff")
    page = client.get(f"/training/runs/{judged.run_id}/").content.decode()
    cells = re.findall(r'href="(/training/evaluations/[^"]+)" title="([^"]+)">(\d+)</a>', page)
    assert [(title, count) for _, title, count in cells] == [
        ("chest taken for hand: 1 of 1", "1"),
        ("hand taken for hand: 1 of 1", "1"),
    ]
    words = page_text(client, cells[0][0].replace("&amp;", "&"))
    assert "chest taken for hand 1 test image of run" in words
    assert "✗ taken for hand AP@20 0.000 P@20 0.000" in words
    rates = client.get(f"/training/runs/{judged.run_id}/", {"rates": 1}).content.decode()
    assert re.findall(r': 1 of 1">(\d+)</a>', rates) == ["100", "100"]


def test_a_matrix_too_large_to_be_read_is_left_out(
    logged_in: LoggedIn, judged: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, address = logged_in("staff"), f"/training/runs/{judged.run_id}/"
    monkeypatch.setattr("training.views.evaluations.MOST_IN_MATRIX", 1)
    page = page_text(client, address)
    assert "A matrix of 2 classes is too large to be read." in page
    assert "Each figure leads to its images." not in page
    assert re.search(r"chest 1 0\.0 % 0\.000 0\.000 hand 1", page)


def test_the_hardest_test_images_stand_before_their_answers(logged_in: LoggedIn, judged: Evaluation) -> None:
    page = page_text(logged_in("staff"), f"/training/runs/{judged.run_id}/")
    strips = page.partition("Hardest test images")[2]
    assert re.search(r"chest ✗ taken for hand .*✗ Answer 1, wrong: hand .*hand ✓ recognised .*Answer 1, right", strips)


def test_test_images_are_chosen_and_turned_over(logged_in: LoggedIn, judged: Evaluation) -> None:
    client, address = logged_in("staff"), f"/training/evaluations/{judged.pk}/"
    assert "2 test images of run" in page_text(client, f"{address}?label=")
    assert "hand, recognised 1 test image" in page_text(client, f"{address}?label=hand&predicted=hand")
    assert "No test image with this label was taken for that." in page_text(
        client, f"{address}?label=hand&predicted=chest"
    )
    assert "Confusion matrix" in page_text(client, address)


def test_a_deleted_neighbour_keeps_its_place(logged_in: LoggedIn, judged: Evaluation) -> None:
    asked = judged.images.earliest("pk")
    asked.neighbours = [999_999, *asked.neighbours[1:]]
    asked.save()
    assert "deleted" in page_text(logged_in("staff"), f"/training/runs/{judged.run_id}/")


def test_an_evaluation_that_is_not_done_says_how_far_it_is(logged_in: LoggedIn, judged: Evaluation) -> None:
    assert judged.run is not None
    waiting = Evaluation.objects.create(model_version=judged.model_version, run=judged.run)
    client, address = logged_in("staff"), f"/training/evaluations/{waiting.pk}/"
    assert "waits for the trainer" in page_text(client, address)
    assert f'hx-get="{address}"' in client.get(address, headers=HTMX).content.decode()
    Evaluation.objects.filter(pk=waiting.pk).update(status="failed", reason="The weights file is missing.")
    assert client.get(address, headers=HTMX)["HX-Refresh"] == "true"
    page = page_text(client, address)
    assert "could not be judged. The weights file is missing." in page
    assert "is being judged" not in page
    assert "hx-get" not in client.get(address).content.decode()


def test_cancelling_a_judgement_asks_once_more(logged_in: LoggedIn, judged: Evaluation) -> None:
    evaluation = running_again(judged)
    client, address = logged_in("staff"), f"/training/evaluations/{evaluation.pk}/cancel/"
    for page in (f"/training/evaluations/{evaluation.pk}/", "/training/"):
        assert f'href="{address}"' in client.get(page).content.decode()
    assert "Cancel the judgement of version 7?" in page_text(client, address)
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
