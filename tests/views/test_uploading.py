"""Uploads into datasets, as a tus client sends them: nothing acknowledged is lost, nothing leads out of the folder."""

import io
import os
import socket
import zipfile
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from threading import Thread, Timer
from typing import Any

import pytest
from django.db import connection
from django.http import UnreadablePostError
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader
from pytest_django import Settings

from cbmir_site import middleware
from retrieval.models import Dataset, ImportJob, JobStatus, MedicalImage, Upload, UploadedFile
from retrieval.services import uploading
from retrieval.services.uploading import append, folder_of, open_upload, path_of, remove_old_uploads
from retrieval.views import uploading as views
from retrieval.views.uploading import PIECE
from tests.pictures import drawn_pixels, png
from tests.services.conftest import work_on_import
from tests.views.tus import create, send

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]


def test_a_file_arrives_in_pieces(staff: Client, upload: Upload) -> None:
    content = os.urandom(3000)
    created = create(staff, upload, path="chest/a.png", size=3000)
    assert (created.status_code, created["Tus-Resumable"]) == (201, "1.0.0")
    address = created["Location"]
    for start in range(0, 3000, 1000):
        answer = send(staff, address, content=content[start : start + 1000], offset=start)
        assert (answer.status_code, answer["Upload-Offset"]) == (204, str(start + 1000))
    head = staff.head(address)
    assert (head["Upload-Offset"], head["Upload-Length"], head["Cache-Control"]) == ("3000", "3000", "no-store")
    file = upload.files.get()
    assert path_of(file).read_bytes() == content
    assert staff.get(f"/uploads/{upload.uuid}/").json() == {
        "files": {"chest/a.png": [address, 3000, 3000]},
        "finished": None,
    }


def test_a_piece_may_come_with_the_creation(staff: Client, upload: Upload) -> None:
    created = create(staff, upload, path="a.png", size=10, content=b"0123456789")
    assert (created.status_code, created["Upload-Offset"]) == (201, "10")


def test_a_piece_at_another_place_is_refused(staff: Client, upload: Upload) -> None:
    address = create(staff, upload, path="a.png", size=10, content=b"01234")["Location"]
    assert send(staff, address, content=b"56789", offset=3).status_code == 409
    assert send(staff, address, content=b"56789", offset=5).status_code == 204
    assert path_of(upload.files.get()).read_bytes() == b"0123456789"


def test_no_more_is_kept_than_was_announced(staff: Client, upload: Upload) -> None:
    create(staff, upload, path="a.png", size=4, content=b"0123456789")
    assert path_of(upload.files.get()).read_bytes() == b"0123"


def test_a_connection_that_breaks_leaves_what_came_before(upload: Upload, staff: Client) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:  # noqa: ARG002
            piece = super().read(4)
            if not piece:
                raise UnreadablePostError
            return piece

    create(staff, upload, path="a.png", size=10)
    file = upload.files.get()
    append(file, stream=Broken(b"012345"))
    assert UploadedFile.objects.get().received == 6
    # A process that died while it wrote leaves bytes that nobody was told of.
    with path_of(file).open("ab") as torn:
        torn.write(b"xx")
    append(file, stream=io.BytesIO(b"6789"))
    assert path_of(file).read_bytes() == b"0123456789"


def test_a_browser_that_vanishes_leaves_what_came_before(
    staff: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "SILENCE_SECONDS", 0.5)
    size = 2**20 + 10
    address = create(staff, upload, path="a.png", size=size)["Location"]
    ours, theirs = socket.socketpair()
    # Without the limit the site would read until this.
    hanging_up = Timer(10, theirs.shutdown, [socket.SHUT_RDWR])
    sending = Thread(target=theirs.sendall, args=[bytes(size - 5)])
    with ours, theirs:
        hanging_up.start()
        sending.start()
        body = Body(LengthReader(SocketUnreader(ours), size))
        environment: dict[str, Any] = {"gunicorn.socket": ours, "wsgi.input": body, "HTTP_UPLOAD_OFFSET": "0"}
        answer = staff.generic("PATCH", address, bytes(size), content_type=PIECE, **environment)
        assert hanging_up.is_alive()
        hanging_up.cancel()
        # Whoever is slow to receive has no limit.
        assert ours.gettimeout() is None
    assert (answer.status_code, answer["Upload-Offset"]) == (204, str(2**20))


