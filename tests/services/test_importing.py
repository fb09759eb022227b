"""Every file of an import ends as images, as a duplicate or as a rejection; nothing else is left, whatever happens."""

import hashlib
import io
import shutil
import zipfile
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from django.apps import apps
from django.utils import timezone
from PIL import Image
from redis import Redis

from retrieval.models import Dataset, ImportJob, IndexBatch, JobStatus, MedicalImage, ModelVersion, StoredFile
from retrieval.services import importing, jobs
from tests.pictures import drawn_pixels, png
from tests.services.conftest import ImportFolder, new_import_job, work_on_import
from tests.services.imports import archive_is_whole, counts_of, stored_files, write_files


def _pages(count: int) -> bytes:
    """A TIFF file of several pages."""
    first, *others = (Image.fromarray(drawn_pixels(number)) for number in range(count))
    out = io.BytesIO()
    first.save(out, "TIFF", save_all=True, append_images=others, compression="tiff_lzw")
    return out.getvalue()


def _broken_in_the_third_page() -> bytes:
    content = _pages(4)
    at = int(len(content) * 0.7)
    return content[:at] + b"\xff" * 200 + content[at + 200 :]


def test_a_folder_becomes_images(import_folder: ImportFolder, picture_folder: Path) -> None:
    job = import_folder(picture_folder)
    assert (job.status, job.done, job.total, *counts_of(job)) == (JobStatus.DONE, 6, 6, 6, 0, 0)
    assert dict(MedicalImage.objects.values_list("label").distinct().values_list("label", "dataset__name")) == {
        "chest": "one",
        "hand": "one",
    }
    image = MedicalImage.objects.get(
        original__sha256=hashlib.sha256((picture_folder / "hand/4.png").read_bytes()).hexdigest()
    )
    assert (image.label, image.width, image.height, image.frame_count) == ("hand", 320, 240, 1)
    with image.preview.open("rb") as preview:
        assert np.array_equal(np.asarray(Image.open(preview)), drawn_pixels(4))
    assert archive_is_whole()


def test_a_zip_archive_becomes_the_same_images(
    import_folder: ImportFolder, picture_folder: Path, tmp_path: Path
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "pictures"), "zip", picture_folder))
    assert counts_of(import_folder(archive)) == (6, 0, 0)
    assert counts_of(import_folder(picture_folder)) == (0, 6, 0)
    assert MedicalImage.objects.count() == 6
    assert archive_is_whole()


def test_a_second_import_adds_nothing(import_folder: ImportFolder, picture_folder: Path) -> None:
    import_folder(picture_folder)
    before = list(MedicalImage.objects.values())
    assert counts_of(import_folder(picture_folder)) == (0, 6, 0)
    assert list(MedicalImage.objects.values()) == before


def test_an_original_is_stored_once_for_all_datasets(import_folder: ImportFolder, picture_folder: Path) -> None:
    import_folder(picture_folder, dataset="one")
    assert counts_of(import_folder(picture_folder, dataset="two")) == (6, 0, 0)
    assert (MedicalImage.objects.count(), StoredFile.objects.count()) == (12, 6)
    assert (len(stored_files("originals")), len(stored_files("previews"))) == (6, 12)
    assert archive_is_whole()


def test_the_same_file_twice_in_an_import_is_one_image(import_folder: ImportFolder, tmp_path: Path) -> None:
    same = png(drawn_pixels(1))
    job = import_folder(write_files(tmp_path / "in", {"a/x.png": same, "b/y.png": same, "c/z.png": same}))
    assert counts_of(job) == (1, 2, 0)
    assert MedicalImage.objects.get().label == "a"
    assert archive_is_whole()


def test_the_same_pixels_in_another_file_are_another_image(import_folder: ImportFolder, tmp_path: Path) -> None:
    image = Image.fromarray(drawn_pixels(1))
    files = {}
    for level in (1, 9):
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=level)
        files[f"a/{level}.png"] = out.getvalue()
    assert counts_of(import_folder(write_files(tmp_path / "in", files))) == (2, 0, 0)
    assert MedicalImage.objects.values("pixel_sha256").distinct().count() == 1


def test_each_refused_file_is_listed_with_its_reason(import_folder: ImportFolder, tmp_path: Path) -> None:
    bad = b"no image at all"
    files = {"a/good.png": png(drawn_pixels(1)), "a/note.txt": bad, "b/note again.txt": bad, "a/empty.png": b""}
    job = import_folder(write_files(tmp_path / "in", files))
    assert counts_of(job) == (1, 0, 3)
    reasons = dict(job.files.filter(status="refused").values_list("name", "reason"))
    assert sorted(reasons) == ["a/empty.png", "a/note.txt", "b/note again.txt"]
    assert reasons["a/empty.png"] == "The file is empty."
    assert reasons["a/note.txt"] == reasons["b/note again.txt"] != ""
    assert archive_is_whole()


