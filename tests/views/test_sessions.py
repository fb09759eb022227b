"""Logged in and out: what a browser may keep, where a button leads then, and accounts that may do nothing."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from retrieval.models import Dataset, MedicalImage, Query

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
PASSWORD = "correct horse"


def test_no_page_is_kept_by_the_browser(logged_in: LoggedIn) -> None:
    client = logged_in("admin")
    for address in ("/", "/queries/", "/datasets/", "/review/", "/training/", "/admin/", "/nothing-here", "/login/"):
        assert "no-store" in client.get(address)["Cache-Control"], address


def test_a_picture_that_was_asked_with_is_not_kept_by_the_browser(
    logged_in: LoggedIn, archive: Dataset, ask: Callable[..., Query], answered: Callable[[Query], Query]
) -> None:
    client = logged_in("clinician")
    image = archive.images.earliest("pk")
    client.post(f"/images/{image.uuid}/similar/")
    for query in (answered(ask(client)), Query.objects.get(image=image)):
        assert client.get(f"{query.get_absolute_url()}preview.png")["Cache-Control"] == "private, no-store"
    assert "max-age" in client.get(f"/images/{image.uuid}/thumbnail.jpg")["Cache-Control"]


def _log_in(client: Client, *, name: str, following: str) -> HttpResponse:
    return client.post("/login/", {"username": name, "password": PASSWORD, "next": following})


@pytest.mark.parametrize(
    ("referer", "leads_to"),
    [
        ("http://testserver/datasets/?q=a", "http://testserver/datasets/?q=a"),
        ("http://elsewhere.example/datasets/", "/"),
        ("", "/"),
    ],
)
def test_a_button_without_a_session_leads_back_to_its_page(
    person: Callable[..., User], referer: str, leads_to: str
) -> None:
    person("clinician")
    client = Client()
    button = "/images/00000000-0000-0000-0000-000000000000/similar/"
    page = client.post(button, headers={"Referer": referer}, follow=True)
    assert page.context["next"] == leads_to
    assert _log_in(client, name="clinician", following=page.context["next"])["Location"] == leads_to


def test_passwords_cannot_be_tried_out(person: Callable[..., User], caplog: pytest.LogCaptureFixture) -> None:
    for name in ("clinician", "staff"):
        person(name)
    here, elsewhere = Client(), Client(REMOTE_ADDR="10.0.0.7")
    wrong = {"username": "clinician", "password": "guessed", "next": "/queries/"}
    answers = [here.post("/login/", wrong) for _ in range(10)]
    assert [answer.status_code for answer in answers] == [200] * 9 + [429]
    assert "do not match" in answers[0].content.decode()
    closed = _log_in(here, name="clinician", following="/queries/")
    page = closed.content.decode()
    assert (closed.status_code, "no-store" in closed["Cache-Control"]) == (429, True)
    assert "The password was wrong 10 times" in page
    assert "closed for about 10 min" in page
    assert 'name="next" value="/queries/"' in page
    assert 'value="clinician"' in page
    assert here.post("/admin/login/", wrong).status_code == 429
    # Nobody can close the site for others, nor a name for its owner who sits elsewhere.
    assert _log_in(here, name="staff", following="/").status_code == 302
    assert _log_in(elsewhere, name="clinician", following="/").status_code == 302
    assert "clinician" not in caplog.text
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=11))
    here.logout()
    assert _log_in(here, name="clinician", following="/").status_code == 302
    assert not AccessAttempt.objects.exists()


def test_a_page_from_before_the_last_login_says_what_to_do(logged_in: LoggedIn) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(logged_in("staff").user)  # type: ignore[attr-defined]
    address = "http://testserver/review/"
    old = re.search(r'csrfmiddlewaretoken" value="(\w+)"', client.get(address).content.decode())
    assert old
    client.cookies.pop("csrftoken")
    client.get(address)
    answer = client.post("/review/decide/", {"csrfmiddlewaretoken": old[1]}, headers={"Referer": address})
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "Reload the page, then press the button again" in page
    assert f'href="{address}"' in page


def test_the_address_of_a_button_is_explained(logged_in: LoggedIn, archive: Dataset) -> None:
    image = MedicalImage.objects.earliest("pk")
    for address in (f"/images/{image.uuid}/similar/", "/logout/"):
        answer = logged_in("clinician", name=f"reader of {address}").get(address)
        assert (answer.status_code, answer["Allow"].split(", ")[0]) == (405, "POST")
        assert "It belongs to a button" in answer.content.decode()
        assert answer["Content-Length"] == str(len(answer.content))


def test_an_account_without_rights_says_so_and_can_be_left(person: Callable[..., User]) -> None:
    User.objects.create_user("newcomer", password=PASSWORD)
    client = Client(enforce_csrf_checks=True)
    client.get("/login/")
    token = client.cookies["csrftoken"].value
    login = {"username": "newcomer", "password": PASSWORD, "csrfmiddlewaretoken": token}
    answer = client.post("/login/", login, follow=True)
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "You are logged in as <strong>newcomer</strong>. This account has no rights yet." in page
    assert 'class="button"' not in page
    form = re.search(r'action="(/logout/)"><input type="hidden" name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert form
    assert client.post(form[1], {"csrfmiddlewaretoken": form[2]})["Location"] == "/login/"


def test_somebody_who_lacks_a_right_is_led_where_they_may_go(logged_in: LoggedIn) -> None:
    page = logged_in("clinician").get("/training/").content.decode()
    assert "This account does not have the right to see or do this" in page
    assert '<a class="button" href="/">To the search</a>' in page
