"""Datasets, images, errors, and what holds for every page."""

import re
from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import Settings

from retrieval.models import Dataset, MedicalImage, Query

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]


def test_datasets_are_listed_filtered_and_sorted(logged_in: LoggedIn, archive: Dataset) -> None:
    Dataset.objects.create(name="Another", is_synthetic=True)
    client = logged_in("clinician")

    def names(**choice: str) -> list[str]:
        page = client.get("/datasets/", choice).content.decode()
        return re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)</a>', page)

    assert names() == ["Another", "Drawn"]
    assert names(sort="-name") == ["Drawn", "Another"]
    assert names(sort="-images") == ["Drawn", "Another"]
    assert names(sort="nonsense") == ["Another", "Drawn"]
    assert names(q="draw") == ["Drawn"]
    assert "No dataset" in client.get("/datasets/", {"q": "x-y"}).content.decode()


def test_a_dataset_counts_its_classes(logged_in: LoggedIn, archive: Dataset) -> None:
    page = " ".join(logged_in("clinician").get(archive.get_absolute_url()).content.decode().split())
    assert "6 images in 2 labels, 6 of them can be found" in page
    assert page.count("50 %") == 2
    assert page.count('class="tile"') == 6


def test_a_class_of_a_dataset_can_be_looked_at(logged_in: LoggedIn, archive: Dataset) -> None:
    page = logged_in("clinician").get(archive.get_absolute_url(), {"label": "hand"}).content.decode()
    assert page.count('class="tile"') == 3


def test_the_next_page_opens_at_its_images(
    logged_in: LoggedIn, archive: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.views.browsing.PAGE", 4)
    page = logged_in("clinician").get(archive.get_absolute_url()).content.decode()
    assert 'rel="next" href="?page=2#images"' in page
    assert 'id="images"' in page


def test_an_image_page_tells_its_attributes_and_no_identifiers(logged_in: LoggedIn, archive: Dataset) -> None:
    image = archive.images.earliest("pk")
    MedicalImage.objects.filter(pk=image.pk).update(
        modality="CT", body_part_examined="CHEST", study_instance_uid="1.2.3.4.5", patient_key="secret-key"
    )
    page = logged_in("clinician").get(image.get_absolute_url()).content.decode()
    for words in ("CHEST", "320 × 240 pixels", "More like this", "CC0"):  # noqa: RUF001
        assert words in page
    assert "1.2.3.4.5" not in page
    assert "secret-key" not in page


def test_every_page_keeps_to_the_content_security_policy(
    logged_in: LoggedIn, archive: Dataset, ask: Callable[..., Query], answered: Callable[[Query], Query]
) -> None:
    client = logged_in("admin")
    query, image = answered(ask(client)), archive.images.first()
    assert image is not None
    addresses = ("/", "/queries/", "/datasets/", "/training/", "/nothing-here", query.get_absolute_url())
    for address in (*addresses, archive.get_absolute_url(), image.get_absolute_url()):
        response = client.get(address)
        page = response.content.decode()
        policy = response["Content-Security-Policy"]
        assert ("default-src 'none'" in policy, "unsafe" in policy) == (True, False), address
        assert not re.search(r'\s(style|on\w+)="', page), address
        assert not re.search(r"<script(?![^>]*\bsrc=)", page), address
        assert not re.search(r'(src|href|action)="(https?:)?//', page), address


def test_the_administration_alone_may_evaluate_attributes(logged_in: LoggedIn, archive: Dataset) -> None:
    """What its theme needs, and no more: no script or style sheet in a page, nothing from another host."""
    client = logged_in("admin")
    for address in ("/admin/", "/admin/retrieval/dataset/", f"/admin/retrieval/dataset/{archive.pk}/upload/"):
        response = client.get(address)
        policy = {each.split()[0]: set(each.split()[1:]) for each in response["Content-Security-Policy"].split(";")}
        assert policy["script-src"] == {"'self'", "'unsafe-eval'"}
        assert (policy["style-src"], policy["style-src-attr"]) == ({"'self'"}, {"'unsafe-inline'"})
        assert (policy["default-src"], policy["connect-src"]) == ({"'none'"}, {"'self'"})
        page = response.content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style", page), address
        assert not re.search(r'(src|href|action)="(https?:)?//', page), address


def test_the_administration_shows_each_person_what_they_may_see(logged_in: LoggedIn) -> None:
    admin, staff = (logged_in(role).get("/admin/").content.decode() for role in ("admin", "staff"))
    for address in ("/admin/retrieval/dataset/", "/admin/retrieval/importjob/", "/training/", "/datasets/"):
        assert f'href="{address}"' in admin
        assert f'href="{address}"' in staff
    assert 'href="/admin/auth/user/"' in admin
    assert 'href="/admin/auth/user/"' not in staff


@pytest.mark.parametrize("address", ["/nothing-here", "/queries/00000000-0000-0000-0000-000000000000/"])
def test_an_unknown_address_says_what_to_do(logged_in: LoggedIn, address: str) -> None:
    response = logged_in("clinician").get(address)
    assert response.status_code == 404
    assert b"There is no such page" in response.content


@pytest.mark.parametrize("address", ["/datasets/?q=%00", "/datasets/?label=a%00b", "/queries/?page=%00", "/%00"])
def test_a_nul_in_an_address_is_the_visitors_mistake(logged_in: LoggedIn, address: str) -> None:
    response = logged_in("admin").get(address)
    assert response.status_code == 400
    assert b"could not be understood" in response.content


@pytest.mark.parametrize("name", ["sessionid", "csrftoken", "messages"])
def test_a_nul_in_a_cookie_is_the_visitors_mistake(db: None, name: str) -> None:
    client = Client()
    client.raise_request_exception = False
    response = client.get("/", headers={"Cookie": f'{name}="\\000\\000\\000abcdefgh"'})
    assert response.status_code == 400
    assert b"could not be understood" in response.content


@pytest.mark.parametrize("address", ["/login/", "/logout/", "/admin/login/", "/healthz", "/datasets/"])
def test_only_the_search_page_takes_large_bodies(address: str, settings: Settings) -> None:
    """Django would write them to the disk before it asks who sends them."""
    large = SimpleUploadedFile("large.bin", bytes(3 * 2**20))
    assert Client().post(address, {"file": large}).status_code == 413
    assert not list(settings.WORK_DIR.iterdir())
