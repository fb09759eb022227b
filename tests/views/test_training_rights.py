"""Training is for staff and administrators: whoever else asks is turned away from every page of it."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from retrieval.models import Dataset, ModelVersion
from tests.training_rows import make_evaluation, make_run, make_version
from training import urls
from training.models import Evaluation, TrainingRun

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]


@pytest.fixture
def addresses(archive: Dataset) -> list[str]:
    """Every address of training, of things that exist."""
    run = make_run(archive)
    version = make_version(number=7, run=run)
    arguments = {"run": [run.pk], "evaluation": [make_evaluation(run, version=version).pk], "version": [7]}
    names = {pattern.name: bool(pattern.pattern.converters) for pattern in urls.urlpatterns}
    return [
        reverse(name, args=arguments[name.partition("_")[0]] if takes else []) for name, takes in names.items() if name
    ]


@pytest.mark.parametrize("method", ["get", "post"])
def test_clinicians_are_turned_away(logged_in: LoggedIn, addresses: list[str], method: str) -> None:
    client = logged_in("clinician")
    assert len(addresses) == len(urls.urlpatterns)
    answers = {address: getattr(client, method)(address).status_code for address in addresses}
    assert {status for address, status in answers.items() if status != 405} == {403}, answers
    assert TrainingRun.objects.count() == 1


@pytest.mark.parametrize("role", ["staff", "admin"])
def test_staff_and_administrators_see_all_of_it(logged_in: LoggedIn, addresses: list[str], role: str) -> None:
    client = logged_in(role)
    answers = {address: client.get(address, follow=True).status_code for address in addresses}
    assert set(answers.values()) == {200}, answers


def test_looking_is_not_changing(logged_in: LoggedIn, addresses: list[str]) -> None:
    """Rights can be given one by one: who may look at runs is offered nothing that changes any."""
    client = logged_in("staff")
    group = client.user.groups.get()  # type: ignore[attr-defined]
    group.permissions.filter(codename__startswith="add_").exclude(codename="add_query").delete()
    group.permissions.filter(codename__startswith="change_").delete()
    version = ModelVersion.objects.get(number=7)
    waiting = Evaluation.objects.create(model_version=version, run=TrainingRun.objects.get())
    page = client.get("/training/").content.decode()
    assert "Version 7 waits for the trainer" in page
    for words in ("Start a training run", "Activate", "Retire", "Cancel"):
        assert words not in page
    assert "Cancel" not in client.get(f"/training/evaluations/{waiting.pk}/").content.decode()
    assert client.post(f"/training/evaluations/{waiting.pk}/cancel/").status_code == 403
    for address in ("start/", "versions/7/activate/", "versions/7/retire/", "versions/roll-back/"):
        assert client.post(f"/training/{address}").status_code == 403
    assert client.post("/training/compare/", {"run": 1, "version": 7}).status_code == 403
