"""Whether the archive is whole: every row has its files, every file its row, every content its hash."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.db.models import Min
from django.utils import timezone

from retrieval.models import DatasetDeletion, ImportJob, JobStatus, MedicalImage, ModelVersion, Query, StoredFile
from retrieval.services.jobs import JobFailed, job_models
from retrieval.services.storing import remove_unneeded

# Who writes a file that nothing was added to for so long is gone.
QUIET = timedelta(minutes=1)
ANOTHER_DATABASE = (
    "Nothing was removed: most files that this database names are not there, so it seems to belong to other files. "
    "Look at DATABASE_URL and at the data folder first."
)
EMPTY_DATABASE = (
    "Nothing was removed: this database has never seen an import, so it seems to belong to other files. Look at "
    "DATABASE_URL and at the data folder first."
)


def check_archive() -> dict[str, object]:
    """Return what is wrong; `ok` is whether nothing is. Files are named by their generated names."""
    orphans = _orphans()
    hashed = [*_originals(), *_weights()]
    missing, mismatches = _unsound(hashed)
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


def _orphans() -> list[str]:
    # First what is there, then what should be: a file that comes in between is no orphan.
    present = _present()
    return sorted(present - _expected() - set(_of_queries()) - set(_leaving()))


def _unsound(hashed: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """The files that are missing, and those with another content. To read all of a large archive takes hours."""
    missing = {name for name in _expected() if not default_storage.exists(name)}
    mismatches = []
    for name, sha256 in hashed:
        found = None if name in missing else _sha256(name)
        if found is None:
            missing.add(name)
        elif found != sha256:
            mismatches.append(name)
    # What rows have let go of since, as a dataset that was deleted, may be gone.
    return sorted(missing & _expected() if missing else missing), sorted(mismatches)


def _expected() -> set[str]:
    return {name for name, _ in (*_originals(), *_weights())} | set(_rendered())


def _originals() -> Iterator[tuple[str, str]]:
    yield from StoredFile.objects.values_list("file", "stored_sha256").iterator()


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

    Nobody is served by them: an import that was interrupted and never came to its end has left them. One that goes on
    with it now may need them again, so that rows are looked at once more when nobody can add any. Raises JobFailed
    where the database is plainly not that of these files: all of them would be orphans.
    """
    _refuse_strangers()
    orphans = _orphans()
    others = {*_of_queries(), *(name for name, _ in _weights())}
    return sorted(remove_unneeded([name for name in orphans if name not in others]))


def _refuse_strangers() -> None:
    expected = _expected()
    there = sum(map(default_storage.exists, expected))
    if there < len(expected) / 2:
        raise JobFailed(ANOTHER_DATABASE)
    if not ImportJob.objects.exists():
        raise JobFailed(EMPTY_DATABASE)


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


def _sha256(name: str) -> str | None:
    """None where there is no such file any more."""
    try:
        with default_storage.open(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
