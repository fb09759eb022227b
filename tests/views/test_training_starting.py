"""Starting a run from the browser, and cancelling it: what is refused, and where it is said."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from retrieval.models import Dataset, JobStatus
from tests.training_rows import make_run, make_version
from training.forms import StartForm
from training.learning.recipe import LIMITS, RECIPES, Recipe
from training.models import TrainingRun

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]


def filled_in(dataset: Dataset, **changes: object) -> dict[str, Any]:
    """The form as a browser sends it, with the settings that stand there."""
    initial = {name: field.initial for name, field in StartForm.base_fields.items()}
    names = {name: value for name, value in initial.items() if value is not None and value is not False}
    return {**names, "datasets": [dataset.pk], "weights": "none", "frozen_blocks": 0, **changes}


def _errors(page: str) -> dict[str, str]:
    """{field: what is said beside it}"""
    lists = re.findall(r'<ul class="errorlist" id="id_(\w+)_error"><li>(.*?)</li>', page)
    return {name: text.replace("&#x27;", "'") for name, text in lists}


def test_a_run_starts_with_what_was_chosen(logged_in: LoggedIn, archive: Dataset) -> None:
    client = logged_in("staff")
    response = client.post("/training/start/", filled_in(archive, epochs=7, learning_rate="0.003", flips="on"))
    run = TrainingRun.objects.get()
    assert response["Location"] == f"/training/runs/{run.pk}/"
    assert run.created_by == client.user  # type: ignore[attr-defined]
    assert list(run.datasets.all()) == [archive]
    assert run.weights == "none"
    assert run.recipe == Recipe(frozen_blocks=0, epochs=7, learning_rate=0.003, flips=True).to_dict()


def test_the_form_offers_every_choice_of_a_recipe_and_its_defaults() -> None:
    own = {"datasets", "weights", "caffe_preprocessing"}
    offered = {name: field.initial for name, field in StartForm.base_fields.items() if name not in own}
    assert offered == Recipe().to_dict()
    assert [name for name, field in StartForm.base_fields.items() if not field.help_text] == []


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_fills_the_form_in(logged_in: LoggedIn, archive: Dataset, recipe: str) -> None:
    page = logged_in("staff").get(f"/training/start/?recipe={recipe}&dataset={archive.pk}")
    form = page.context["form"]
    assert {name: form[name].value() for name in Recipe().to_dict()} == Recipe(**RECIPES[recipe]).to_dict()
    assert form["datasets"].value() == [str(archive.pk)]
    assert [name for name, _, chosen in page.context["recipes"] if chosen] == [recipe]


def test_another_recipe_keeps_what_was_chosen_beside_it(logged_in: LoggedIn, archive: Dataset) -> None:
    chosen = {"architecture": "narrow", "weights": "none", "frozen_blocks": "0", "seed": "9"}
    sent = {"datasets": [archive.pk], **chosen, "caffe_preprocessing": "on", "epochs": "7", "recipe": "published"}
    page = logged_in("staff").post("/training/start/", sent)
    form = page.context["form"]
    assert {name: form[name].value() for name in chosen} == chosen
    assert form["datasets"].value() == [str(archive.pk)]
    assert re.search(r'name="caffe_preprocessing"[^>]* checked', page.content.decode())
    assert form["epochs"].value() == 25
    assert form["augmentation"].value() == "none"
    assert [name for name, _, chosen in page.context["recipes"] if chosen] == ["published"]
    assert not TrainingRun.objects.exists()


def test_weights_that_no_network_of_that_kind_has_are_refused(logged_in: LoggedIn, archive: Dataset) -> None:
    page = logged_in("staff").post("/training/start/", filled_in(archive, architecture="narrow", weights="imagenet"))
    assert page.status_code == 409
    assert "no ImageNet weights of the network" in page.content.decode()
    assert not TrainingRun.objects.exists()


def test_datasets_are_offered_with_their_counts(logged_in: LoggedIn, archive: Dataset) -> None:
    Dataset.objects.create(name="Empty")
    page = " ".join(logged_in("staff").get("/training/start/").content.decode().split())
    assert re.search(r"Drawn <span[^>]*>6 images, 2 classes</span>", page)
    assert "Empty" not in page


def test_an_archive_without_images_says_how_to_get_some(logged_in: LoggedIn) -> None:
    assert "manage.py import_dataset" in logged_in("staff").get("/training/start/").content.decode()


def test_datasets_of_the_address_are_chosen(logged_in: LoggedIn, archive: Dataset) -> None:
    def chosen(address: str) -> bool:
        page = logged_in("staff", name=address).get(address).content.decode()
        return bool(re.search(rf'name="datasets" value="{archive.pk}"[^>]* checked', page))

    assert not chosen("/training/start/")
    assert chosen(f"/training/start/?dataset={archive.pk}&dataset=nonsense")


def test_a_former_run_fills_the_form_in(logged_in: LoggedIn, archive: Dataset) -> None:
    recipe = Recipe(epochs=11, schedule="constant", flips=True).to_dict()
    run = make_run(archive, status="failed", recipe=recipe, weights="/srv/weights/conv1-3.safetensors")
    page = logged_in("staff").get(f"/training/start/?run={run.pk}").content.decode()
    assert re.search(r'name="epochs" value="11"', page)
    assert '<option value="constant" selected>' in page
    assert re.search(r'name="flips"[^>]* checked', page)
    assert re.search(rf'name="datasets" value="{archive.pk}"[^>]* checked', page)
    file = f"File conv1-3.safetensors, as in run {run.pk}"
    assert f'<option value="/srv/weights/conv1-3.safetensors" selected>{file}</option>' in page


@pytest.mark.parametrize("number", ["9" * 18, "9" * 5000])
def test_numbers_of_nothing_are_no_fault(logged_in: LoggedIn, archive: Dataset, number: str) -> None:
    client = logged_in("staff")
    assert client.get(f"/training/start/?run={number}").status_code == (404 if len(number) == 18 else 200)
    assert client.get(f"/training/start/?dataset={number}").status_code == 200
    assert client.post("/training/start/", filled_in(archive, datasets=number)).status_code == 400
    assert client.post("/training/compare/", {"run": number, "version": number}).status_code == 404


@pytest.mark.parametrize(
    ("weights", "name"), [("version:7", "Model version 7"), ("file:conv1-3.pth", "File conv1-3.pth")]
)
def test_weights_of_a_former_run_that_have_gone_are_not_replaced_in_silence(
    logged_in: LoggedIn, archive: Dataset, weights: str, name: str
) -> None:
    make_version(number=7, status="retired", weights="")
    run = make_run(archive, status="failed", weights=weights)
    client, address = logged_in("staff"), f"/training/start/?run={run.pk}"
    option = f'<option value="{weights}" selected>{name}, not there any more</option>'
    assert option in client.get(address).content.decode()
    for chosen in ({"weights": weights}, {"weights": weights, "recipe": "elsewhere"}):
        again = client.post(address, filled_in(archive, **chosen)).content.decode()
        assert option in again
    page = client.post(address, filled_in(archive, weights=weights))
    assert page.status_code == 400
    said = _errors(page.content.decode())["weights"]
    assert said == f"{name} is not there any more. Choose what else to start from."
    assert TrainingRun.objects.get() == run
    assert f'<dd class="number">{name}</dd>' in client.get(f"/training/runs/{run.pk}/").content.decode()


def test_files_are_chosen_from_what_is_offered_alone(logged_in: LoggedIn, archive: Dataset) -> None:
    response = logged_in("staff").post("/training/start/", filled_in(archive, weights="/etc/passwd"))
    assert response.status_code == 400
    assert "weights" in _errors(response.content.decode())
    assert not TrainingRun.objects.exists()


@pytest.mark.parametrize("value", ["", "many", "-1", "99999999999"])
def test_a_number_out_of_its_limits_is_said_beside_it(logged_in: LoggedIn, archive: Dataset, value: str) -> None:
    numbers = set(LIMITS) - {"frozen_blocks"}
    response = logged_in("staff").post("/training/start/", filled_in(archive, **dict.fromkeys(numbers, value)))
    assert response.status_code == 400
    errors = _errors(response.content.decode())
    assert set(errors) == numbers
    assert errors["epochs"] == "A number from 1 to 1,000."
    assert errors["dropout"] == "A number from 0 to 0.95."
    assert not TrainingRun.objects.exists()


@pytest.mark.parametrize("value", ["nan", "inf", "1e400"])
def test_what_is_no_number_starts_nothing(logged_in: LoggedIn, archive: Dataset, value: str) -> None:
    response = logged_in("staff").post("/training/start/", filled_in(archive, learning_rate=value))
    assert set(_errors(response.content.decode())) == {"learning_rate"}
    assert not TrainingRun.objects.exists()


def test_what_cannot_be_learnt_is_said_beside_the_datasets(logged_in: LoggedIn, archive: Dataset) -> None:
    client = logged_in("staff")

    def said() -> str:
        response = client.post("/training/start/", filled_in(archive))
        assert response.status_code == 400
        return _errors(response.content.decode())["datasets"]

    archive.images.filter(label="hand").update(label="chest")
    assert said() == "All images are of class “chest”; training needs at least 2 classes."
    archive.images.update(label="")
    assert said().startswith("None of these images has a label")
    response = client.post("/training/start/", filled_in(archive, datasets=[]))
    assert _errors(response.content.decode())["datasets"] == "Choose at least one dataset."
    assert not TrainingRun.objects.exists()


def test_random_weights_cannot_be_frozen(logged_in: LoggedIn, archive: Dataset) -> None:
    response = logged_in("staff").post("/training/start/", filled_in(archive, frozen_blocks=3))
    assert "Without weights there is nothing to keep" in _errors(response.content.decode())["frozen_blocks"]


def test_settings_that_are_wrong_are_not_hidden(logged_in: LoggedIn, archive: Dataset) -> None:
    client = logged_in("staff")

    def is_open(**wrong: object) -> bool:
        page = client.post("/training/start/", filled_in(archive, **wrong)).content.decode()
        assert "Nothing was started." in page
        return '<details class="more" open>' in page

    assert not is_open(datasets=[])
    assert is_open(seed=-1)


def test_the_second_press_hears_that_one_runs(logged_in: LoggedIn, archive: Dataset) -> None:
    client = logged_in("staff")
    client.post("/training/start/", filled_in(archive))
    response = client.post("/training/start/", filled_in(archive))
    run = TrainingRun.objects.get()
    assert response.status_code == 409
    page = response.content.decode()
    assert f"Training run {run.pk} is not finished yet, and one runs at a time." in page
    assert "Nothing was started." in page


def test_cancelling_asks_once_more(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="running", epochs=2)
    client, address = logged_in("staff"), f"/training/runs/{run.pk}/cancel/"
    assert "What it has learnt in 2 epochs is lost" in client.get(address).content.decode()
    run.refresh_from_db()
    assert not run.cancel_requested
    page = client.post(address, follow=True).content.decode()
    run.refresh_from_db()
    assert run.cancel_requested
    assert "being cancelled" in page
    assert "Cancel …" not in page


def test_a_waiting_run_is_cancelled_at_once(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive, status="queued", epochs=0)
    page = logged_in("staff").post(f"/training/runs/{run.pk}/cancel/", follow=True).content.decode()
    run.refresh_from_db()
    assert run.status == JobStatus.CANCELLED
    assert "The run was cancelled." in page


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_run_that_has_ended_is_not_cancelled(logged_in: LoggedIn, archive: Dataset, method: str) -> None:
    run = make_run(archive, status="done")
    response = getattr(logged_in("staff"), method)(f"/training/runs/{run.pk}/cancel/", follow=True)
    assert "had ended before it could be cancelled" in response.content.decode()
    run.refresh_from_db()
    assert run.status == JobStatus.DONE
