"""Whose an upload is, how it ends, and what is said when its dataset goes: to who sent it and to nobody else."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from retrieval.models import Dataset, DatasetDeletion, ImportJob, Upload
from retrieval.services import uploading
from retrieval.services.uploading import folder_of, path_of
from tests.views.tus import create, send

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]


def test_a_colleagues_upload_is_not_found(logged_in: LoggedIn, upload: Upload, staff: Client) -> None:
    address = create(staff, upload, path="a.png", size=5)["Location"]
    colleague = logged_in("staff", name="colleague")
    assert send(colleague, address, content=b"hello", offset=0).status_code == 404
    assert create(colleague, upload, path="b.png", size=5).status_code == 404
    for address in (f"/uploads/{upload.uuid}/finish/", f"/uploads/{upload.uuid}/discard/"):
        assert colleague.post(address).status_code == 404


def test_who_is_logged_out_is_told_so(staff: Client, upload: Upload) -> None:
    address = create(staff, upload, path="a.png", size=5)["Location"]
    staff.logout()
    answers = [
        staff.get(f"/uploads/{upload.uuid}/"),
        create(staff, upload, path="b.png", size=5),
        staff.head(address),
        send(staff, address, content=b"hello", offset=0),
        staff.delete(address),
        staff.post(f"/uploads/{upload.uuid}/finish/"),
        staff.post(f"/uploads/{upload.uuid}/discard/"),
    ]
    assert [answer.status_code for answer in answers] == [401] * 7
    assert upload.files.get().received == 0


def test_a_finished_upload_says_where_its_import_is(staff: Client, upload: Upload) -> None:
    address = create(staff, upload, path="a.png", size=5, content=b"hello")["Location"]
    staff.post(f"/uploads/{upload.uuid}/finish/")
    job = ImportJob.objects.get()
    assert staff.get(f"/uploads/{upload.uuid}/").json() == {"files": {}, "finished": job.get_absolute_url()}
    answers = [create(staff, upload, path="b.png", size=5), staff.head(address), staff.delete(address)]
    assert [answer.status_code for answer in answers] == [410] * 3
    assert staff.post(f"/uploads/{upload.uuid}/discard/").status_code == 410
    assert folder_of(upload).exists()


def test_nothing_is_taken_for_a_dataset_on_its_way_out(staff: Client, upload: Upload, dataset: Dataset) -> None:
    address = create(staff, upload, path="a.png", size=10, content=b"hello")["Location"]
    DatasetDeletion.objects.create(dataset=dataset, name=dataset.name)
    answers = [
        staff.get(f"/uploads/{upload.uuid}/"),
        create(staff, upload, path="b.png", size=5),
        send(staff, address, content=b"world", offset=5),
        staff.post(f"/uploads/{upload.uuid}/finish/"),
    ]
    assert {(answer.status_code, answer.content.decode()) for answer in answers} == {(410, uploading.BEING_DELETED)}
    page = f"/admin/retrieval/dataset/{dataset.pk}/upload/"
    assert staff.get(page)["Location"] == dataset.get_absolute_url()
    assert not ImportJob.objects.exists()


def test_clinicians_upload_nothing(logged_in: LoggedIn, upload: Upload) -> None:
    assert create(logged_in("clinician"), upload, path="b.png", size=5).status_code == 403


def test_the_page_is_found_from_the_dataset(staff: Client, dataset: Dataset, upload: Upload) -> None:
    page = staff.get(f"/admin/retrieval/dataset/{dataset.pk}/change/").content.decode()
    address = f"/admin/retrieval/dataset/{dataset.pk}/upload/"
    assert address in page
    page = staff.get(address).content.decode()
    assert f'data-files="/uploads/{upload.uuid}/files/"' in page
    assert Upload.objects.count() == 1


def test_a_new_dataset_leads_to_its_upload(staff: Client) -> None:
    answer = staff.post("/admin/retrieval/dataset/add/", {"name": "Chests", "_save": "Save"})
    assert answer["Location"] == f"/admin/retrieval/dataset/{Dataset.objects.get().pk}/upload/"


def test_the_folder_is_private(staff: Client, upload: Upload, settings: Settings) -> None:
    create(staff, upload, path="chest/a.png", size=1)
    modes = [path.stat().st_mode & 0o777 for path in (path_of(upload.files.get()), settings.UPLOAD_DIR)]
    assert modes == [0o600, 0o700]


@pytest.mark.parametrize("moment", [1, 2])
def test_a_dataset_that_is_deleted_meanwhile_is_no_fault(staff: Client, upload: Upload, moment: int) -> None:
    """Between the look for the upload and the row of its file, and between that row and the file's content."""
    locks = []

    def delete_before(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        if "FOR UPDATE" in sql:
            locks.append(sql)
            if len(locks) == moment:
                Dataset.objects.all().delete()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(delete_before):
        answer = create(staff, upload, path="a.png", size=5, content=b"hello")
    assert answer.status_code == 404