def test_many_files_are_little_more_work_for_the_database_than_one(
    import_folder: ImportFolder,
    tmp_path: Path,
    django_assert_max_num_queries: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Also where a machine is out of breath.
    monkeypatch.setattr(importing, "GROUP_SECONDS", 60)
    pictures = (png(drawn_pixels(number, width=64, height=48)) for number in range(3 * importing.GROUP_FILES))
    source = write_files(tmp_path / "in", {f"a/{number:03}.png": picture for number, picture in enumerate(pictures)})
    with django_assert_max_num_queries(5 * importing.GROUP_FILES):
        job = import_folder(source)
    assert counts_of(job) == (3 * importing.GROUP_FILES, 0, 0)
    assert archive_is_whole()


def _fates(job: ImportJob) -> dict[str, tuple[str, str]]:
    """{name: (what became of it, the label of the image that it points to)}."""
    rows = job.files.values_list("name", "status", "image__label")
    return {name: (status, label or "") for name, status, label in rows}


def test_the_fate_of_each_file_is_kept(import_folder: ImportFolder, tmp_path: Path) -> None:
    same = png(drawn_pixels(1))
    files = {"a/x.png": same, "b/y.png": same, "b/note.txt": b"no image", "c/pages.tif": _pages(3)}
    source = write_files(tmp_path / "in", files)
    first, second = import_folder(source), import_folder(source)
    assert _fates(first) == {
        "a/x.png": ("stored", "a"),
        "b/note.txt": ("refused", ""),
        "b/y.png": ("duplicate", "a"),
        "c/pages.tif": ("stored", "c"),
    }
    assert set(_fates(second).values()) == {("duplicate", "a"), ("duplicate", "c"), ("refused", "")}
    assert {file.image.frame_number for file in first.files.exclude(image=None)} == {1}
    assert (first.refused, second.refused) == (1, 1)


def test_a_cancelled_import_ends_at_once_and_keeps_what_was_imported(
    one_file_at_a_time: None, import_folder: ImportFolder, tmp_path: Path
) -> None:
    source = write_files(tmp_path / "in", {f"a/{number:02}.png": png(drawn_pixels(number)) for number in range(20)})

    def cancel(done: int, total: int | None) -> None:
        if done == 3:
            jobs.cancel(ImportJob.objects.get())

    job = import_folder(source, progress=cancel)
    assert (job.status, job.done, job.total, *counts_of(job)) == (JobStatus.CANCELLED, 4, 20, 4, 0, 0)
    assert MedicalImage.objects.count() == len(stored_files("originals")) == 4
    assert archive_is_whole()


def test_what_is_skipped_is_listed_and_part_of_no_count(import_folder: ImportFolder, tmp_path: Path) -> None:
    picture = png(drawn_pixels(1))
    files = {"a/1.png": picture, "a/.DS_Store": b"left", "__MACOSX/a/._1.png": b"left", ".study/2.png": picture}
    source = write_files(tmp_path / "in", files)
    job = import_folder(source)
    assert (job.done, job.total, job.refused, *counts_of(job)) == (2, 2, 0, 1, 1, 0)
    assert _fates(job) == {
        ".study/2.png": ("stored", ".study"),
        "a/1.png": ("duplicate", ".study"),
        "a/.DS_Store": ("skipped", ""),
        "__MACOSX/a/._1.png": ("skipped", ""),
    }


def test_an_import_says_how_fast_it_is_and_what_is_left() -> None:
    began = timezone.now() - timedelta(seconds=10)
    running = ImportJob(status=JobStatus.RUNNING, started_at=began, done=50, accepted=30, duplicates=15, total=200)
    assert running.refused == 5
    assert running.files_a_second == pytest.approx(5, rel=0.01)
    assert running.seconds_left == pytest.approx(30, rel=0.01)
    ended = ImportJob(
        status=JobStatus.DONE, started_at=began, finished_at=began + timedelta(seconds=4), done=8, total=8
    )
    assert (ended.files_a_second, ended.seconds_left) == (2, None)
    assert ImportJob().seconds_left is None


def test_an_import_is_done_again_over_the_same_source(
    import_folder: ImportFolder, tmp_path: Path, broker: Redis
) -> None:
    source = write_files(tmp_path / "in", {"a/good.png": png(drawn_pixels(1)), "a/bad.png": b"no image"})
    job = import_folder(source)
    write_files(source, {"a/bad.png": png(drawn_pixels(2))})
    again = importing.retry_import(job)
    assert importing.retry_import(job) == again != job
    again = work_on_import(again)
    assert counts_of(again) == (1, 1, 0)
    shutil.rmtree(source)
    with pytest.raises(importing.SourceGone, match=r"no longer on the server\. Upload it again"):
        importing.retry_import(again)


def test_names_that_look_alike_are_both_listed(import_folder: ImportFolder, tmp_path: Path) -> None:
    archive = tmp_path / "alike.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a/\x01.png", b"nothing")
        packed.writestr("a/\x02.png", b"neither")
    job = import_folder(archive)
    assert counts_of(job) == (0, 0, 2)


