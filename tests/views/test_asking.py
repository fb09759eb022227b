"""Asking with an image, and reading the answer."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from retrieval.models import Dataset, JobStatus, MedicalImage, ModelVersion, Query
from retrieval.services import space
from retrieval.services.switching import activate_model_version, retire_model_version
from retrieval.services.versions import create_model_version
from tests.pictures import drawn_pixels, png

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
Ask = Callable[..., Query]
Answered = Callable[[Query], Query]


@pytest.fixture
def clinician(logged_in: LoggedIn) -> Client:
    return logged_in("clinician")


def _page(client: Client, query: Query, **choice: str) -> str:
    return client.get(query.get_absolute_url(), choice).content.decode()


def _ranks(page: str) -> list[int]:
    return [int(rank) for rank in re.findall(r'<li data-rank="(\d+)"', page)]


def _stored(folder: Path) -> list[Path]:
    return [path for path in (folder / "queries").rglob("*") if path.is_file()]


def test_an_image_of_the_archive_finds_itself_first(
    clinician: Client, archive: Dataset, ask: Ask, answered: Answered, picture_folder: Path
) -> None:
    query = answered(ask(clinician, content=(picture_folder / "hand" / "4.png").read_bytes()))
    page = _page(clinician, query)
    assert _ranks(page) == [1, 2, 3, 4, 5, 6]
    first = query.results.get(rank=1)
    assert first.image is not None
    assert (first.image.label, round(first.distance, 3)) == ("hand", 0)
    assert "1.000" in page
    assert "version 1" in page


def test_the_file_is_forgotten_once_its_picture_is_there(
    clinician: Client, archive: Dataset, ask: Ask, answered: Answered, media: Path
) -> None:
    query = ask(clinician)
    assert [path.suffix for path in _stored(media)] == [""]
    answered(query)
    assert [path.suffix for path in _stored(media)] == [".png"]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "The file is empty"),
        (b"%PDF-1.7 something", 415, "a PDF document"),
        (b"just some text", 415, "not an image that can be read here"),
    ],
)
def test_what_can_be_seen_at_once_is_refused_at_once(
    clinician: Client, media: Path, content: bytes, status: int, words: str
) -> None:
    for headers in ({}, {"HX-Request": "true"}):
        image = SimpleUploadedFile("scan.png", content)
        response = clinician.post("/", {"image": image}, headers=headers)
        assert response.status_code == status
        assert words in response.content.decode()
    assert not Query.objects.exists()
    assert not _stored(media)


def test_a_form_without_a_file_says_what_to_do(clinician: Client) -> None:
    response = clinician.post("/", {})
    assert response.status_code == 400
    assert b"Choose an image first." in response.content


def test_a_file_over_the_limit_is_refused_before_it_is_read(clinician: Client, settings: Settings) -> None:
    settings.QUERY_MAX_BYTES = 1000
    response = clinician.post("/", {"image": SimpleUploadedFile("scan.png", b"\x89PNG\r\n\x1a\n" + bytes(5000))})
    assert response.status_code == 413
    settings.QUERY_MAX_BYTES = 1_000_000
    claimed = {"CONTENT_LENGTH": str(10**9)}
    response = clinician.generic("POST", "/", b"", content_type="multipart/form-data; boundary=x", **claimed)
    assert response.status_code == 413
    assert b"larger than" in response.content
    assert not Query.objects.exists()


@pytest.mark.parametrize("is_partial", [False, True])
def test_a_page_that_waits_for_its_answer_reads_no_choices(
    clinician: Client, archive: Dataset, ask: Ask, answered: Answered, *, is_partial: bool
) -> None:
    """They are three passes over the whole archive, and such a page is asked for again and again."""
    query = ask(clinician)
    headers = {"HX-Request": "true"} if is_partial else {}
    with CaptureQueriesContext(connection) as captured:
        clinician.get(query.get_absolute_url(), headers=headers)
    assert [each["sql"] for each in captured if "DISTINCT" in each["sql"]] == []
    answered(query)
    response = clinician.get(query.get_absolute_url(), headers=headers)
    assert response.context["choices"]["labels"] == ["chest", "hand"]


def test_the_archive_is_not_counted_for_every_page(clinician: Client, archive: Dataset) -> None:
    first = clinician.get("/")
    with CaptureQueriesContext(connection) as captured:
        again = clinician.get("/")
    assert [each["sql"] for each in captured if "COUNT(" in each["sql"]] == []
    for page in (first, again):
        assert (page.context["image_count"], page.context["searchable_count"]) == (6, 6)
    # Of each version its own.
    activate_model_version(create_model_version(architecture="narrow", weights="none", seed=1))
    assert clinician.get("/").context["searchable_count"] == 0


def test_a_question_leaves_space_on_the_disk(clinician: Client, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database may lie on the same one."""
    monkeypatch.setattr(space, "RESERVE_BYTES", 2**60)
    clinician.raise_request_exception = False
    response = clinician.post("/", {"image": SimpleUploadedFile("scan.png", png(drawn_pixels(1)))})
    assert response.status_code == 507
    assert "disk" in response.content.decode()
    assert not Query.objects.exists()
    assert not _stored(media)


