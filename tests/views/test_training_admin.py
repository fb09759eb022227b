"""Training in Django admin: what staff read there, and what they set off."""

from collections.abc import Callable

import pytest
from django.test import Client

from retrieval.models import Dataset, ModelVersion
from tests.training_rows import make_evaluation, make_run, make_version
from training.models import Evaluation

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
GONE = "a command, or somebody who is gone"


@pytest.fixture
def judged(archive: Dataset) -> Evaluation:
    run = make_run(archive, left_out={"unlabelled": 12, "unreadable": 0}, classes=["chest", "hand"])
    version = make_version(number=7, run=run, classes=["chest", "hand"])
    evaluation = make_evaluation(run, version=version, mistaken=1)
    version.metrics = {name: evaluation.report[name] for name in ("accuracy", "p_at", "map_at_20")}
    version.save()
    return evaluation


def _act(client: Client, model: str, *, action: str, pk: int) -> str:
    """Do an action on one row; return where it leads."""
    response = client.post(f"/admin/{model}/", {"action": action, "_selected_action": [pk]})
    assert response.status_code == 302
    return response["Location"]


@pytest.mark.parametrize("role", ["staff", "admin"])
def test_lists_and_pages_tell_figures_and_no_json(logged_in: LoggedIn, judged: Evaluation, role: str) -> None:
    client = logged_in(role)
    assert judged.run is not None
    for model, pk, words in (
        ("training/trainingrun", judged.run.pk, ("Learning rate: 0.02", "12 unlabelled", "chest, hand", GONE)),
        ("training/evaluation", judged.pk, ("50.0 %", "0.500")),
        ("retrieval/modelversion", judged.model_version.pk, ("50.0 %", "0.500", "chest, hand", "training run")),
    ):
        assert client.get(f"/admin/{model}/").status_code == 200
        page = client.get(f"/admin/{model}/{pk}/change/").content.decode()
        assert [word for word in words if word not in page] == []
        assert "&quot;" not in page
        assert 'name="_save"' not in page
    assert "50.0 %" in client.get("/admin/retrieval/modelversion/").content.decode()


def test_nothing_of_training_is_changed_there(logged_in: LoggedIn, judged: Evaluation) -> None:
    client = logged_in("admin")
    for model in ("training/trainingrun", "training/evaluation"):
        assert client.get(f"/admin/{model}/add/").status_code == 403
        assert client.post(f"/admin/{model}/{judged.pk}/delete/").status_code in (302, 403)
    assert Evaluation.objects.filter(pk=judged.pk).exists()


def test_datasets_lead_to_the_start_form(logged_in: LoggedIn, archive: Dataset) -> None:
    client = logged_in("staff")
    address = _act(client, "retrieval/dataset", action="train", pk=archive.pk)
    assert address == f"/training/start/?dataset={archive.pk}"
    assert "checked" in client.get(address).content.decode()


def test_activating_asks_first_where_something_speaks_against_it(
    logged_in: LoggedIn, judged: Evaluation, active_version: ModelVersion
) -> None:
    client = logged_in("staff")
    address = _act(client, "retrieval/modelversion", action="activate", pk=judged.model_version.pk)
    assert address == "/training/versions/7/activate/"
    assert ModelVersion.objects.get(status="active") == active_version
    assert _act(client, "retrieval/modelversion", action="activate", pk=active_version.pk).startswith("/admin/")
    assert ModelVersion.objects.get(status="active") == active_version


def test_the_first_version_is_activated_at_once(logged_in: LoggedIn) -> None:
    version = make_version(number=1, weights_source="none")
    _act(logged_in("staff"), "retrieval/modelversion", action="activate", pk=version.pk)
    version.refresh_from_db()
    assert version.status == "active"
