"""Whether the archive is whole: every row has its files, every file its row, every content its hash."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage

from retrieval.models import MedicalImage, ModelVersion, Query, StoredFile
from retrieval.services.jobs import job_models


def check_archive() -> dict[str, object]:
    """Return what is wrong; `ok` is whether nothing is. Files are named by their generated names."""
    hashed = [*StoredFile.objects.values_list("file", "sha256"), *_weights()]
    expected = {name for name, _ in hashed} | set(_rendered())
    missing = sorted(name for name in expected if not default_storage.exists(name))
    mismatches = sorted(name for name, sha256 in hashed if name not in missing and _sha256(name) != sha256)
    orphans = sorted(_present() - expected - set(_of_queries()))
    version = ModelVersion.objects.active()
    without = MedicalImage.objects.without_embedding(version).count() if version else MedicalImage.objects.count()
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
    yield from ModelVersion.objects.values_list("weights", "weights_sha256")


def _rendered() -> Iterator[str]:
    for names in MedicalImage.objects.values_list("preview", "thumbnail").iterator():
        yield from names


def _of_queries() -> Iterator[str]:
    for names in Query.objects.values_list("preview", "upload").iterator():
        yield from names


def _present() -> set[str]:
    """The files of the archive, without those that are just being written."""
    root = Path(settings.MEDIA_ROOT)
    paths = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(root).as_posix() for path in paths}


def _sha256(name: str) -> str:
    with default_storage.open(name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
