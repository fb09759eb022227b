"""The real malformed and hostile files, and the real DICOM files, through the administration's upload.

They arrive as a tus client sends them and are imported by the worker's own code; what people then read of it, on the
import's page and in its report, is held against the index of the files.
"""

import csv
import io
import time
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from retrieval.models import Dataset, ImportJob, JobStatus, MedicalImage
from retrieval.services import jobs
from retrieval.services.checking import check_archive
from retrieval.services.uploading import open_upload
from tests.bad_inputs import MEMORY, SECONDS, bad_inputs, complaint, index_of, is_readable, poor_sentence
from tests.imaging.children import decoders_of_this_process, peak_of_process
from tests.services.conftest import work_on_import
from tests.views.tus import create

pytestmark = [pytest.mark.real, pytest.mark.django_db]
STORED, REFUSED = {"stored", "duplicate"}, "refused"
LOOK_SECONDS = 0.1


def _import(
    client: Client, files: dict[str, Path], *, dataset: str, watch: jobs.Progress = jobs.silent
) -> list[ImportJob]:
    """Send the files into a new dataset, {path in the upload: file}, and work on the imports that come of it."""
    new = Dataset.objects.create(name=dataset)
    upload = open_upload(dataset=new, user=client.user)  # type: ignore[attr-defined]
    for path, file in files.items():
        content = file.read_bytes()
        created = create(client, upload, path=path, size=len(content), content=content)
        assert (created.status_code, created["Upload-Offset"]) == (201, str(len(content))), path
    assert client.post(f"/uploads/{upload.uuid}/finish/").status_code == 201
    return [work_on_import(job, progress=watch) for job in new.import_jobs.order_by("pk")]


class _Watch:
    """Called once a file is settled: none may take long or much memory, whatever is wrong with it."""

    def __init__(self) -> None:
        self.last: float | None = None
        self.looked = 0.0
        self.peak = 0

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        # Files that are settled together are reported at once, so that the first report may be of several.
        assert self.last is None or now - self.last < SECONDS, f"file {done} of {total}"
        # A look at all processes costs more than most files.
        if now - self.looked > LOOK_SECONDS:
            self.peak = max(self.peak, *map(peak_of_process, decoders_of_this_process()), 0)
            assert self.peak < MEMORY, f"file {done} of {total}"
            self.looked = now
        self.last = time.monotonic()


def _fates(client: Client, job: ImportJob) -> dict[str, tuple[str, str]]:
    """{name: (what became of the file, why)}, as the report says it; the pages of the import can be read."""
    for address in (job.get_absolute_url(), f"/admin/retrieval/importjob/{job.pk}/change/"):
        assert client.get(address).status_code == 200
    report = client.get(f"{job.get_absolute_url()}report.csv")
    rows = csv.reader(io.StringIO(b"".join(report.streaming_content).decode("utf-8-sig")))
    return {name: (status, reason) for name, status, reason, _ in [*rows][1:]}


def _is_tidy() -> bool:
    """Files and rows agree, and nothing but the uploads themselves is left where files pass through."""
    found = check_archive()
    left = [path.name for path in settings.WORK_DIR.iterdir() if path.name not in (".lock", "uploads")]
    return bool(found["ok"]) and left == []


def test_every_bad_file_is_stored_or_refused_by_name(real_data: Path, staff: Client) -> None:
    files = {file.name: file for file in bad_inputs(real_data) if not file.is_archive}
    watch = _Watch()
    [job] = _import(staff, {name: file.path for name, file in files.items()}, dataset="bad", watch=watch)
    assert watch.peak > 0
    assert (job.status, job.done) == (JobStatus.DONE, len(files))
    fates = _fates(staff, job)
    assert fates.keys() == files.keys()
    complaints = {
        name: complaint(
            files[name].expected, accepted=status in STORED, refusals=[reason] if status == REFUSED else [], seconds=0
        )
        for name, (status, reason) in fates.items()
    }
    assert {name: said for name, said in complaints.items() if said} == {}
    assert _is_tidy()


def test_what_is_good_in_an_archive_is_stored_and_all_else_named(real_data: Path, staff: Client) -> None:
    generated = real_data / "badinputs/generated"
    [mixed] = _import(staff, {"mixed.zip": generated / "zip_mixed_junk.zip"}, dataset="mixed")
    assert {name: status for name, (status, _) in _fates(staff, mixed).items()} == {
        "a.png": "stored",
        "broken.png": REFUSED,
        "readme.txt": REFUSED,
        ".DS_Store": "skipped",
        "Thumbs.db": "skipped",
        "__MACOSX/._a.png": "skipped",
    }
    [twice] = _import(staff, {"twice.zip": generated / "zip_duplicate_names.zip"}, dataset="twice")
    assert (twice.accepted, twice.duplicates, twice.refused) == (3, 1, 0)
    for name in ("zip_bomb_1GB", "zip_overlapping_200", "zip_lying_size", "zip_symlink"):
        _import(staff, {"hostile.zip": generated / f"{name}.zip"}, dataset=name)
    outside = MedicalImage.objects.exclude(dataset__name__in=("mixed", "twice"))
    assert set(outside.values_list("dataset__name", flat=True)) <= {"zip_symlink"}


def test_every_dicom_file_is_stored_or_refused_as_its_index_says(real_data: Path, staff: Client) -> None:
    rows = {row["file"]: row for row in index_of(real_data / "dicom")}
    [job] = _import(staff, {name: real_data / "dicom" / name for name in rows}, dataset="DICOM", watch=_Watch())
    fates = _fates(staff, job)
    assert fates.keys() == rows.keys()
    unlike = {name: fate for name, fate in fates.items() if is_readable(rows[name]) != (fate[0] in STORED)}
    assert unlike == {}
    assert [reason for status, reason in fates.values() if status == REFUSED and poor_sentence(reason)] == []
    for file in job.files.filter(status="stored").select_related("image"):
        assert file.image is not None
        frames = MedicalImage.objects.filter(original=file.image.original_id).count()
        assert frames == file.image.frame_count == int(rows[file.name]["frames"] or 1), file.name
    assert _is_tidy()


def test_a_worker_goes_on_after_the_worst_of_them(real_data: Path, staff: Client) -> None:
    """The decoder that a file ends takes no other file along."""
    worst = [file for file in bad_inputs(real_data) if file.expected == "clear error" and not file.is_archive]
    good = real_data / "badinputs/generated/exif_canary.jpg"
    files = {f"{number:03}": file.path for number, file in enumerate(worst)}
    [job] = _import(staff, {**files, "zzz.jpg": good}, dataset="worst")
    assert (job.status, job.attempts, job.accepted) == (JobStatus.DONE, 1, 1)
    assert jobs.sweep() == 0