def test_all_frames_of_a_file_or_none(import_folder: ImportFolder, tmp_path: Path) -> None:
    files = {"a/good.tif": _pages(3), "b/bad.tif": _broken_in_the_third_page()}
    job = import_folder(write_files(tmp_path / "in", files))
    assert counts_of(job) == (1, 0, 1)
    assert list(MedicalImage.objects.order_by("frame_number").values_list("frame_number", "frame_count", "label")) == [
        (1, 3, "a"),
        (2, 3, "a"),
        (3, 3, "a"),
    ]
    assert archive_is_whole()


def test_a_manifest_says_what_the_folders_do_not(import_folder: ImportFolder, tmp_path: Path) -> None:
    manifest = b"file,class,modality,body_part,patient_group\nx.png,ct_head,CT,HEAD,Jane Doe\n"
    import_folder(write_files(tmp_path / "in", {"x.png": png(drawn_pixels(1)), "manifest.csv": manifest}))
    image = MedicalImage.objects.get()
    assert ImportJob.objects.get().notes == []
    assert (image.label, image.modality, image.body_part_examined) == ("ct_head", "CT", "HEAD")
    assert len(image.patient_key) == 64
    assert "Jane" not in image.patient_key


def test_a_modality_is_one_word_however_it_is_written(import_folder: ImportFolder, tmp_path: Path) -> None:
    words = ("ct", "CT", "X-Ray", "dx", "mri", "elastography")
    files = {f"{number}.png": png(drawn_pixels(number)) for number in range(len(words))}
    rows = "".join(f"{name},{word}\n" for name, word in zip(files, words, strict=True))
    manifest = f"file,modality\n{rows}".encode()
    import_folder(write_files(tmp_path / "in", files | {"manifest.csv": manifest}))
    stored = MedicalImage.objects.order_by("pk").values_list("modality", flat=True)
    expected = ["CT", "CT", "MRI", "X-ray", "X-ray", "elastography"]
    assert sorted(stored) == expected
    MedicalImage.objects.filter(modality="CT").update(modality="ct")
    import_module("retrieval.migrations.0013_modality_words").unify(apps, None)
    assert sorted(stored.all()) == expected


def test_what_a_manifest_does_not_do_is_told_and_fails_nothing(import_folder: ImportFolder, tmp_path: Path) -> None:
    manifest = b"file;class;Licence\nx.png;lung;CC0\nmissing.png;lung;CC0\n"
    job = import_folder(write_files(tmp_path / "in", {"x.png": png(drawn_pixels(1)), "manifest.csv": manifest}))
    assert (job.status, job.accepted, MedicalImage.objects.get().label) == (JobStatus.DONE, 1, "lung")
    assert job.notes == [
        "1 row of manifest.csv names no file that is here: missing.png.",
        "1 column of manifest.csv is not used: Licence.",
    ]


def test_an_import_is_named_after_its_source(picture_folder: Path, broker: Redis, db: None) -> None:
    dataset = Dataset.objects.create(name="one")
    job = importing.create_import_job(dataset=dataset, source=picture_folder / "chest")
    assert job.named == "chest"
    sent = work_on_import(importing.create_import_job(dataset=dataset, source=picture_folder, source_name="120 files"))
    assert importing.retry_import(sent).named == sent.named == "120 files"


def test_new_images_are_queued_for_indexing_with_the_end_of_the_import(
    active_version: ModelVersion,
    picture_folder: Path,
    broker: Redis,
    django_capture_on_commit_callbacks: Callable,
) -> None:
    job = jobs.claim(ImportJob, new_import_job(picture_folder).pk)
    assert job is not None
    with django_capture_on_commit_callbacks(execute=True):
        importing.import_dataset(job, index_afterwards=True)
    batch = IndexBatch.objects.get()
    assert (batch.total, batch.index_job.model_version) == (6, active_version)
    assert broker.llen("jobs") == 1


def test_an_import_job_is_queued_with_its_row(
    picture_folder: Path, broker: Redis, django_capture_on_commit_callbacks: Callable, db: None
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        importing.create_import_job(dataset=Dataset.objects.create(name="one"), source=picture_folder)
    assert broker.llen("jobs") == 1
