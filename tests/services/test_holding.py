"""Which images of an import wait for a person, and what an import makes of what people decided before."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from retrieval.models import Dataset, MedicalImage
from retrieval.services.curation import exclude, release
from retrieval.services.importing import HIDDEN_ELSEWHERE, REVIEW_ALL
from tests.imaging.files import dicom, ramp
from tests.services.conftest import ImportFolder


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two frames of ultrasound, a CT slice, and a CT slice with text in it."""
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "us.dcm").write_bytes(dicom(ramp(rows=40).reshape(2, 20, 30), Modality="US"))
    (folder / "ct.dcm").write_bytes(dicom(ramp(high=200), Modality="CT"))
    (folder / "marked.dcm").write_bytes(dicom(ramp(high=100), Modality="CT", BurnedInAnnotation="YES"))
    return folder


def _held(dataset: str = "one") -> list[tuple[str, str]]:
    images = MedicalImage.objects.held().filter(dataset__name=dataset)
    return [(image.modality, image.held_reason.split()[0]) for image in images.order_by("modality", "pk")]


def test_pictures_that_may_show_names_are_held(import_folder: ImportFolder, scans: Path) -> None:
    job = import_folder(scans)
    # Stored like all others: nothing that came in is lost.
    assert (job.accepted, job.refused) == (3, 0)
    assert _held() == [("CT", "The"), ("Ultrasound", "Ultrasound"), ("Ultrasound", "Ultrasound")]
    assert [image.modality for image in MedicalImage.objects.shown()] == ["CT"]


def test_an_installation_may_show_them_at_once(import_folder: ImportFolder, scans: Path, settings: Settings) -> None:
    settings.REVIEW_BURNED_IN = False
    import_folder(scans)
    assert not MedicalImage.objects.held().exists()


def test_ordinary_images_are_held_where_the_dataset_says_so(import_folder: ImportFolder, picture_folder: Path) -> None:
    import_folder(picture_folder, dataset="trusted")
    Dataset.objects.create(name="unknown", review_all=True)
    import_folder(picture_folder, dataset="unknown")
    assert _held("trusted") == []
    assert {image.held_reason for image in MedicalImage.objects.held()} == {REVIEW_ALL}
    assert len(_held("unknown")) == 6


def test_what_was_decided_is_not_undone_by_importing_again(
    import_folder: ImportFolder, scans: Path, person: Callable[..., User]
) -> None:
    import_folder(scans)
    ultrasound = MedicalImage.objects.filter(modality="Ultrasound")
    release(ultrasound[:1], user=person("staff"))
    exclude(ultrasound[1:], user=None)
    before = list(MedicalImage.objects.order_by("pk").values_list("pk", "standing"))
    assert import_folder(scans).duplicates == 3
    assert list(MedicalImage.objects.order_by("pk").values_list("pk", "standing")) == before


def test_a_file_that_was_taken_out_comes_back_held_in_another_dataset(
    import_folder: ImportFolder, picture_folder: Path
) -> None:
    import_folder(picture_folder, dataset="first")
    [image] = exclude(MedicalImage.objects.order_by("pk")[:1], user=None)
    import_folder(picture_folder, dataset="second")
    [held] = MedicalImage.objects.held()
    assert (held.dataset.name, held.original, held.held_reason) == ("second", image.original, HIDDEN_ELSEWHERE)
