"""Uploads leave space on the disk, which may be that of the database: what is promised counts too."""

from collections import namedtuple
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from retrieval.models import Dataset, Upload, UploadedFile
from retrieval.services import space
from retrieval.services.uploading import finish_upload, open_upload, path_of
from tests.views.tus import create, send

pytestmark = pytest.mark.django_db
Usage = namedtuple("Usage", "total used free")
Free = Callable[[int], None]
RESERVE = 1000


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Free:
    """Say how many bytes the disk has left above the reserve; what is written takes nothing of them."""
    monkeypatch.setattr(space, "RESERVE_BYTES", RESERVE)

    def set_free(size: int) -> None:
        monkeypatch.setattr(space.shutil, "disk_usage", lambda _: Usage(2**40, 0, RESERVE + size))

    return set_free


def test_a_full_disk_is_said_and_costs_nothing(staff: Client, upload: Upload, free: Free) -> None:
    free(100)
    address = create(staff, upload, path="a.png", size=10, content=b"01234")["Location"]
    free(9)
    assert create(staff, upload, path="b.png", size=10).status_code == 507
    assert upload.files.count() == 1
    assert send(staff, address, content=b"56789", offset=5).status_code == 204


def test_files_that_are_promised_at_once_do_not_fit_together(
    staff: Client, upload: Upload, person: Callable[..., User], dataset: Dataset, free: Free
) -> None:
    """Those of everybody, and only what of them is still to come."""
    free(100)
    first = create(staff, upload, path="a.png", size=60)["Location"]
    theirs = open_upload(dataset=dataset, user=person("staff", name="another"))
    UploadedFile.objects.create(upload=theirs, path="c.png", size=30)
    Upload.objects.filter(pk=theirs.pk).update(file_count=1, size=30)
    assert create(staff, upload, path="b.png", size=11).status_code == 507
    assert create(staff, upload, path="b.png", size=10).status_code == 201
    # As it is on the disk, it is not free any more.
    send(staff, first, content=bytes(60), offset=0)
    free(40)
    assert create(staff, upload, path="d.png", size=1).status_code == 507
    theirs.files.update(received=30)
    finish_upload(theirs)
    free(40)
    assert create(staff, upload, path="d.png", size=30).status_code == 201


def test_who_has_stopped_sending_keeps_nobody_from_it(
    staff: Client, upload: Upload, person: Callable[..., User], dataset: Dataset, free: Free
) -> None:
    free(100)
    theirs = open_upload(dataset=dataset, user=person("staff", name="another"))
    UploadedFile.objects.create(upload=theirs, path="c.png", size=90)
    Upload.objects.filter(pk=theirs.pk).update(file_count=1, size=90)
    assert create(staff, upload, path="a.png", size=11).status_code == 507
    Upload.objects.filter(pk=theirs.pk).update(changed_at=timezone.now() - timedelta(minutes=11))
    assert create(staff, upload, path="a.png", size=11).status_code == 201


def test_a_disk_that_fills_up_meanwhile_stops_a_file_midway(
    staff: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else writes on it too: what is here is kept, and the rest may come once there is space again."""
    size = 3 * 2**20
    address = create(staff, upload, path="a.zip", size=size)["Location"]
    file = upload.files.get()
    monkeypatch.setattr(space, "RESERVE_BYTES", RESERVE)
    left = RESERVE + 2**20 + 5
    usage = lambda _: Usage(2**40, 0, left - path_of(file).stat().st_size)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(space.shutil, "disk_usage", usage)
        answer = send(staff, address, content=bytes(size), offset=0)
    assert answer.status_code == 507
    assert "disk of the site is full" in answer.content.decode()
    file.refresh_from_db()
    assert file.received == path_of(file).stat().st_size == 2**20
    assert send(staff, address, content=bytes(size - 2**20), offset=2**20).status_code == 204
