"""Deleting a dataset asks twice, and what is left of it reads well."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from retrieval.models import Dataset, DatasetDeletion, ImportJob, JobStatus, Upload
from retrieval.services import deleting, jobs
from retrieval.services.deleting import delete_dataset, request_deletion
from retrieval.services.uploading import open_upload
from tests.training_rows import make_evaluation, make_run, make_version
from tests.views.tus import create

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]


def _text(response: HttpResponse, *, status: int = 200) -> str:
    assert response.status_code == status
    return " ".join(response.content.decode().split())


def _address(dataset: Dataset) -> str:
    return f"{dataset.get_absolute_url()}delete/"


def _delete(dataset: Dataset, *, user: User) -> DatasetDeletion:
    deletion = jobs.claim(DatasetDeletion, request_deletion(dataset=dataset, user=user).pk)
    assert deletion is not None
    delete_dataset(deletion)
    return deletion


@pytest.mark.parametrize("role", ["clinician", "staff"])
def test_administrators_alone_delete(logged_in: LoggedIn, archive: Dataset, role: str) -> None:
    client = logged_in(role)
    assert _address(archive) not in _text(client.get(archive.get_absolute_url()))
    assert client.get(_address(archive)).status_code == 403
    assert client.post(_address(archive), {"name": archive.name}).status_code == 403
    deletion = DatasetDeletion.objects.create(dataset=archive, name=archive.name, total=6)
    assert client.get(deletion.get_absolute_url()).status_code == 403
    assert client.get("/admin/retrieval/datasetdeletion/").status_code in (302, 403)


def test_the_question_tells_what_will_be_gone(logged_in: LoggedIn, archive: Dataset) -> None:
    make_run(archive)
    client = logged_in("admin")
    assert _address(archive) in _text(client.get(archive.get_absolute_url()))
    page = _text(client.get(_address(archive)))
    for words in (
        "Delete Drawn?",
        "6 images and 6 embeddings",
        "18 files: 6 originals",
        "the reports of 1 import<",
        "1 training run has learnt from it",
    ):
        assert words in page
    assert not DatasetDeletion.objects.exists()


@pytest.mark.parametrize("typed", ["", "drawn", "Drawn 2"])
def test_another_name_deletes_nothing(logged_in: LoggedIn, archive: Dataset, typed: str) -> None:
    page = _text(logged_in("admin").post(_address(archive), {"name": typed}), status=400)
    assert "That is not its name. Nothing was deleted." in page
    assert not DatasetDeletion.objects.exists()


def test_its_name_deletes_it(logged_in: LoggedIn, archive: Dataset) -> None:
    client = logged_in("admin")
    address = client.post(_address(archive), {"name": " Drawn "})["Location"]
    deletion = DatasetDeletion.objects.get()
    assert (address, deletion.status, deletion.total) == (deletion.get_absolute_url(), JobStatus.QUEUED, 6)
    assert deletion.asked_by == client.user  # type: ignore[attr-defined]
    assert "0 of 6 images" in _text(client.get(address))
    assert client.get(_address(archive))["Location"] == client.post(_address(archive))["Location"] == address
    assert "is being deleted" in _text(client.get(archive.get_absolute_url()))
    assert "being deleted" in _text(client.get("/datasets/"))
    claimed = jobs.claim(DatasetDeletion, deletion.pk)
    assert claimed is not None
    delete_dataset(claimed)
    assert client.get(address, headers={"HX-Request": "true"})["HX-Refresh"] == "true"
    assert "<strong>The dataset is deleted</strong>, with 6 images" in _text(client.get(address))
    assert client.get(_address(archive)).status_code == 404
    assert "Drawn" in _text(client.get("/admin/retrieval/datasetdeletion/"))


def test_a_deletion_that_waits_or_failed_says_so(logged_in: LoggedIn, archive: Dataset) -> None:
    long_ago = timezone.now() - timedelta(minutes=1)
    deletion = DatasetDeletion.objects.create(dataset=archive, name="Drawn", total=6, queued_at=long_ago)
    client, address = logged_in("admin"), deletion.get_absolute_url()
    assert "No worker is free" in _text(client.get(address, headers={"HX-Request": "true"}))
    DatasetDeletion.objects.update(status=JobStatus.FAILED, reason="The disk is gone.", done=4)
    page = _text(client.get(address))
    assert "4 of 6 images are gone. The disk is gone." in page
    assert _address(archive) in page
    assert "The disk is gone." in _text(client.get(_address(archive)))


def test_an_import_keeps_its_dataset(logged_in: LoggedIn, archive: Dataset) -> None:
    job = ImportJob.objects.create(dataset=archive, source_path="somewhere")
    response = logged_in("admin").post(_address(archive), {"name": "Drawn"}, follow=True)
    assert f"Import {job.pk} works with this dataset. Wait until it has ended" in _text(response)
    assert not DatasetDeletion.objects.exists()


def test_an_upload_on_its_way_keeps_its_dataset(logged_in: LoggedIn, archive: Dataset) -> None:
    sender = logged_in("staff", name="sender")
    upload = open_upload(dataset=archive, user=sender.user)  # type: ignore[attr-defined]
    client = logged_in("admin")
    assert "unfinished upload" not in _text(client.get(_address(archive)))
    for name in ("a.png", "b.png"):
        create(sender, upload, path=name, size=2048, content=bytes(1024))
    page = _text(client.get(_address(archive)))
    assert "an unfinished upload by sender: 2 files, 2.0 KB are here, the last of it came" in page
    refused = _text(client.post(_address(archive), {"name": "Drawn"}, follow=True))
    assert "sender is sending files into this dataset. Wait until they are imported" in refused
    assert not DatasetDeletion.objects.exists()
    Upload.objects.update(changed_at=timezone.now() - timedelta(minutes=11))
    assert "an unfinished upload by sender: 2 files" in _text(client.get(_address(archive)))
    client.post(_address(archive), {"name": "Drawn"})
    assert DatasetDeletion.objects.get().status == JobStatus.QUEUED


def test_the_administration_leads_to_the_question(logged_in: LoggedIn, archive: Dataset) -> None:
    client = logged_in("admin")
    assert client.post(f"/admin/retrieval/dataset/{archive.pk}/delete/")["Location"] == _address(archive)
    assert "delete_selected" not in _text(client.get("/admin/retrieval/dataset/"))
    chosen = {"action": "delete_selected", "_selected_action": [archive.pk], "post": "yes"}
    client.post("/admin/retrieval/dataset/", chosen)
    assert Dataset.objects.filter(pk=archive.pk).exists()
    assert client.get("/admin/retrieval/dataset/nothing/delete/").status_code == 404
    address = f"/admin/retrieval/dataset/{archive.pk}/delete/"
    assert logged_in("staff").get(address, follow=True).status_code == 403


def test_reports_of_training_outlive_the_images(logged_in: LoggedIn, archive: Dataset) -> None:
    run = make_run(archive)
    version = make_version(number=90, run=run)
    evaluation = make_evaluation(run, version=version, mistaken=1)
    client = logged_in("admin")
    page = _text(client.get(f"/training/runs/{run.pk}/"))
    assert "were deleted since" not in page
    archive.images.filter(splits__part="test").earliest("pk").delete()
    assert "Some of the images were deleted since" in _text(client.get(f"/training/runs/{run.pk}/"))
    _delete(archive, user=client.user)  # type: ignore[attr-defined]
    page = _text(client.get(f"/training/runs/{run.pk}/"))
    assert "On a dataset that was deleted since" in page
    assert "None of the images that took part is in the archive any more." in page
    assert "Confusion matrix" in page
    evaluation.refresh_from_db()
    assert evaluation.report["queries"] == 2
    for address in ("", f"evaluations/{evaluation.pk}/", f"evaluations/{evaluation.pk}/?label=hand", "compare/"):
        assert client.get(f"/training/{address}", follow=True).status_code == 200


class _Killed(BaseException):
    """Ends a worker in the middle of its work."""


def _begin_to_delete(dataset: Dataset, *, user: User) -> None:
    """Its first image goes."""
    deletion = jobs.claim(DatasetDeletion, request_deletion(dataset=dataset, user=user).pk)
    assert deletion is not None

    def die(done: int, total: int | None) -> None:
        raise _Killed

    with pytest.raises(_Killed):
        delete_dataset(deletion, progress=die)


@pytest.mark.parametrize(
    ("page", "first_query", "status"),
    [
        ("dataset", 'MIN("retrieval_medicalimage"."id")', 200),
        ("image", '"retrieval_medicalimage"."uuid" = ', 404),
        ("series", '"retrieval_medicalimage"."uuid" = ', 404),
    ],
)
def test_a_page_that_is_opened_while_its_images_go_is_no_fault(
    logged_in: LoggedIn,
    archive: Dataset,
    person: Callable[..., User],
    monkeypatch: pytest.MonkeyPatch,
    page: str,
    first_query: str,
    status: int,
) -> None:
    """Between the query that finds an image and the one that reads more of it."""
    monkeypatch.setattr(deleting, "BATCH_IMAGES", 1)
    client, admin = logged_in("clinician"), person("admin", name="admin")
    image = archive.images.earliest("pk")
    address = {
        "dataset": archive.get_absolute_url(),
        "image": image.get_absolute_url(),
        "series": reverse("series_detail", args=[image.uuid]),
    }[page]

    def delete_after(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        found = execute(sql, params, many, context)
        if first_query in sql and not DatasetDeletion.objects.exists():
            _begin_to_delete(archive, user=admin)
        return found

    with connection.execute_wrapper(delete_after):
        answer = client.get(address)
    assert answer.status_code == status
    assert archive.images.count() == 5
