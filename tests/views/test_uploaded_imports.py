"""What becomes of an upload: imports that are named as the browser named it, and what is told of the rest."""

import io
import zipfile

import pytest
from django.test import Client

from retrieval.imaging.manifest import NOT_A_TABLE
from retrieval.models import Dataset, ImportJob, JobStatus, MedicalImage, Upload
from retrieval.services import uploading
from retrieval.services.importing import CORRECT_AND_UPLOAD
from retrieval.services.uploading import folder_of, open_upload
from tests.pictures import drawn_pixels, png
from tests.services.conftest import work_on_import
from tests.views.tus import create

pytestmark = pytest.mark.django_db


def _import(client: Client, upload: Upload, files: dict[str, bytes]) -> list[ImportJob]:
    """Send the files, finish the upload, and do the imports that come of it."""
    for path, content in files.items():
        assert create(client, upload, path=path, size=len(content), content=content).status_code == 201
    assert client.post(f"/uploads/{upload.uuid}/finish/").status_code == 201
    return [work_on_import(job) for job in upload.import_jobs.order_by("pk")]


def _zip(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, png(drawn_pixels(number)))
    return packed.getvalue()


def _page(client: Client, job: ImportJob) -> str:
    return " ".join(client.get(job.get_absolute_url()).content.decode().split())


def test_imports_are_named_as_the_browser_named_what_it_sent(staff: Client, upload: Upload) -> None:
    picture = png(drawn_pixels(1))
    jobs = _import(staff, upload, {"rar.zip": b"Rar!", "a/1.png": picture, "b/2.png": picture, "more/z.zip": b""})
    assert [(job.named, job.status) for job in jobs] == [
        ("more/z.zip", JobStatus.FAILED),
        ("rar.zip", JobStatus.FAILED),
        ("2 files", JobStatus.DONE),
    ]
    assert "The import of <bdi>rar.zip</bdi> failed." in _page(staff, jobs[1])
    assert str(folder_of(upload)) not in _page(staff, jobs[1])


@pytest.mark.parametrize(("sent", "name"), [(["study/a/1.png", "study/b/2.png"], "study"), (["1.png"], "1.png")])
def test_an_import_of_one_folder_or_file_has_its_name(
    staff: Client, upload: Upload, sent: list[str], name: str
) -> None:
    [job] = _import(staff, upload, dict.fromkeys(sent, png(drawn_pixels(1))))
    assert job.named == name


def test_a_bad_manifest_in_an_upload_is_corrected_and_sent_again(
    staff: Client, upload: Upload, dataset: Dataset
) -> None:
    files = {"chest/1.png": png(drawn_pixels(1)), "manifest.csv": b'file,class\n"chest/1.png,lung\n'}
    [job] = _import(staff, upload, files)
    assert (job.status, job.reason) == (JobStatus.FAILED, f"{NOT_A_TABLE} {CORRECT_AND_UPLOAD}")
    page = _page(staff, job)
    assert "where they lie" not in page
    assert f'href="/admin/retrieval/dataset/{dataset.pk}/upload/">Upload corrected files</a>' in page
    again = open_upload(dataset=dataset, user=staff.user)  # type: ignore[attr-defined]
    [job] = _import(staff, again, files | {"manifest.csv": b"file;class\r\nchest/1.png;lung\r\n"})
    assert (job.accepted, MedicalImage.objects.get().label) == (1, "lung")


def test_refused_files_of_an_upload_are_to_be_corrected_where_they_came_from(staff: Client, upload: Upload) -> None:
    [job] = _import(staff, upload, {"a/1.png": png(drawn_pixels(1)), "a/2.png": b"no image"})
    page = _page(staff, job)
    assert "where they lie" not in page
    assert "correct it where you have it, and upload it again" in page
    assert "Read the copy again" in page


def test_a_manifest_beside_an_archive_alone_is_no_import_and_said_to_be_ignored(staff: Client, upload: Upload) -> None:
    files = {
        "z.zip": _zip("a/1.png"),
        "manifest.csv": b"file,class\na/1.png,lung\n",
        ".DS_Store": b"x",
        "._z.zip": b"x",
    }
    [job] = _import(staff, upload, files)
    assert (job.named, job.status, job.accepted, MedicalImage.objects.get().label) == ("z.zip", "done", 1, "a")
    [note] = job.notes
    assert note.startswith(uploading.MANIFEST_BESIDE)
    assert note.endswith("an operating system leaves it behind: .DS_Store, ._z.zip.")
    assert "manifest.csv lies beside the archives and was not read" in _page(staff, job)
    assert b"manifest.csv lies beside" in b"".join(staff.get(f"{job.get_absolute_url()}report.csv"))


def test_a_manifest_beside_an_archive_and_files_is_of_the_files(staff: Client, upload: Upload) -> None:
    manifest = b"file,class\nb/2.png,lung\n"
    jobs = _import(staff, upload, {"z.zip": _zip("a/1.png"), "b/2.png": png(drawn_pixels(9)), "manifest.csv": manifest})
    assert [(job.named, job.notes) for job in jobs] == [("z.zip", []), ("2 files", [])]
    assert set(MedicalImage.objects.values_list("label", flat=True)) == {"a", "lung"}
