"""A first start: made once, and gone on with where it was interrupted."""

import json
import shutil
import stat
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from redis import Redis

from retrieval.models import Dataset, ImageChange, ImportJob, IndexBatch, MedicalImage, ModelVersion
from retrieval.services import demo, jobs
from retrieval.services.curation import hold
from tests.imaging.files import dicom, ramp


@pytest.fixture(autouse=True)
def own_data_folder(db: None, settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


def test_logins_are_made_once_and_work() -> None:
    path = demo.create_demo_logins()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    logins = json.loads(path.read_text())
    assert sorted(logins) == ["admin", "clinician", "staff"]
    for role, login in logins.items():
        client = Client()
        client.post(reverse("login"), login)
        person = User.objects.get(pk=client.session["_auth_user_id"])
        assert person.username == login["username"]
        assert [group.name for group in person.groups.all()] == [role]
        assert person.is_staff == (role != "clinician")
    assert demo.create_demo_logins() == path
    assert json.loads(path.read_text()) == logins


def test_where_people_exist_nobody_is_added() -> None:
    User.objects.create_user("somebody")
    assert not demo.create_demo_logins().exists()
    assert User.objects.count() == 1


def _import(picture_folder: Path) -> list[str]:
    said: list[str] = []

    def write(folder: Path) -> int:
        shutil.copytree(picture_folder, folder, dirs_exist_ok=True)
        return 6

    demo._import_once("Drawn", write=write, about={"is_synthetic": True}, say=said.append)
    return said


def test_a_demo_dataset_is_made_once(picture_folder: Path) -> None:
    assert "6 files imported." in _import(picture_folder)[-1]
    assert Dataset.objects.get().is_synthetic
    assert _import(picture_folder) == []
    assert MedicalImage.objects.count() == 6


def test_nothing_of_the_demo_waits_for_a_person(picture_folder: Path) -> None:
    """Its ultrasound pictures would, were they somebody's."""
    (picture_folder / "us.dcm").write_bytes(dicom(ramp(), Modality="US"))
    assert "7 files imported." in _import(picture_folder)[-1]
    assert MedicalImage.objects.shown().count() == 7
    [released] = ImageChange.objects.all()
    assert (released.image.modality, released.new, released.changed_by) == ("Ultrasound", "shown", None)


def test_what_an_interrupted_start_left_for_people_is_released_by_the_next(picture_folder: Path) -> None:
    (picture_folder / "us.dcm").write_bytes(dicom(ramp(), Modality="US"))
    _import(picture_folder)
    # As if it had been killed after its import.
    ImageChange.objects.all().delete()
    MedicalImage.objects.filter(modality="Ultrasound").update(standing="held")
    hold(MedicalImage.objects.exclude(modality="Ultrasound")[:1], user=None)
    assert _import(picture_folder) == []
    # But not what a person has taken away since.
    [held] = MedicalImage.objects.held()
    assert held.modality != "Ultrasound"


def test_a_first_start_that_was_interrupted_goes_on(picture_folder: Path, tmp_path: Path) -> None:
    dataset = Dataset.objects.create(name="Drawn")
    job = ImportJob.objects.create(dataset=dataset, source_path=str(tmp_path / "gone"))
    assert jobs.claim(ImportJob, job.pk) is not None
    assert "6 files imported." in _import(picture_folder)[-1]
    assert [each.status for each in dataset.import_jobs.all()] == ["done"]


def test_a_demo_dataset_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    [_, outcome] = _import(tmp_path / "empty")
    assert "no files" in outcome


def test_what_was_deleted_of_the_demo_does_not_come_back(active_version: ModelVersion) -> None:
    demo.create_demo_archive(say=str)
    assert not Dataset.objects.exists()


def test_the_first_version_is_active_and_the_archive_queued(picture_folder: Path, broker: Redis) -> None:
    _import(picture_folder)
    demo.create_first_version(architecture="narrow", weights="none", say=str)
    version = ModelVersion.objects.active()
    assert version is not None
    assert IndexBatch.objects.get().index_job.model_version == version
    demo.create_first_version(architecture="narrow", weights="none", say=str)
    assert ModelVersion.objects.count() == 1
