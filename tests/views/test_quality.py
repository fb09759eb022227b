"""The data quality page: for curators alone, right before and after a check, and every decision can be taken back."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from retrieval.models import (
    Dataset,
    DatasetDeletion,
    ImageChange,
    JobStatus,
    MedicalImage,
    ModelVersion,
    QualityCheck,
    QualityFinding,
)
from retrieval.services.curation import exclude, hold, relabel, release, restore
from tests.quality_rows import Planted, add_image, checked, plant

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
Kind = QualityFinding.Kind


@pytest.fixture
def planted(db: None) -> Planted:
    return plant()


def address_of(dataset: Dataset) -> str:
    return f"{dataset.get_absolute_url()}quality/"


def text(response: HttpResponse, *, status: int = 200) -> str:
    assert response.status_code == status
    return " ".join(response.content.decode().split())


def decide(client: Client, dataset: Dataset, **posted: object) -> str:
    """Send the form of the findings; return the page that it leads to."""
    return text(client.post(f"{address_of(dataset)}decide/", posted, follow=True))


def test_curators_alone_see_and_change_it(logged_in: LoggedIn, planted: Planted) -> None:
    clinician, address = logged_in("clinician"), address_of(planted.dataset)
    assert address not in text(clinician.get(planted.dataset.get_absolute_url()))
    assert clinician.get(address).status_code == 403
    for verb in ("check", "cancel", "decide", "undo"):
        assert clinician.post(f"{address}{verb}/").status_code == 403
        assert logged_in("staff", name=f"staff {verb}").get(f"{address}{verb}/").status_code == 405
    assert not QualityCheck.objects.exists()
    staff = logged_in("staff")
    assert address in text(staff.get(planted.dataset.get_absolute_url()))
    assert "Not checked yet" in text(staff.get(address))


def test_what_the_rows_say_is_there_at_once(logged_in: LoggedIn, planted: Planted) -> None:
    add_image(planted.dataset, version=None, label="", modality="MRI", width=5000, height=90, body_part_examined="")
    response = logged_in("staff").get(address_of(planted.dataset))
    page = text(response)
    assert "55 images, 54 of them indexed" in page
    counts = {name: [(row["value"], row["count"]) for row in rows] for name, rows in response.context["counts"].items()}
    assert counts == {
        "Label": [("chest", 17), ("hand", 13), ("abdomen", 12), ("knee", 12), ("", 1)],
        "Modality": [("CT", 54), ("MRI", 1)],
        "Body part": [("CHEST", 54), ("", 1)],
    }
    assert {name: count for name, count in response.context["sizes"] if count} == {"up to 512": 54, "above 4096": 1}
    assert "Width 320 to 5,000, height 90 to 240 pixels" in page


def test_a_dataset_without_images(logged_in: LoggedIn) -> None:
    empty = Dataset.objects.create(name="empty")
    page = text(logged_in("staff").get(address_of(empty)))
    assert "0 images." in page
    assert "<button disabled>Check this dataset" in page


def test_a_check_is_asked_for_watched_and_cancelled(logged_in: LoggedIn, planted: Planted) -> None:
    client, address = logged_in("staff"), address_of(planted.dataset)
    assert "Waiting for a worker" in text(client.post(f"{address}check/", follow=True))
    check = QualityCheck.objects.get()
    assert check.asked_by == client.user  # type: ignore[attr-defined]
    client.post(f"{address}check/")
    assert QualityCheck.objects.count() == 1
    QualityCheck.objects.update(queued_at=timezone.now() - timedelta(minutes=1))
    piece = text(client.get(address, headers={"HX-Request": "true"}))
    assert "No worker is free" in piece
    assert "<html" not in piece
    lease = timezone.now() + timedelta(minutes=1)
    QualityCheck.objects.update(status=JobStatus.RUNNING, lease_expires_at=lease, done=20, total=54)
    assert "20 of 54 images" in text(client.get(address, headers={"HX-Request": "true"}))
    assert "It is being cancelled" in text(client.post(f"{address}cancel/", follow=True))
    QualityCheck.objects.update(status=JobStatus.CANCELLED)
    assert client.get(address, headers={"HX-Request": "true"})["HX-Refresh"] == "true"
    assert "The last check was cancelled" in text(client.get(address))
    QualityCheck.objects.update(status=JobStatus.FAILED, reason="The disk is full.")
    assert "The last check failed.</strong> The disk is full." in text(client.get(address))


def test_a_dataset_that_is_being_deleted_is_not_checked(logged_in: LoggedIn, planted: Planted) -> None:
    DatasetDeletion.objects.create(dataset=planted.dataset, name="planted")
    page = text(logged_in("staff").post(f"{address_of(planted.dataset)}check/", follow=True))
    assert "This dataset is being deleted" in page
    assert not QualityCheck.objects.exists()


def test_the_findings_are_listed_by_kind(logged_in: LoggedIn, planted: Planted) -> None:
    checked(planted.dataset)
    client, address = logged_in("staff"), address_of(planted.dataset)
    response = client.get(address)
    page = text(response)
    assert "with model version 1: 54 of 54 images were compared with 54 of the archive" in page
    assert "Out of date" not in page
    assert response.context["kinds"] == [("exact", 1), ("near", 1), ("suspect", 1), ("outlier", 1)]
    assert all(str(twin.uuid) in page for twin in planted.twins)
    assert "The same pixels." in page
    suspects = text(client.get(f"{address}?show=suspect"))
    assert str(planted.mislabelled.uuid) in suspects
    assert "of the votes say <strong>chest</strong>" in suspects
    assert str(planted.stranger.uuid) in text(client.get(f"{address}?show=outlier"))
    nonsense = client.get(f"{address}?show=nonsense&page=nonsense")
    assert list(nonsense.context["page"]) == list(response.context["page"])


@pytest.mark.parametrize(
    ("asked", "taken", "count"),
    [("0.9", 0.9, 1), ("0.999", 0.999, 0), ("nan", 0.98, 1), ("x", 0.98, 1), ("2", 0.98, 1)],
)
def test_the_similarity_of_duplicates_is_chosen_on_the_page(
    logged_in: LoggedIn, planted: Planted, asked: str, taken: float, count: int
) -> None:
    checked(planted.dataset)
    response = logged_in("staff").get(address_of(planted.dataset), {"show": "near", "similarity": asked})
    assert response.context["similarity"] == taken
    assert dict(response.context["kinds"])[Kind.NEAR] == len(response.context["page"]) == count


def test_what_is_ticked_is_relabelled_and_the_change_kept(logged_in: LoggedIn, planted: Planted) -> None:
    checked(planted.dataset)
    client, twins = logged_in("staff"), list(planted.twins)
    page = decide(
        client,
        planted.dataset,
        action="relabel",
        label=" thorax ",
        images=[str(twin.uuid) for twin in twins],
        back="show=exact&page=1",
    )
    assert "2 images are relabelled as thorax." in page
    assert "Was that a mistake?" in page
    assert set(MedicalImage.objects.filter(pk__in=[twin.pk for twin in twins]).values_list("label", flat=True)) == {
        "thorax"
    }
    changes = ImageChange.objects.all()
    assert {(each.image_id, each.old, each.new) for each in changes} == {(twin.pk, "chest", "thorax") for twin in twins}
    assert {each.changed_by for each in changes} == {client.user}  # type: ignore[attr-defined]
    assert "Label “chest” became “thorax”" in page
    assert "2 images were relabelled, excluded or released" in page


def test_one_image_is_excluded_and_comes_back(logged_in: LoggedIn, planted: Planted) -> None:
    checked(planted.dataset)
    client, twin = logged_in("staff"), planted.twins[1]
    response = client.post(
        f"{address_of(planted.dataset)}decide/",
        {"action": f"exclude:{twin.uuid}", "images": [str(planted.behaved[0].uuid)], "back": "show=exact"},
    )
    assert response["Location"] == f"{address_of(planted.dataset)}?show=exact#findings"
    response = client.get(address_of(planted.dataset), {"show": "exact"})
    page = text(response)
    assert "1 image is excluded" in page
    assert "1 was excluded" in page
    assert response.context["kinds"][0] == (Kind.EXACT, 0)
    # The button that was pressed counts, not what is ticked.
    assert list(MedicalImage.objects.filter(standing="excluded")) == [twin]
    [change] = response.context["undoable"]
    assert client.get(address_of(planted.dataset)).context["undoable"] == []
    back = client.post(f"{address_of(planted.dataset)}undo/", {"change": [change], "back": "show=exact"}, follow=True)
    assert "Undone: 1 image is as before." in text(back)
    assert back.context["kinds"][0] == (Kind.EXACT, 1)
    assert [(each.old, each.new) for each in ImageChange.objects.all()] == [
        ("excluded", "shown"),
        ("shown", "excluded"),
    ]


@pytest.mark.parametrize(
    ("verbs", "before"),
    [([hold], "shown"), ([hold, release], "held"), ([exclude], "shown"), ([exclude, restore], "excluded")],
    ids=["hold", "release", "exclude", "restore"],
)
def test_each_change_that_the_page_lists_is_undone(
    logged_in: LoggedIn, planted: Planted, verbs: list[Callable], before: str
) -> None:
    [image] = planted.behaved[:1]
    for verb in verbs:
        verb([image], user=None)
    client, change = logged_in("staff"), ImageChange.objects.latest("pk")
    assert f'name="change" value="{change.pk}"' in client.get(address_of(planted.dataset)).content.decode()
    answer = client.post(f"{address_of(planted.dataset)}undo/", {"change": [change.pk]}, follow=True)
    assert "Undone: 1 image is as before." in text(answer)
    image.refresh_from_db()
    assert image.standing == before


@pytest.mark.parametrize("way", ["own button", "ticked"])
def test_a_suspect_takes_the_label_of_its_neighbours(logged_in: LoggedIn, planted: Planted, way: str) -> None:
    checked(planted.dataset)
    uuid = str(planted.mislabelled.uuid)
    posted = {"action": f"suggested:{uuid}"} if way == "own button" else {"action": "suggested", "images": [uuid]}
    client = logged_in("staff")
    assert "1 image is relabelled as chest." in decide(client, planted.dataset, **posted)
    planted.mislabelled.refresh_from_db()
    assert planted.mislabelled.label == "chest"
    [change] = ImageChange.objects.all()
    relabel([planted.mislabelled], label="knee", user=None)
    changes = [change.pk, "x", "9" * 19, "9" * 5000]
    answer = client.post(f"{address_of(planted.dataset)}undo/", {"change": changes}, follow=True)
    assert "Nothing was undone: somebody has changed this again since." in text(answer)
    planted.mislabelled.refresh_from_db()
    assert planted.mislabelled.label == "knee"


@pytest.mark.parametrize(
    ("posted", "words"),
    [
        ({"action": "exclude"}, "Tick the images first."),
        ({"action": "exclude:nothing"}, "Tick the images first."),
        ({"action": "relabel", "images": "TWIN"}, "Type the label"),
        ({"action": "relabel", "images": "TWIN", "label": "x" * 101}, "A label has at most 100 characters."),
        ({"action": "relabel", "images": "TWIN", "label": "chest"}, "Nothing had to be changed"),
        ({"action": "suggested", "images": "TWIN"}, "Nothing had to be changed"),
        ({"action": "destroy", "images": "TWIN"}, "asked for something that this site does not know"),
        ({}, "Tick the images first."),
    ],
)
def test_what_cannot_be_done_is_said(logged_in: LoggedIn, planted: Planted, posted: dict[str, str], words: str) -> None:
    checked(planted.dataset)
    posted = {name: value.replace("TWIN", str(planted.twins[0].uuid)) for name, value in posted.items()}
    assert words in decide(logged_in("staff"), planted.dataset, **posted)
    assert not ImageChange.objects.exists()


def test_a_label_that_garbles_pages_is_made_printable(logged_in: LoggedIn, planted: Planted) -> None:
    checked(planted.dataset)
    posted = {"action": "relabel", "images": str(planted.mislabelled.uuid), "label": "lu\u202eng\x07"}
    page = decide(logged_in("staff"), planted.dataset, **posted)
    assert "1 image is relabelled as lu\ufffdng\ufffd." in page
    assert "\u202e" not in page
    planted.mislabelled.refresh_from_db()
    assert planted.mislabelled.label == "lu\ufffdng\ufffd"


def test_nobody_is_led_elsewhere(logged_in: LoggedIn, planted: Planted) -> None:
    address = address_of(planted.dataset)
    answer = logged_in("staff").post(f"{address}decide/", {"back": "//elsewhere.example/?a=b"})
    assert answer["Location"].startswith(f"{address}?")


def test_the_page_says_what_its_findings_are_worth(logged_in: LoggedIn, planted: Planted) -> None:
    client, address = logged_in("staff"), address_of(planted.dataset)
    assert "Untrained weights" in text(client.get(address))
    ModelVersion.objects.update(status="ready")
    checked(planted.dataset)
    assert "only exact duplicates were looked for" in text(client.get(address))
    ModelVersion.objects.update(status="active", weights_source="trained")
    page = text(client.get(address))
    assert "model version 1 has become active" in page
    assert "Untrained weights" not in page


def test_the_page_asks_as_many_queries_for_a_page_of_findings_as_for_one(
    logged_in: LoggedIn, planted: Planted, django_assert_max_num_queries: Callable
) -> None:
    for _ in range(20):
        add_image(planted.other, version=None, pixel_sha256="e" * 64)
    checked(planted.dataset)
    client = logged_in("staff")
    with django_assert_max_num_queries(45):
        assert len(client.get(address_of(planted.dataset)).context["page"]) == 21