@pytest.mark.parametrize(
    "path", ["", "/", "..", "../a.png", "a/../../b.png", "a/\0.png", "a\nb.png", "x" * 256, "a/" * 501 + "b", "\\..\\b"]
)
def test_paths_that_cannot_be_kept_are_refused(staff: Client, upload: Upload, path: str) -> None:
    answer = create(staff, upload, path=path, size=1)
    assert answer.status_code == 400
    assert "rename it" in answer.content.decode()
    assert not upload.files.exists()


@pytest.mark.parametrize("root", ["", "/", "\\", "//"])
def test_no_path_leads_out_of_the_upload(staff: Client, upload: Upload, tmp_path: Path, root: str) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"mine")
    assert create(staff, upload, path=f"{root}{outside}", size=1, content=b"x").status_code == 201
    assert outside.read_bytes() == b"mine"
    assert uploading.path_of(upload.files.get()).is_relative_to(uploading.folder_of(upload))


def test_an_archive_far_down_in_folders_is_refused_at_once(staff: Client, upload: Upload) -> None:
    far = "/".join(["d" * 190] * 5)
    answer = create(staff, upload, path=f"{far}/x.zip", size=1)
    assert (answer.status_code, answer.content.decode()) == (400, uploading.TOO_LONG)
    # Loose files are not the source of an import by themselves.
    assert create(staff, upload, path=f"{far}/x.png", size=1, content=b"x").status_code == 201
    assert staff.post(f"/uploads/{upload.uuid}/finish/").status_code == 201


def test_more_than_the_disk_can_name_is_refused(staff: Client, upload: Upload, settings: Settings) -> None:
    settings.UPLOAD_DIR /= "x" * 250
    answer = create(staff, upload, path="/".join(["\N{BONE}" * 63] * 15), size=1)
    assert (answer.status_code, answer.content.decode()) == (400, uploading.TOO_LONG)
    assert not upload.files.exists()


def test_an_absolute_path_stays_in_the_folder(staff: Client, upload: Upload) -> None:
    assert create(staff, upload, path="/etc/passwd", size=1, content=b"x").status_code == 201
    assert path_of(upload.files.get()) == folder_of(upload) / "files" / "etc" / "passwd"


@pytest.mark.parametrize("paths", [("a.png", "a.png"), ("a", "a/b.png"), ("a/b.png", "a")])
def test_names_that_meet_are_refused(staff: Client, upload: Upload, paths: tuple[str, str]) -> None:
    first, second = paths
    assert create(staff, upload, path=first, size=1).status_code == 201
    assert create(staff, upload, path=second, size=1).status_code == 400
    assert upload.files.get().path == first


def test_a_file_of_a_creation_that_was_interrupted_is_taken_over(staff: Client, upload: Upload) -> None:
    """The process was killed, or the database failed, before the row lasted."""
    create(staff, upload, path="a.png", size=10, content=b"01234")
    upload.files.get().delete()
    created = create(staff, upload, path="a.png", size=3, content=b"abc")
    assert (created.status_code, created["Upload-Offset"]) == (201, "3")
    assert path_of(upload.files.get()).read_bytes() == b"abc"


def test_a_disk_that_ignores_capitals_keeps_the_file_that_was_sent_first(staff: Client, upload: Upload) -> None:
    create(staff, upload, path="A.png", size=3, content=b"one")
    # What such a disk says of the other name.
    there = path_of(upload.files.get()).with_name("a.png")
    there.write_bytes(b"one")
    assert create(staff, upload, path="a.png", size=3).status_code == 400
    assert there.read_bytes() == b"one"