def test_the_open_page_is_told_where_the_answer_will_be(clinician: Client) -> None:
    image = SimpleUploadedFile("scan.png", png(drawn_pixels(1)))
    response = clinician.post("/", {"image": image}, headers={"HX-Request": "true"})
    assert response["HX-Redirect"] == Query.objects.get().get_absolute_url()


def test_a_damaged_file_fails_on_its_own_page(
    clinician: Client, archive: Dataset, ask: Ask, answered: Answered
) -> None:
    whole = png(drawn_pixels(1))
    query = answered(ask(clinician, content=whole[: len(whole) // 2]))
    page = _page(clinician, query)
    assert query.status == JobStatus.FAILED
    assert "The image is damaged or incomplete" in page
    assert "Choose another image" in page
    assert not _ranks(page)


def test_without_a_model_the_query_waits(clinician: Client, ask: Ask, answered: Answered) -> None:
    query = answered(ask(clinician))
    assert query.status == JobStatus.QUEUED
    assert "No model version is active" in _page(clinician, query)
    assert "No model version is active" in clinician.get("/").content.decode()


def test_an_empty_archive_says_so(
    clinician: Client, active_version: ModelVersion, ask: Ask, answered: Answered
) -> None:
    assert "The archive is empty" in clinician.get("/").content.decode()
    page = _page(clinician, answered(ask(clinician)))
    assert "The archive held no indexed image when this search ran." in page


def test_a_query_that_no_worker_takes_says_so(clinician: Client, archive: Dataset, ask: Ask) -> None:
    query = ask(clinician)
    assert "The answer appears here by itself" in _page(clinician, query)
    Query.objects.filter(pk=query.pk).update(queued_at=timezone.now() - timedelta(seconds=10))
    page = _page(clinician, query)
    assert "No search worker is free at the moment" in page
    assert f'hx-get="{query.get_absolute_url()}"' in page


def test_the_page_replaces_its_own_part_and_title(
    clinician: Client, archive: Dataset, ask: Ask, answered: Answered
) -> None:
    query = answered(ask(clinician))
    part = clinician.get(query.get_absolute_url(), headers={"HX-Request": "true"}).content.decode()
    assert part.startswith("<title>Similar images")
    assert "<html" not in part
    assert "hx-get" not in part
    assert len(_ranks(part)) == 6


def test_a_narrowed_answer_holds_all_that_fits(
    clinician: Client, archive: Dataset, ask: Ask, answered: Answered
) -> None:
    query = answered(ask(clinician))
    assert len(_ranks(_page(clinician, query, label="hand"))) == 3
    assert len(_ranks(_page(clinician, query, dataset="Drawn", label="chest"))) == 3
    assert "No image of the archive fits this choice" in _page(clinician, query, modality="PET")
    assert len(_ranks(_page(clinician, query))) == 6


def test_an_old_answer_stays_as_it_was(clinician: Client, archive: Dataset, ask: Ask, answered: Answered) -> None:
    query = answered(ask(clinician))
    before = list(query.results.values_list("rank", "image", "distance"))
    activate_model_version(create_model_version(architecture="narrow", weights="none", seed=1))
    page = _page(clinician, query)
    assert list(query.results.values_list("rank", "image", "distance")) == before
    assert len(_ranks(page)) == 6
    assert "Answered by model version 1." in " ".join(page.split())


def test_an_old_answer_of_a_retired_version_stays_and_is_not_narrowed(
    clinician: Client, archive: Dataset, ask: Ask, answered: Answered
) -> None:
    query = answered(ask(clinician))
    activate_model_version(create_model_version(architecture="narrow", weights="none", seed=1))
    retire_model_version(ModelVersion.objects.get(number=1))
    page = _page(clinician, query)
    assert len(_ranks(page)) == 6
    assert "data-submit-on-change" not in page
    response = clinician.get(query.get_absolute_url(), {"label": "hand"}, follow=True)
    assert response.redirect_chain == [(query.get_absolute_url(), 302)]
    page = response.content.decode()
    assert "the model version that gave it is retired" in page
    assert len(_ranks(page)) == 6


def test_what_nobody_works_on_is_not_waited_for(clinician: Client, ask: Ask, settings: Settings) -> None:
    settings.QUERY_WAIT_SECONDS = 0.5
    query = ask(clinician)
    assert not ModelVersion.objects.exists()
    with CaptureQueriesContext(connection) as asked:
        assert "No model version is active" in _page(clinician, query)
    assert len(asked) < 20


def test_an_answer_that_comes_later_is_said_aloud(
    clinician: Client, archive: Dataset, ask: Ask, answered: Answered
) -> None:
    query = ask(clinician)
    assert 'id="answer-said" role="status"></p>' in _page(clinician, query)
    answered(query)
    update = clinician.get(query.get_absolute_url(), headers={"HX-Request": "true"}).content.decode()
    assert '<span id="answer-said" hx-swap-oob="innerHTML">The answer is here.</span>' in update


def test_an_image_that_is_unlike_the_archive_is_told(
    clinician: Client, archive: Dataset, ask: Ask, answered: Answered
) -> None:
    query = answered(ask(clinician))
    address = query.get_absolute_url()
    nearest = query.results.get(rank=1).similarity
    said = f"The most similar image has {nearest:.3f}; 99 of 100 test images found one with 1.001 or more."
    assert "Unlike the archive" not in _page(clinician, query)
    for usual, is_unlike in ((1.001, True), (nearest - 0.001, False)):
        ModelVersion.objects.update(metrics={"usual_similarity": usual})
        assert (said in _page(clinician, query)) is is_unlike
        update = clinician.get(address, headers={"HX-Request": "true"}).content.decode()
        assert ("The answer is here. The archive may hold nothing of this kind." in update) is is_unlike
    # Of a part of the archive it would say that the part is a part.
    ModelVersion.objects.update(metrics={"usual_similarity": 1.001})
    assert "Unlike the archive" not in _page(clinician, query, label="hand")


def test_one_answer_is_no_plural(clinician: Client, archive: Dataset, ask: Ask, answered: Answered) -> None:
    query = answered(ask(clinician))
    query.results.filter(rank__gt=1).delete()
    assert '<h1 id="answer-title">The most similar image</h1>' in _page(clinician, query)


def test_a_deleted_image_keeps_its_place(clinician: Client, archive: Dataset, ask: Ask, answered: Answered) -> None:
    query = answered(ask(clinician))
    first = query.results.get(rank=1).image
    assert first is not None
    MedicalImage.objects.filter(pk=first.pk).delete()
    page = _page(clinician, query)
    assert "This image has been deleted since." in page
    assert _ranks(page) == [1, 2, 3, 4, 5, 6]


def test_more_like_this_asks_with_the_stored_embedding(clinician: Client, archive: Dataset, answered: Answered) -> None:
    image = archive.images.get(pixel_sha256=archive.images.first().pixel_sha256)
    response = clinician.post(f"/images/{image.uuid}/similar/")
    query = Query.objects.get()
    assert response["Location"] == query.get_absolute_url()
    answered(query)
    assert query.embed_ms == 0
    assert query.results.get(rank=1).image == image


def test_a_query_can_be_asked_again(clinician: Client, archive: Dataset, ask: Ask, answered: Answered) -> None:
    query = answered(ask(clinician))
    response = clinician.post(f"{query.get_absolute_url()}again/")
    again = Query.objects.latest("pk")
    assert again != query
    assert response["Location"] == again.get_absolute_url()
    assert answered(again).results.count() == 6


def test_a_question_whose_image_is_gone_says_so(clinician: Client, archive: Dataset, answered: Answered) -> None:
    image = archive.images.earliest("pk")
    clinician.post(f"/images/{image.uuid}/similar/")
    query = answered(Query.objects.get())
    image.delete()
    page = clinician.post(f"{query.get_absolute_url()}again/", follow=True)
    assert page.status_code == 200
    assert "is no longer there" in page.content.decode()
    assert Query.objects.count() == 1


def test_the_history_shows_the_closest_label(clinician: Client, archive: Dataset, ask: Ask, answered: Answered) -> None:
    assert "You have not searched yet" in clinician.get("/queries/").content.decode()
    answered(ask(clinician))
    page = clinician.get("/queries/").content.decode()
    assert "chest" in page
    assert "1.000" in page
