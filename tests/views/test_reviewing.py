"""Held and excluded images: who sees them and where, and how people decide about them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from retrieval.models import Dataset, ImageChange, ImportJob, IndexJob, MedicalImage, Query, StoredFile
from retrieval.services.curation import exclude, hold, release
from tests.services.conftest import work_on_import

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
DECIDE = "/review/decide/"


@pytest.fixture
def images(archive: Dataset) -> list[MedicalImage]:
    """Three of a chest, then three of a hand; all can be found."""
    return list(archive.images.order_by("pk"))


def _files(image: MedicalImage) -> list[str]:
    page = image.get_absolute_url()
    return [page, f"{page}preview.png", f"{page}thumbnail.jpg"]


def _text(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("verb", [hold, exclude])
def test_a_clinician_sees_nothing_of_it(verb: Callable, logged_in: LoggedIn, images: list[MedicalImage]) -> None:
    verb(images[:1], user=None)
    client, gone = logged_in("clinician"), images[0]
    assert [client.get(address).status_code for address in _files(gone)] == [404] * 3
    assert client.post(f"{gone.get_absolute_url()}similar/").status_code == 404
    listing = _text(client, gone.dataset.get_absolute_url())
    assert str(gone.uuid) not in listing
    assert "5 images in 2 labels" in " ".join(listing.split())
    assert str(gone.uuid) not in _text(client, images[1].get_absolute_url())
    assert client.get("/review/").status_code == 403
    assert client.post(DECIDE, {"release": str(gone.uuid)}).status_code == 403


@pytest.mark.parametrize("role", ["staff", "admin"])
def test_who_reviews_sees_it_and_no_browser_keeps_it(
    role: str, logged_in: LoggedIn, images: list[MedicalImage]
) -> None:
    hold(images[:1], user=None)
    client = logged_in(role)
    answers = [client.get(address) for address in _files(images[0])]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert {answer["Cache-Control"] for answer in answers[1:]} == {"private, no-store"}
    # Nothing can be asked with it, and listings leave it out for everybody.
    assert client.post(f"{images[0].get_absolute_url()}similar/").status_code == 404
    assert str(images[0].uuid) not in _text(client, images[0].dataset.get_absolute_url())


def test_an_old_answer_says_what_became_of_its_images(
    logged_in: LoggedIn,
    images: list[MedicalImage],
    ask: Callable[..., Query],
    answered: Callable[[Query], Query],
) -> None:
    client = logged_in("clinician")
    query = answered(ask(client))
    assert query.results.count() == 6
    hold(images[:1], user=None)
    exclude(images[1:3], user=None)
    page = _text(client, query.get_absolute_url())
    assert page.count("A person has to look at this image") == 1
    assert page.count("This image has been taken out of the archive since.") == 2
    assert page.count("data:image/jpeg") == 3
    # All three that are left are hands, and so is what the page says of labels.
    assert '<span class="number">3 ×</span> hand' in page  # noqa: RUF001
    assert "× chest" not in page.replace("</span>", "").replace('<span class="number">', "")  # noqa: RUF001
    narrowed = _text(client, f"{query.get_absolute_url()}?label=chest")
    assert "No image of the archive fits this choice." in narrowed


def test_a_question_asked_with_it_shows_it_no_more(
    logged_in: LoggedIn, images: list[MedicalImage], answered: Callable[[Query], Query]
) -> None:
    client = logged_in("clinician")
    client.post(f"{images[0].get_absolute_url()}similar/")
    query = answered(Query.objects.get())
    preview = f"{query.get_absolute_url()}preview.png"
    assert client.get(preview).status_code == 200
    exclude(images[:1], user=None)
    assert client.get(preview).status_code == 404
    for address in (query.get_absolute_url(), "/queries/", "/"):
        page = _text(client, address)
        assert preview not in page
        assert images[0].get_absolute_url() not in page
    client.post(f"{query.get_absolute_url()}again/")
    assert Query.objects.count() == 1
    assert "is not shown any more. Choose another one." in _text(client, query.get_absolute_url())


def test_one_is_released_and_that_is_undone(logged_in: LoggedIn, images: list[MedicalImage]) -> None:
    hold(images[:3], user=None)
    client = logged_in("staff")
    uuids = [str(image.uuid) for image in images[:3]]
    page = _text(client, "/review/")
    assert [page.count(f'id="image-{uuid}"') for uuid in uuids] == [1, 1, 1]
    # With a word on how many wait, for those who may look at them.
    assert 'nav-count number">3<' in page
    response = client.post(DECIDE, {"release": uuids[1], "next": uuids[2], "page": "1"})
    assert response["Location"] == f"/review/?page=1#image-{uuids[2]}"
    after = _text(client, "/review/?page=1")
    assert "1 image is shown from now on." in after
    assert f'id="image-{uuids[1]}"' not in after
    assert IndexJob.objects.latest("pk").total == 1
    client.post(DECIDE, {"hold": "", "image": [uuids[1]], "note": "Undone."})
    assert MedicalImage.objects.held().count() == 3
    assert [(each.new, each.note, each.changed_by) for each in images[1].changes.all()[:2]] == [
        ("held", "Undone.", client.user),  # type: ignore[attr-defined]
        ("shown", "", client.user),  # type: ignore[attr-defined]
    ]
    assert "1 image is waiting to be looked at again." in _text(client, "/review/")


def test_the_ticked_ones_are_released_together(logged_in: LoggedIn, images: list[MedicalImage]) -> None:
    hold(images[:3], user=None)
    client = logged_in("admin")
    release(images[:1], user=None)
    client.post(DECIDE, {"release": "", "image": [str(image.uuid) for image in images[:3]]})
    said = _text(client, "/review/")
    assert "2 images are shown from now on. 1 had been decided by somebody else meanwhile." in said
    # What the other one decided is not undone with it.
    assert said.count('type="hidden" name="image"') == 2
    assert "No image waits" in said
    assert not MedicalImage.objects.held().exists()


def test_a_copy_that_is_shown_elsewhere_is_named(
    logged_in: LoggedIn, images: list[MedicalImage], picture_folder: Path
) -> None:
    other = Dataset.objects.create(name="Copies")
    work_on_import(ImportJob.objects.create(dataset=other, source_path=str(picture_folder)))
    staff = logged_in("staff")
    page = staff.post(DECIDE, {"exclude": str(images[0].uuid)}, follow=True).content.decode()
    assert "The same file is still shown in Copies: decide on it there too." in page
    copy = other.images.get(original=images[0].original)
    page = staff.post(DECIDE, {"hold": str(copy.uuid)}, follow=True).content.decode()
    assert "still shown" not in page


def test_excluding_is_undone_too(logged_in: LoggedIn, images: list[MedicalImage]) -> None:
    hold(images[:1], user=None)
    client, uuid = logged_in("staff"), str(images[0].uuid)
    client.post(DECIDE, {"exclude": uuid})
    assert "taken out of the archive; the files are kept." in _text(client, "/review/")
    client.post(DECIDE, {"restore": "", "image": [uuid]})
    assert list(MedicalImage.objects.held()) == [images[0]]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"release": "no uuid"}, 400),
        ({"release": "", "image": ["x"]}, 400),
        ({"destroy": ""}, 400),
        ({"release": "", "next": "x"}, 400),
        ({"release": ""}, 302),
    ],
)
def test_odd_requests_decide_nothing(
    sent: dict[str, object], status: int, logged_in: LoggedIn, images: list[MedicalImage]
) -> None:
    hold(images[:1], user=None)
    assert logged_in("staff").post(DECIDE, sent).status_code == status
    assert MedicalImage.objects.held().count() == 1


def test_pages_of_24_and_one_dataset_at_a_time(logged_in: LoggedIn) -> None:
    datasets = [Dataset.objects.create(name=name) for name in ("big", "small")]
    for number in range(33):
        original = StoredFile.objects.create(sha256=f"{number:064x}", file=f"o{number}", size=1, is_deidentified=True)
        MedicalImage.objects.create(
            dataset=datasets[number // 30],
            original=original,
            preview=f"p{number}",
            thumbnail=f"t{number}",
            width=1,
            height=1,
            standing="held",
            held_reason="Any.",
        )
    client = logged_in("staff")
    queries = ("", "page=2", "dataset=x", f"dataset={'9' * 5000}")
    shown = [_text(client, f"/review/?{query}").count("review-card panel") for query in queries]
    assert shown == [24, 9, 24, 24]
    small = _text(client, f"/review/?dataset={datasets[1].pk}")
    assert small.count("review-card panel") == 3
    assert f'<option value="{datasets[1].pk}" selected>small (3)</option>' in small
    assert client.get("/review/?dataset=999999").status_code == 404


def test_import_and_dataset_say_how_many_wait(
    logged_in: LoggedIn, images: list[MedicalImage], archive: Dataset
) -> None:
    hold(images[:2], user=None)
    job, link = ImportJob.objects.get(), f"/review/?dataset={archive.pk}"
    ImportJob.objects.update(status="done")
    for address in (job.get_absolute_url(), archive.get_absolute_url()):
        page = _text(logged_in("staff", name=address), address)
        assert "2 images" in page
        assert link in page
    assert link not in _text(logged_in("clinician"), archive.get_absolute_url())


def test_the_history_is_on_the_images_page(logged_in: LoggedIn, images: list[MedicalImage]) -> None:
    staff, page = logged_in("staff", name="erika"), images[0].get_absolute_url()
    response = staff.post(DECIDE, {"exclude": str(images[0].uuid), "back": "image", "note": "a name at the top"})
    assert response["Location"] == page
    text = _text(staff, page)
    assert "shown → taken out of the archive · erika" in text
    assert "a name at the top" in text
    staff.post(DECIDE, {"restore": str(images[0].uuid), "back": "image"})
    assert "a name at the top" in _text(staff, page)
    assert "a name at the top" not in _text(logged_in("clinician"), page)


def test_the_administration_shows_it_only_to_who_reviews(logged_in: LoggedIn, images: list[MedicalImage]) -> None:
    hold(images[:1], user=None)
    client, listing = logged_in("staff"), "/admin/retrieval/medicalimage/"
    change = f"{listing}{images[0].pk}/change/"
    assert str(images[0].uuid) in _text(client, f"{listing}?standing__exact=held")
    assert client.get(change).status_code == 200
    group = client.user.groups.get()  # type: ignore[attr-defined]
    group.permissions.remove(Permission.objects.get(codename="curate_medicalimage"))
    assert str(images[0].uuid) not in _text(client, listing)
    assert client.get(change).status_code == 302
    assert client.get(images[0].get_absolute_url()).status_code == 404


def test_a_label_that_is_changed_in_the_administration_has_its_history(
    logged_in: LoggedIn, images: list[MedicalImage]
) -> None:
    client = logged_in("admin")
    address = f"/admin/retrieval/medicalimage/{images[0].pk}/change/"
    sent = {"label": "foot", "modality": "X-ray", "body_part_examined": ""}
    # Somebody decides about the image while the form is open.
    exclude(images[:1], user=None)
    assert client.post(address, sent).status_code == 302
    image = MedicalImage.objects.get(pk=images[0].pk)
    assert (image.label, image.modality, image.standing) == ("foot", "X-ray", "excluded")
    [relabelled] = ImageChange.objects.filter(field="label")
    assert (relabelled.old, relabelled.new, relabelled.changed_by) == ("chest", "foot", client.user)  # type: ignore[attr-defined]
    history = "/admin/retrieval/imagechange/"
    assert "label “chest” became “foot”" in _text(client, history)
    assert client.get(f"{history}add/").status_code == 403
    assert client.post(f"{history}{relabelled.pk}/change/", {"new": "x"}).status_code == 403
    assert client.post(f"{history}{relabelled.pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_modality_that_is_typed_in_the_administration_is_the_word_that_searches_use(
    logged_in: LoggedIn, images: list[MedicalImage]
) -> None:
    address = f"/admin/retrieval/medicalimage/{images[0].pk}/change/"
    sent = {"label": "chest", "modality": "dx", "body_part_examined": ""}
    assert logged_in("admin").post(address, sent).status_code == 302
    assert MedicalImage.objects.get(pk=images[0].pk).modality == "X-ray"


def test_what_is_typed_in_the_administration_is_made_printable(logged_in: LoggedIn, images: list[MedicalImage]) -> None:
    sent = {"label": "fo\u202eot", "modality": "X\x07ray", "body_part_examined": "FOO\u200fT"}
    address = f"/admin/retrieval/medicalimage/{images[0].pk}/change/"
    assert logged_in("admin").post(address, sent).status_code == 302
    image = MedicalImage.objects.get(pk=images[0].pk)
    assert (image.label, image.modality, image.body_part_examined) == ("fo\ufffdot", "X\ufffdray", "FOO\ufffdT")


def test_a_dataset_of_which_all_is_looked_at_first(logged_in: LoggedIn) -> None:
    client = logged_in("staff")
    sent = {"name": "Ward", "description": "", "source": "", "licence": "", "review_all": "on", "_continue": "1"}
    assert client.post("/admin/retrieval/dataset/add/", sent).status_code == 302
    assert Dataset.objects.get().review_all is True


def test_a_note_keeps_what_can_be_stored_of_it(logged_in: LoggedIn, images: list[MedicalImage]) -> None:
    note = "a name\0 at the top"
    response = logged_in("staff").post(DECIDE, {"exclude": str(images[0].uuid), "note": note})
    assert response.status_code == 302
    assert images[0].changes.latest("pk").note == "a name\ufffd at the top"