def test_an_upload_has_a_limit(
    staff: Client, upload: Upload, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.UPLOAD_MAX_BYTES = 10
    assert create(staff, upload, path="a.png", size=6).status_code == 201
    with CaptureQueriesContext(connection) as captured:
        answer = create(staff, upload, path="b.png", size=6)
    assert (answer.status_code, upload.files.count()) == (400, 1)
    # Nothing looks at all files for each that comes.
    assert [each["sql"] for each in captured if "SUM(" in each["sql"] or "COUNT(" in each["sql"]] == []
    assert create(staff, upload, path="c.png", size=4).status_code == 201
    assert staff.delete(f"/uploads/{upload.uuid}/files/{upload.files.get(path='a.png').uuid}/").status_code == 204
    assert create(staff, upload, path="b.png", size=6).status_code == 201
    monkeypatch.setattr(uploading, "_LIMITS", uploading.ArchiveLimits(members=2))
    assert create(staff, upload, path="d.png", size=0).content.decode() == uploading.TOO_MANY
    counted = Upload.objects.get()
    assert (counted.file_count, counted.size) == (2, 10)
    Upload.objects.update(file_count=0, size=0)
    with connection.cursor() as cursor:
        cursor.execute(import_module("retrieval.migrations.0015_upload_counts").COUNT)
    counted.refresh_from_db()
    assert (counted.file_count, counted.size) == (2, 10)


def test_the_addresses_of_many_files_are_found_at_once(
    staff: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = [create(staff, upload, path=f"{number}.png", size=1)["Location"] for number in range(3)]
    asked: list[str] = []

    def find(name: str, *, args: list[object]) -> str:
        asked.append(name)
        return reverse(name, args=args)

    monkeypatch.setattr(views, "reverse", find)
    known = staff.get(f"/uploads/{upload.uuid}/").json()["files"]
    assert [known[f"{number}.png"][0] for number in range(3)] == addresses
    assert len(asked) == 1


def test_a_complete_upload_is_imported_and_its_files_go(staff: Client, upload: Upload, dataset: Dataset) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("hand/z.png", png(drawn_pixels(3)))
    sent = {
        "all/chest/a.png": png(drawn_pixels(1)),
        "all/hand/b.png": png(drawn_pixels(2)),
        "more.zip": packed.getvalue(),
    }
    for path, content in sent.items():
        create(staff, upload, path=path, size=len(content), content=content)
    answer = staff.post(f"/uploads/{upload.uuid}/finish/")
    assert (answer.status_code, answer.json()["address"]) == (201, f"/datasets/{dataset.pk}/")
    assert staff.post(f"/uploads/{upload.uuid}/finish/").status_code == 201
    assert [work_on_import(job).status for job in ImportJob.objects.all()] == [JobStatus.DONE, JobStatus.DONE]
    assert sorted(MedicalImage.objects.values_list("label", flat=True)) == ["chest", "hand", "hand"]
    assert not UploadedFile.objects.exists()
    remove_old_uploads()
    assert not folder_of(upload).exists()
    assert Upload.objects.get().finished_at is not None


def test_files_of_an_import_with_trouble_wait(staff: Client, upload: Upload, settings: Settings) -> None:
    create(staff, upload, path="a.png", size=5, content=b"hello")
    staff.post(f"/uploads/{upload.uuid}/finish/")
    remove_old_uploads()
    assert folder_of(upload).exists()
    work_on_import(ImportJob.objects.get())
    remove_old_uploads()
    assert folder_of(upload).exists()
    settings.UPLOAD_DAYS = 0
    remove_old_uploads()
    assert not folder_of(upload).exists()


def test_an_upload_that_nobody_goes_on_with_is_removed(upload: Upload, staff: Client, settings: Settings) -> None:
    create(staff, upload, path="a.png", size=5)
    foreign = settings.UPLOAD_DIR / "lost+found"
    foreign.mkdir()
    remove_old_uploads()
    assert folder_of(upload).exists()
    Upload.objects.update(changed_at=upload.changed_at - timedelta(days=8))
    remove_old_uploads()
    assert not folder_of(upload).exists()
    assert not Upload.objects.exists()
    assert foreign.exists()


@pytest.mark.parametrize("received", [0, 3])
def test_an_incomplete_upload_is_not_imported(staff: Client, upload: Upload, received: int) -> None:
    create(staff, upload, path="a.png", size=5, content=b"hello"[:received])
    answer = staff.post(f"/uploads/{upload.uuid}/finish/")
    assert (answer.status_code, answer.content.decode()) == (400, uploading.INCOMPLETE)
    assert not ImportJob.objects.exists()


def test_a_file_that_broke_midway_is_given_up_and_the_others_are_imported(staff: Client, upload: Upload) -> None:
    for name in ("chest/a.png", "chest/b.png"):
        content = png(drawn_pixels(len(name)))
        create(staff, upload, path=name, size=len(content), content=content)
    partial = create(staff, upload, path="chest/large.png", size=10, content=b"01234")["Location"]
    lies_at = path_of(upload.files.get(path="chest/large.png"))
    assert staff.delete(partial).status_code == 204
    assert not lies_at.exists()
    assert staff.delete(partial).status_code == 404
    assert staff.post(f"/uploads/{upload.uuid}/finish/").status_code == 201
    assert work_on_import(ImportJob.objects.get()).total == 2


def test_a_file_that_was_half_given_up_is_no_fault(staff: Client, upload: Upload) -> None:
    """The process that removed it was killed before its row went."""
    address = create(staff, upload, path="large.png", size=10, content=b"01234")["Location"]
    path_of(upload.files.get()).unlink()
    assert send(staff, address, offset=5, content=b"56789").status_code == 404
    assert staff.delete(address).status_code == 204


def test_an_empty_upload_is_not_imported(staff: Client, upload: Upload) -> None:
    assert staff.post(f"/uploads/{upload.uuid}/finish/").status_code == 400


def test_an_upload_can_be_discarded_and_begun_anew(staff: Client, upload: Upload, dataset: Dataset) -> None:
    create(staff, upload, path="a.png", size=5)
    assert staff.post(f"/uploads/{upload.uuid}/discard/").status_code == 204
    assert not folder_of(upload).exists()
    assert open_upload(dataset=dataset, user=staff.user).pk != upload.pk  # type: ignore[attr-defined]


@pytest.mark.parametrize("header", ["", "-1", "five", "1" * 17])
def test_a_length_that_is_none_is_refused(staff: Client, upload: Upload, header: str) -> None:
    answer = staff.generic("POST", f"/uploads/{upload.uuid}/files/", headers={"Upload-Length": header})
    assert answer.status_code == 400


def test_large_bodies_are_for_pieces_only(staff: Client, upload: Upload) -> None:
    large = bytes(2**20 + 1)
    address = create(staff, upload, path="a.png", size=len(large))["Location"]
    assert send(staff, address, content=large, offset=0).status_code == 204
    form = {"file": io.BytesIO(large)}
    assert staff.post(f"/uploads/{upload.uuid}/finish/", form).status_code == 413


def test_options_tell_the_protocol(staff: Client, upload: Upload) -> None:
    answer = staff.options(f"/uploads/{upload.uuid}/files/")
    assert answer["Tus-Extension"] == "creation,creation-with-upload,termination"


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_piece_waits_for_the_one_before(staff: Client, upload: Upload) -> None:
    address = create(staff, upload, path="a.png", size=5)["Location"]
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1 FROM retrieval_uploadedfile FOR UPDATE")
            assert send(staff, address, content=b"hello", offset=0).status_code == 423
            assert staff.delete(address).status_code == 423
            cursor.execute("ROLLBACK")
    finally:
        other.close()
    assert send(staff, address, content=b"hello", offset=0).status_code == 204
