"""Whether the archive is whole: every row has its files, every file its row, every content its hash."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from django.conf import settings
from django.core.files.storage import default_storage
from django.db.models import Min
from django.utils import timezone

from retrieval.models import DatasetDeletion, ImportJob, JobStatus, MedicalImage, ModelVersion, Query, StoredFile
from retrieval.services.jobs import job_models

# Who writes a file that nothing was added to for so long is gone.
QUIET = timedelta(minutes=1)


def check_archive() -> dict[str, object]:
    """Return what is wrong; `ok` is whether nothing is. Files are named by their generated names."""
    # First what is there, then what should be: a file that comes in between is no orphan.
    present = _present()
    hashed = [*StoredFile.objects.values_list("file", "stored_sha256"), *_weights()]
    expected = {name for name, _ in hashed} | set(_rendered())
    missing = sorted(name for name in expected if not default_storage.exists(name))
    mismatches = sorted(name for name, sha256 in hashed if name not in missing and _sha256(name) != sha256)
    orphans = sorted(present - expected - set(_of_queries()) - set(_leaving()))
    version = ModelVersion.objects.active()
    shown = MedicalImage.objects.shown()
    without = shown.without_embedding(version).count() if version else shown.count()
    stalled = sum(model.objects.stalled().count() for model in job_models())
    return {
        "ok": not (missing or mismatches or orphans or stalled),
        "images": MedicalImage.objects.count(),
        "missing_files": missing,
        "hash_mismatches": mismatches,
        "orphan_files": orphans,
        "without_embedding": without,
        "stalled_jobs": stalled,
    }


def _weights() -> Iterator[tuple[str, str]]:
    """Retired versions have none."""
    yield from ModelVersion.objects.exclude(weights="").values_list("weights", "weights_sha256")


def _rendered() -> Iterator[str]:
    for names in MedicalImage.objects.values_list("preview", "thumbnail").iterator():
        yield from names


def _of_queries() -> Iterator[str]:
    for names in Query.objects.values_list("preview", "upload").iterator():
        yield from names


def _leaving() -> Iterator[str]:
    """Files that a deletion removes next, or once it goes on."""
    for names in DatasetDeletion.objects.unfinished().values_list("leaving", flat=True):
        yield from names


def remove_orphans() -> list[str]:
    """Remove the files that no row knows, and return their names.

    Nobody is served by them: an import that was interrupted and never came to its end has left them.
    """
    names = cast(list[str], check_archive()["orphan_files"])
    for name in names:
        default_storage.delete(name)
    return names


def _present() -> set[str]:
    """The files of the archive, without those that are just being written: their rows come in a moment."""
    root, now = Path(settings.MEDIA_ROOT), timezone.now()
    settled = {False: _writing_since(now).timestamp(), True: (now - QUIET).timestamp()}
    names = set()
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        # Halves of files, whose names begin with a dot, what has just been asked, and versions whose row comes next.
        is_passing = path.name.startswith(".") or name.startswith(("queries/", "weights/"))
        with suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime < settled[is_passing]:
                names.add(name)
    return names


def _writing_since(now: datetime) -> datetime:
    """When the longest of the running imports began, or now."""
    running = ImportJob.objects.filter(status=JobStatus.RUNNING)
    return running.aggregate(earliest=Min("started_at"))["earliest"] or now


def _sha256(name: str) -> str:
    with default_storage.open(name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
