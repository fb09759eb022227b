"""Series: one tile in listings, a page to walk through, and what else there is of the study and the patient."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from retrieval.models import Dataset, ImportJob, MedicalImage, Query, StoredFile
from retrieval.services import jobs
from retrieval.services.importing import import_dataset
from tests.imaging.files import dataset_of as object_of
from tests.imaging.files import dicom, ramp, written
from tests.imaging.zips import zipped
from tests.pictures import drawn_pixels, png

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
PATIENT = "PATIENT-77"


def _slice(number: int | None, *, study: str = "1.2.1", series: str = "1.2.1.1", seed: int = 0) -> bytes:
    pixels = drawn_pixels(seed + (number or 0), width=64, height=64)
    elements = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "PatientID": PATIENT}
    return dicom(pixels, InstanceNumber=number, SOPInstanceUID=f"{series}.{number or 99}", **elements)


@pytest.fixture
def ward(tmp_path: Path) -> Dataset:
    """A zip with a series of five slices named against their order, a lone image, a file of three frames, and two more
    series: of the same study, and of another study of the same patient."""
    frames = object_of(ramp(rows=3 * 16, columns=16).reshape(3, 16, 16))
    del frames.Modality
    # Otherwise somebody had to look at it first.
    frames.BurnedInAnnotation = "NO"
    path = zipped(
        tmp_path / "ward.zip",
        *((f"head/{name}.dcm", _slice(number)) for name, number in zip("abcde", (4, 2, 5, 1, 3), strict=True)),
        ("head/lone.png", png(drawn_pixels(50))),
        ("heart/run.dcm", written(frames)),
        *((f"scout/{n}.dcm", _slice(n, series="1.2.1.2", seed=100)) for n in (1, 2)),
        *((f"years ago/{n}.dcm", _slice(n, study="1.2.9", series="1.2.9.1", seed=200)) for n in (1, 2, 3)),
    )
    dataset = _imported(path)
    assert dataset.images.count() == 5 + 1 + 3 + 2 + 3
    return dataset


def _imported(path: Path) -> Dataset:
    dataset = Dataset.objects.create(name="Ward")
    job = jobs.claim(ImportJob, ImportJob.objects.create(dataset=dataset, source_path=str(path)).pk)
    assert job is not None
    import_dataset(job, index_afterwards=False)
    return dataset


def _head(dataset: Dataset) -> list[MedicalImage]:
    """The five slices, in their order."""
    images = {image.instance_number: image for image in dataset.images.filter(label="head", modality="CT")}
    return [images[number] for number in (1, 2, 3, 4, 5)]


def _address(image: MedicalImage) -> str:
    return reverse("series_detail", args=[image.uuid])


def _words(client: Client, address: str, **choice: object) -> str:
    """The page between its tags, white space evened out."""
    response = client.get(address, choice)
    assert response.status_code == 200
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def _tiles(page: str) -> list[tuple[str, str]]:
    """Address and words of each tile."""
    found = re.findall(r'<a class="tile[^"]*" href="([^"]+)">(.*?)</a>', page, flags=re.DOTALL)
    return [(address, " ".join(re.sub(r"<[^>]+>", " ", inner).split())) for address, inner in found]


def test_a_series_and_the_frames_of_a_file_are_one_tile_each(logged_in: LoggedIn, ward: Dataset) -> None:
    client = logged_in("clinician")
    page = client.get(ward.get_absolute_url()).content.decode()
    lone, run = ward.images.get(label="head", modality=""), ward.images.get(label="heart", frame_number=2)
    shown = _tiles(page)
    assert [words for _, words in shown] == [
        "head CT 5 images Ward",
        "head modality unknown Ward",
        "heart modality unknown 3 frames Ward",
        "scout CT 2 images Ward",
        "years ago CT 3 images Ward",
    ]
    # The picture is the middle one, and it is where the series opens.
    assert [address for address, _ in shown[:3]] == [
        _address(_head(ward)[2]),
        lone.get_absolute_url(),
        _address(run),
    ]
    assert "14 images in 5 entries, a series being one" in _words(client, ward.get_absolute_url())


def test_a_class_is_listed_by_its_own_images(logged_in: LoggedIn, ward: Dataset) -> None:
    slices = _head(ward)
    MedicalImage.objects.filter(pk__in=[slices[0].pk, slices[1].pk]).update(label="bleeding")
    MedicalImage.objects.filter(pk=slices[4].pk).update(label="fracture")
    client = logged_in("clinician")

    def listed(label: str) -> list[tuple[str, str]]:
        return _tiles(client.get(ward.get_absolute_url(), {"label": label}).content.decode())

    assert listed("bleeding") == [(_address(slices[1]), "bleeding CT 2 images Ward")]
    assert listed("fracture") == [(slices[4].get_absolute_url(), "fracture CT Ward")]
    # Its page has them all, and says what they are.
    assert "Labels bleeding, fracture, head" in _words(client, _address(slices[4]))


def test_pages_count_series(logged_in: LoggedIn) -> None:
    dataset = Dataset.objects.create(name="Many")
    file = StoredFile.objects.create(sha256="0", file="originals/0", size=1, is_deidentified=True)
    # Ten series of eight slices, and 51 single images.
    MedicalImage.objects.bulk_create(
        MedicalImage(
            dataset=dataset,
            original=file,
            frame_number=number + 1,
            series_instance_uid=f"2.25.{number // 8}" if number < 80 else "",
            preview=f"previews/{number}",
            thumbnail=f"thumbnails/{number}",
            width=1,
            height=1,
        )
        for number in range(131)
    )
    client = logged_in("clinician")
    first = client.get(dataset.get_absolute_url()).content.decode()
    second = client.get(dataset.get_absolute_url(), {"page": 2}).content.decode()
    assert (len(_tiles(first)), len(_tiles(second))) == (60, 1)
    assert "Page 1 of 2" in first
    addresses = [address for page in (first, second) for address, _ in _tiles(page)]
    assert len(set(addresses)) == 61
    assert sum(address.startswith("/series/") for address in addresses) == 10


def test_a_zipped_series_is_walked_through_by_instance_number(logged_in: LoggedIn, ward: Dataset) -> None:
    slices = _head(ward)
    client = logged_in("clinician")
    page = client.get(_address(slices[2])).content.decode()
    grid = page[page.index('class="slices"') :]
    assert re.findall(r'data-image="([^"]+)"', grid) == [image.get_absolute_url() for image in slices]
    assert "slice 3 of 5" in _words(client, _address(slices[2]))
    assert f'src="{reverse("image_preview", args=[slices[2].uuid])}"' in page
    # Without scripts there are the links, and none beyond the ends.
    assert _steps(page) == {"prev": _address(slices[1]), "next": _address(slices[3])}
    assert _steps(client.get(_address(slices[0])).content.decode()) == {"next": _address(slices[1])}
    assert _steps(client.get(_address(slices[4])).content.decode()) == {"prev": _address(slices[3])}


def _steps(page: str) -> dict[str, str]:
    walk = re.findall(r"<nav[^>]*data-arrow-keys.*?</nav>", page, flags=re.DOTALL)
    assert len(walk) == 1
    return dict(re.findall(r'rel="(prev|next)" href="([^"]+)"', walk[0]))


def test_files_without_a_number_come_last_and_frames_of_a_file_stay_together(
    logged_in: LoggedIn, ward: Dataset
) -> None:
    slices = _head(ward)
    runs = list(ward.images.filter(label="heart").order_by("frame_number"))
    for image in runs:
        # In the series as a multi-frame file beside single ones, with a number that one of them has as well.
        image.series_instance_uid, image.instance_number = slices[0].series_instance_uid, 2
        image.save()
    MedicalImage.objects.filter(pk=slices[0].pk).update(instance_number=None)
    walked = list(ward.images.in_stack_of(slices[0]))
    assert walked == [slices[1], *runs, *slices[2:], slices[0]]


def test_files_without_any_number_are_walked_by_name(tmp_path: Path) -> None:
    # Contents that come in another order than the names.
    path = zipped(tmp_path / "ward.zip", *((f"head/{n}.dcm", _slice(None, seed=97 * n % 13)) for n in range(9)))
    dataset = _imported(path)
    walked = dataset.images.in_stack_of(dataset.images.first())
    names = dataset.import_jobs.get().files.order_by("name").values_list("image", flat=True)
    assert [image.pk for image in walked] == list(names)


def test_a_series_page_links_its_study_and_other_studies_of_the_patient(logged_in: LoggedIn, ward: Dataset) -> None:
    client = logged_in("clinician")
    address = _address(_head(ward)[0])
    words = _words(client, address)
    assert "1 other series in this study scout CT 2 images" in words
    assert "Another study of the same patient years ago CT 3 images" in words
    scout = ward.images.get(label="scout", instance_number=2)
    assert _address(scout) in [link for link, _ in _tiles(client.get(address).content.decode())]
    MedicalImage.objects.filter(label="scout").update(study_instance_uid="2.25.5")
    words = _words(client, address)
    assert "in this study" not in words
    assert "2 other studies of the same patient" in words


def test_other_datasets_tell_nothing_of_the_patient(logged_in: LoggedIn, ward: Dataset) -> None:
    elsewhere = Dataset.objects.create(name="Elsewhere")
    ward.images.filter(label__in=["scout", "years ago"]).update(dataset=elsewhere)
    words = _words(logged_in("clinician"), _address(_head(ward)[0]))
    assert "in this study" not in words
    assert "same patient" not in words


def test_an_image_page_walks_through_its_series(logged_in: LoggedIn, ward: Dataset) -> None:
    slices = _head(ward)
    client = logged_in("clinician")
    page = client.get(slices[1].get_absolute_url()).content.decode()
    assert _steps(page) == {"prev": slices[0].get_absolute_url(), "next": slices[2].get_absolute_url()}
    assert _address(slices[1]) in page
    words = _words(client, slices[1].get_absolute_url())
    assert "slice 2 of 5" in words
    assert "Another study of the same patient" in words
    run = ward.images.get(label="heart", frame_number=3)
    assert "frame 3 of 3" in _words(client, run.get_absolute_url())


def test_an_image_of_no_series_stands_among_those_of_its_dataset(logged_in: LoggedIn, ward: Dataset) -> None:
    lone = ward.images.get(label="head", modality="")
    client = logged_in("clinician")
    page = client.get(lone.get_absolute_url()).content.decode()
    assert set(_steps(page)) == {"prev", "next"}
    assert "/series/" not in page
    assert client.get(_address(lone))["Location"] == lone.get_absolute_url()


def test_neither_uids_nor_keys_of_patients_are_shown(logged_in: LoggedIn, ward: Dataset) -> None:
    client = logged_in("admin")
    image = _head(ward)[0]
    assert image.patient_key
    kept = [image.study_instance_uid, image.series_instance_uid, image.sop_instance_uid, image.patient_key, PATIENT]
    for address in (ward.get_absolute_url(), _address(image), image.get_absolute_url()):
        page = client.get(address).content.decode()
        assert [secret for secret in kept if secret in page] == []


def test_an_answer_tells_which_slice_an_image_is(
    logged_in: LoggedIn, archive: Dataset, ask: Callable[..., Query], answered: Callable[[Query], Query]
) -> None:
    hands = list(archive.images.filter(label="hand"))
    for number, image in zip((3, 1, 2), hands, strict=True):
        image.series_instance_uid, image.instance_number, image.modality = "2.25.1", number, "CT"
        image.save()
    client = logged_in("clinician")
    query = answered(ask(client))
    told = dict(_tiles(client.get(query.get_absolute_url()).content.decode()))
    assert len(told) == 6
    for number, image in zip((3, 1, 2), hands, strict=True):
        assert f"slice {number} of 3" in told[image.get_absolute_url()]
    assert [words for words in told.values() if "chest" in words and " of " in words] == []


def test_who_may_not_see_images_sees_no_series(logged_in: LoggedIn, ward: Dataset) -> None:
    image = _head(ward)[0]
    client = Client()
    reader = User.objects.create_user("reader", password="correct horse")
    client.force_login(reader)
    assert client.get(_address(image)).status_code == 403
    reader.user_permissions.add(Permission.objects.get(codename="view_dataset"))
    page = client.get(ward.get_absolute_url()).content.decode()
    assert _tiles(page) == []
    assert str(image.uuid) not in page


def test_the_content_security_policy_holds_for_a_series(logged_in: LoggedIn, ward: Dataset) -> None:
    page = logged_in("admin").get(_address(_head(ward)[0])).content.decode()
    assert not re.search(r'\s(style|on\w+)="', page)
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
