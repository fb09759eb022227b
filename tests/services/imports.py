"""What tests of imports write, count and look at."""

from pathlib import Path

from django.conf import settings

from retrieval.models import ImportJob
from retrieval.services.checking import check_archive


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def counts_of(job: ImportJob) -> tuple[int, int, int]:
    return job.accepted, job.duplicates, job.files.filter(status="refused").count()


def stored_files(kind: str) -> list[Path]:
    return [path for path in (Path(settings.MEDIA_ROOT) / kind).rglob("*") if path.is_file()]


def archive_is_whole() -> bool:
    found = check_archive()
    assert {name: found[name] for name in ("missing_files", "hash_mismatches", "orphan_files")} == {
        "missing_files": [],
        "hash_mismatches": [],
        "orphan_files": [],
    }
    return bool(found["ok"])
