"""Who may see what: deny by default, own queries only, image files only through views that check."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from retrieval.models import Dataset, MedicalImage, Query

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
PAGES_OF_CLINICIANS = ("/", "/queries/", "/datasets/")


@pytest.mark.parametrize("role", ["clinician", "staff", "admin"])
def test_all_three_roles_search_and_browse(role: str, logged_in: LoggedIn, archive: Dataset) -> None:
    client = logged_in(role)
    image = archive.images.first()
    assert image is not None
    pages = (*PAGES_OF_CLINICIANS, archive.get_absolute_url(), image.get_absolute_url())
    files = (f"/images/{image.uuid}/preview.png", f"/images/{image.uuid}/thumbnail.jpg")
    assert [client.get(address).status_code for address in (*pages, *files)] == [200] * 7


def test_somebody_without_a_group_may_do_nothing(archive: Dataset) -> None:
    client = Client()
    client.force_login(User.objects.create_user("new", password="correct horse"))
    image = archive.images.first()
    assert image is not None
    addresses = (*PAGES_OF_CLINICIANS, image.get_absolute_url(), f"/images/{image.uuid}/preview.png", "/training/")
    assert {client.get(address).status_code for address in addresses} == {403}
    assert client.post("/", {}).status_code == 403
    assert client.post(f"/images/{image.uuid}/similar/").status_code == 403


def test_model_versions_are_for_staff(logged_in: LoggedIn) -> None:
    clinician, staff = logged_in("clinician"), logged_in("staff")
    assert clinician.get("/training/").status_code == 403
    assert staff.get("/training/").status_code == 200
    assert b"/training/" not in clinician.get("/").content
    assert b"/training/" in staff.get("/").content


def test_the_administration_is_closed_to_clinicians(logged_in: LoggedIn) -> None:
    assert logged_in("clinician").get("/admin/").status_code == 302
    assert logged_in("staff").get("/admin/retrieval/dataset/").status_code == 200
    assert logged_in("admin").get("/admin/auth/user/").status_code == 200


def test_staff_manage_no_people(logged_in: LoggedIn) -> None:
    assert logged_in("staff").get("/admin/auth/user/").status_code == 403


def test_nobody_gives_more_rights_than_groups_have(
    logged_in: LoggedIn, person: Callable[..., User], django_user_model: type[User]
) -> None:
    admin, owner = logged_in("admin"), django_user_model.objects.create_superuser("owner", password="correct horse")
    one = person("clinician", name="one")
    address = f"/admin/auth/user/{one.pk}/change/"
    page = admin.get(address).content.decode()
    assert 'name="groups"' in page
    assert 'name="is_superuser"' not in page
    answer = admin.post(address, {"username": "one", "is_active": "on", "is_superuser": "on", "user_permissions": "1"})
    one.refresh_from_db()
    assert (answer.status_code, one.is_superuser, one.user_permissions.count()) == (302, False, 0)
    words = {"username": "taken", "password1": "a new one 7", "password2": "a new one 7"}
    for page in ("change", "delete", "password"):
        admin.post(f"/admin/auth/user/{owner.pk}/{page}/", words)
    owner.refresh_from_db()
    assert owner.username == "owner"
    assert owner.check_password("correct horse")
    admin.force_login(owner)
    assert 'name="is_superuser"' in admin.get(address).content.decode()


def test_everybody_changes_their_own_password(logged_in: LoggedIn, person: Callable[..., User]) -> None:
    client = logged_in("clinician")
    assert 'href="/password/"' in client.get("/").content.decode()
    words = {"old_password": "wrong", "new_password1": "battery staple", "new_password2": "battery staple"}
    assert "old password was entered incorrectly" in client.post("/password/", words).content.decode()
    page = client.post("/password/", words | {"old_password": "correct horse"}, follow=True).content.decode()
    assert "Your password is changed." in page
    client.logout()
    client.post("/login/", {"username": "clinician", "password": "battery staple"})
    assert client.get("/").status_code == 200


def test_a_colleagues_query_does_not_exist(
    logged_in: LoggedIn, ask: Callable[..., Query], archive: Dataset, answered: Callable[[Query], Query]
) -> None:
    owner, colleague = logged_in("clinician"), logged_in("admin")
    query = answered(ask(owner))
    address = query.get_absolute_url()
    assert owner.get(address).status_code == 200
    assert owner.get(f"{address}preview.png").status_code == 200
    assert colleague.get(address).status_code == 404
    assert colleague.get(f"{address}preview.png").status_code == 404
    assert colleague.post(f"{address}again/").status_code == 404
    assert str(query.uuid) in owner.get("/queries/").content.decode()
    assert str(query.uuid) not in colleague.get("/queries/").content.decode()


def test_the_administration_leads_to_no_query(logged_in: LoggedIn, ask: Callable[..., Query], archive: Dataset) -> None:
    query, admin = ask(logged_in("clinician")), logged_in("admin")
    for row, status in ((query, 404), (archive, 302)):
        kind = ContentType.objects.get_for_model(type(row))
        assert admin.get(f"/admin/r/{kind.pk}/{row.pk}/").status_code == status
        assert admin.get(f"/admin/r/%20{kind.pk}/{row.pk}/").status_code == status
    assert [admin.get(f"/admin/r/{kind}/1/").status_code for kind in (0, "x")] == [404, 404]


def test_a_page_of_the_administrations_search_that_there_is_not_is_not_found(logged_in: LoggedIn) -> None:
    admin = logged_in("admin")
    pages = ("1", "abc", "9", "")
    assert [admin.get("/admin/search/", {"s": "a", "page": page}).status_code for page in pages] == [200, 404, 404, 404]


def test_stored_files_have_no_address_of_their_own(logged_in: LoggedIn, archive: Dataset) -> None:
    client = logged_in("admin")
    image = archive.images.first()
    assert image is not None
    for name in (image.preview.name, image.thumbnail.name, image.original.file.name):
        for prefix in ("/", "/media/", "/static/"):
            assert client.get(prefix + name).status_code == 404


def test_image_files_may_be_kept_by_the_readers_browser_alone(logged_in: LoggedIn, archive: Dataset) -> None:
    image = MedicalImage.objects.first()
    assert image is not None
    response = logged_in("clinician").get(f"/images/{image.uuid}/preview.png")
    assert response["Cache-Control"].startswith("private")
    assert response["X-Content-Type-Options"] == "nosniff"


def test_a_form_from_another_site_is_refused(logged_in: LoggedIn, archive: Dataset) -> None:
    client = logged_in("clinician")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(client.user)  # type: ignore[attr-defined]
    image = MedicalImage.objects.first()
    assert image is not None
    assert strict.post("/", {}).status_code == 403
    assert strict.post(f"/images/{image.uuid}/similar/").status_code == 403
    assert not Query.objects.exists()
