"""check_archive finds what is wrong, and nothing that is not."""

import os
import shutil
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from retrieval.models import ImportJob, MedicalImage, ModelVersion, StoredFile
from retrieval.services import checking, jobs
from retrieval.services.checking import check_archive, remove_orphans
from tests.services.conftest import ImportFolder, new_import_job, work_on_import


@pytest.fixture
def image(active_version: ModelVersion, import_folder: ImportFolder, picture_folder: Path) -> MedicalImage:
    """One of six images of a whole archive."""
    import_folder(picture_folder)
    image = MedicalImage.objects.first()
    assert image is not None
    return image


def _orphan(media: Path, name: str, *, seconds_old: float = 0) -> str:
    path = media / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"nobody's")
    then = time.time() - seconds_old
    os.utime(path, (then, then))
    return name


def test_a_whole_archive(image: MedicalImage) -> None:
    assert check_archive() == {
        "ok": True,
        "images": 6,
        "missing_files": [],
        "hash_mismatches": [],
        "orphan_files": [],
        "without_embedding": 6,
        "stalled_jobs": 0,
    }


@pytest.mark.parametrize("kind", ["preview", "thumbnail"])
def test_a_missing_rendering(image: MedicalImage, kind: str) -> None:
    file = getattr(image, kind)
    Path(file.path).unlink()
    found = check_archive()
    assert (found["ok"], found["missing_files"]) == (False, [file.name])


def test_a_missing_and_a_changed_original(image: MedicalImage) -> None:
    others = MedicalImage.objects.exclude(pk=image.pk).first()
    assert others is not None
    Path(image.original.file.path).unlink()
    Path(others.original.file.path).write_bytes(b"changed")
    found = check_archive()
    assert found["ok"] is False
    assert found["missing_files"] == [image.original.file.name]
    assert found["hash_mismatches"] == [others.original.file.name]


def test_changed_weights(active_version: ModelVersion) -> None:
    with Path(active_version.weights.path).open("ab") as file:
        file.write(b"x")
    found = check_archive()
    assert (found["ok"], found["hash_mismatches"]) == (False, [active_version.weights.name])


def test_orphans_are_found_and_removed_alone(image: MedicalImage, media: Path) -> None:
    names = sorted([_orphan(media, "originals/aa/orphan"), _orphan(media, "previews/aa/.half", seconds_old=3600)])
    before = {path for path in media.rglob("*") if path.is_file()}
    assert (check_archive()["ok"], check_archive()["orphan_files"]) == (False, names)
    assert remove_orphans() == names
    assert {path for path in media.rglob("*") if path.is_file()} == before - {media / name for name in names}
    assert check_archive()["ok"] is True


def test_a_database_of_other_files_removes_none(image: MedicalImage, media: Path) -> None:
    files = {path: path.read_bytes() for path in media.rglob("*") if path.is_file()}
    moved = media.rename(media.with_name("moved"))
    (media / "originals").mkdir(parents=True)
    _orphan(media, "originals/another")
    with pytest.raises(jobs.JobFailed, match="most files that this database names are not there"):
        remove_orphans()
    shutil.rmtree(media)
    moved.rename(media)
    ImportJob.objects.all().delete()
    MedicalImage.objects.all().delete()
    StoredFile.objects.all().delete()
    with pytest.raises(jobs.JobFailed, match="never seen an import"):
        remove_orphans()
    assert {path: path.read_bytes() for path in media.rglob("*") if path.is_file()} == files


def test_an_orphan_that_an_import_needs_again_is_kept(
    image: MedicalImage, media: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an interrupted import has left, and the same import once more while it is looked for."""
    MedicalImage.objects.all().delete()
    StoredFile.objects.all().delete()
    look = checking._orphans

    def look_and_import() -> list[str]:
        orphans = look()
        assert len(orphans) == 18
        work_on_import(new_import_job(picture_folder))
        return orphans

    with monkeypatch.context() as patch:
        patch.setattr(checking, "_orphans", look_and_import)
        assert remove_orphans() == []
    assert (MedicalImage.objects.count(), check_archive()["missing_files"]) == (6, [])


def test_what_is_deleted_while_files_are_read_is_not_missing(
    image: MedicalImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = checking._sha256

    def read_and_delete(name: str) -> str | None:
        for each in MedicalImage.objects.filter(pk=image.pk):
            Path(each.original.file.path).unlink()
            each.delete()
            each.original.delete()
        return read(name)

    monkeypatch.setattr(checking, "_sha256", read_and_delete)
    assert check_archive()["missing_files"] == []


def test_files_that_are_being_written_are_no_orphans(image: MedicalImage, media: Path, picture_folder: Path) -> None:
    before = _orphan(media, "originals/aa/before", seconds_old=10)
    assert jobs.claim(ImportJob, new_import_job(picture_folder).pk) is not None
    _orphan(media, "originals/aa/row-comes-soon")
    _orphan(media, "originals/aa/.half")
    _orphan(media, "queries/aa/just-asked")
    assert check_archive()["orphan_files"] == [before]


def test_a_stalled_job(image: MedicalImage, picture_folder: Path) -> None:
    job = new_import_job(picture_folder)
    assert jobs.claim(ImportJob, job.pk) is not None
    assert check_archive()["ok"] is True
    ImportJob.objects.filter(pk=job.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    found = check_archive()
    assert (found["ok"], found["stalled_jobs"]) == (False, 1)
