"""People in the administration: two at the same form, people who go, and people who may do more."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model
from django.http import HttpResponse
from django.test import Client

from retrieval.models import Dataset, MedicalImage, Query, SearchResult
from retrieval.models.versions import EMBEDDING_DIMENSION
from retrieval.services.curation import relabel
from tests.elements import Elements

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
Person = Callable[..., User]


def _shown(response: HttpResponse) -> dict[str, str | None]:
    """What the form sends along unseen."""
    inputs = [given for tag, given in Elements(response.content.decode()).all if tag == "input"]
    return {given["name"]: given.get("value", "") for given in inputs if given.get("type") == "hidden"}


def _groups(person: User) -> list[str]:
    return sorted(person.groups.values_list("name", flat=True))


def test_a_form_undoes_nothing_that_a_colleague_saved_meanwhile(logged_in: LoggedIn, person: Person) -> None:
    admin, one = logged_in("admin"), person("clinician", name="one")
    address = f"/admin/auth/user/{one.pk}/change/"
    shown = _shown(admin.get(address))
    roles = {group.name: group.pk for group in Group.objects.all()}
    User.objects.filter(pk=one.pk).update(is_active=False, is_staff=True, email="one@hospital.example")
    one.groups.set([roles["clinician"], roles["staff"]])
    typed = {"username": "one", "is_active": "on", "first_name": "Ada", "last_name": "", "email": ""}
    assert admin.post(address, {**shown, **typed, "groups": [roles["admin"]]}).status_code == 302
    one.refresh_from_db()
    assert (one.first_name, one.is_active, one.is_staff, one.email) == ("Ada", False, True, "one@hospital.example")
    assert _groups(one) == ["admin", "staff"]


def test_a_form_that_came_back_with_an_error_knows_what_was_shown(logged_in: LoggedIn) -> None:
    admin, one = logged_in("admin"), User.objects.create_user("one")
    address, group = f"/admin/auth/user/{one.pk}/change/", Group.objects.get(name="clinician").pk
    typed = {"username": "not a name", "is_active": "on", "groups": [group]}
    refused = admin.post(address, {**_shown(admin.get(address)), **typed})
    assert refused.status_code == 200
    assert admin.post(address, {**_shown(refused), **typed, "username": "one"}).status_code == 302
    assert _groups(one) == ["clinician"]


def test_forms_of_datasets_and_images_undo_nothing_either(logged_in: LoggedIn, archive: Dataset) -> None:
    admin, image = logged_in("admin"), MedicalImage.objects.earliest("pk")
    address = f"/admin/retrieval/dataset/{archive.pk}/change/"
    shown = _shown(admin.get(address))
    Dataset.objects.update(review_all=True)
    typed = {"name": archive.name, "source": archive.source, "licence": "CC BY", "description": ""}
    assert admin.post(address, {**shown, **typed}).status_code == 302
    archive.refresh_from_db()
    assert (archive.licence, archive.review_all) == ("CC BY", True)
    address = f"/admin/retrieval/medicalimage/{image.pk}/change/"
    shown = _shown(admin.get(address))
    relabel([image], label="foot", user=None)
    typed = {"label": "chest", "modality": "X-ray", "body_part_examined": ""}
    assert admin.post(address, {**shown, **typed}).status_code == 302
    image.refresh_from_db()
    assert (image.modality, image.label) == ("X-ray", "foot")


def test_a_person_goes_without_what_they_searched_being_read(
    logged_in: LoggedIn, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand searches with their vectors and answers are hundreds of megabytes."""
    admin, one = logged_in("admin"), person("clinician", name="one")
    read: set[str] = set()

    def note(model: type[Model], db: str, names: list[str], values: object) -> Model:
        read.update(names)
        return from_row(model, db, names, values)

    from_row = Model.from_db.__func__
    monkeypatch.setattr(Model, "from_db", classmethod(note))
    asked = [Query(user=one, status="done", vector=[0.0] * EMBEDDING_DIMENSION) for _ in range(3)]
    for query in Query.objects.bulk_create(asked):
        SearchResult.objects.create(query=query, rank=1, distance=0)
    chosen = {"action": "delete_selected", "_selected_action": [one.pk], "post": "yes"}
    page = " ".join(admin.get(f"/admin/auth/user/{one.pk}/delete/").content.decode().split())
    assert "Searches with their pictures: 3" in page
    assert admin.post("/admin/auth/user/", chosen).status_code == 302
    assert not User.objects.filter(pk=one.pk).exists()
    assert not Query.objects.exists()
    assert "upload" in read
    assert not read & {"vector", "rank"}


def test_nobody_touches_who_may_do_more_by_rights_of_their_own(logged_in: LoggedIn, person: Person) -> None:
    admin, one = logged_in("admin"), person("clinician", name="one")
    one.user_permissions.add(Permission.objects.get(codename="add_session"))
    User.objects.filter(pk=one.pk).update(is_active=False)
    words = {"username": "taken", "password1": "a new one 7", "password2": "a new one 7", "post": "yes"}
    pages = [f"/admin/auth/user/{one.pk}/{page}/" for page in ("change", "delete", "password")]
    chosen = {"action": "delete_selected", "_selected_action": [one.pk], "post": "yes"}
    assert {admin.post(address, words).status_code for address in pages} == {403}
    assert admin.post("/admin/auth/user/", chosen).status_code == 403
    one.user_permissions.set([Permission.objects.get(codename="view_dataset")])
    assert admin.post(pages[2], words).status_code == 302
