"""Cleaning originals that were stored as they came: before they were de-identified, or under another setting.

Of each file first the cleaned form is written, then one transaction points its row there, then the file as it came
goes. Killed anywhere, the next run writes the same form again, and finds what is left over by its name.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction

from retrieval.imaging import Decoder, FileRefused, StoredForm, in_order
from retrieval.models import StoredFile
from retrieval.services import jobs, naming
from retrieval.services.importing import DECODERS
from retrieval.services.storing import hold_files, remove_unneeded
from retrieval.storage import NO_SPACE

KEPT_BY_SETTING = (
    "This installation keeps originals as they are: set CBMIR_DEIDENTIFY_ORIGINALS to 1 first, or they would come in "
    "uncleaned again."
)
MISSING = "The file is missing, or cannot be read. `manage.py check_archive` tells more."
LOW_DISK = "The disk is full. What was cleaned so far is kept: free some space and start again."


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """An original and its cleaned form, which lies in the archive under `name`; or why there is none."""

    original: StoredFile
    form: StoredForm | None = None
    sha256: str = ""
    name: str = ""
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """already: how many originals were clean before. failed: those that are as they came, and why."""

    cleaned: int
    already: int
    failed: list[tuple[StoredFile, str]]


def deidentify_originals(*, progress: jobs.Progress = jobs.silent) -> Report:
    """Clean what is stored as it came; a second run does nothing. Raises JobFailed where it cannot go on."""
    if not settings.DEIDENTIFY_ORIGINALS:
        raise jobs.JobFailed(KEPT_BY_SETTING)
    _remove_left_over()
    waiting = StoredFile.objects.filter(is_deidentified=False).order_by("pk")
    total, already = waiting.count(), StoredFile.objects.filter(is_deidentified=True).count()
    cleaned, failed = 0, list[tuple[StoredFile, str]]()
    try:
        with closing(in_order(_clean_and_store, waiting.iterator(), workers=DECODERS)) as files:
            for done, file in enumerate(files, start=1):
                if file.refusal:
                    # A dataset that was deleted meanwhile took it along.
                    is_there = StoredFile.objects.filter(pk=file.original.pk).exists()
                    failed += [(file.original, file.refusal)] if is_there else []
                else:
                    cleaned += _replace(file)
                progress(done, total)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise jobs.JobFailed(LOW_DISK) from error
    return Report(cleaned=cleaned, already=already, failed=failed)


def _clean_and_store(decoder: Decoder, original: StoredFile) -> Cleaned:
    """In a thread: no database here, connections belong to threads."""
    if not default_storage.exists(str(original.file)):
        return Cleaned(original=original, refusal=MISSING)
    try:
        form = decoder.clean(Path(original.file.path), uid_key=naming.uid_key())
        sha256 = form.sha256()
        name = naming.original_name(original.sha256, stored_sha256=sha256)
        if name != original.file.name:
            default_storage.save(name, cast(File, form))
    except FileRefused as refused:
        return Cleaned(original=original, refusal=refused.reason)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        return Cleaned(original=original, refusal=MISSING)
    return Cleaned(original=original, form=form, sha256=sha256, name=name)


def _replace(cleaned: Cleaned) -> bool:
    """Point the row at the cleaned form, and then remove the file as it came; False when the row went meanwhile."""
    before = str(cleaned.original.file)
    with transaction.atomic():
        hold_files()
        row = StoredFile.objects.select_for_update().filter(pk=cleaned.original.pk, file=before).first()
        if row:
            _point_at(row, cleaned=cleaned)
    remove_unneeded([before] if row else [cleaned.name])
    return row is not None


def _point_at(row: StoredFile, *, cleaned: Cleaned) -> None:
    assert cleaned.form is not None  # noqa: S101 - refused otherwise
    # An import of the same content may have written it too, and removed it again.
    if not default_storage.exists(cleaned.name):
        default_storage.save(cleaned.name, cast(File, cleaned.form))
    row.file.name, row.stored_sha256, row.size = cleaned.name, cleaned.sha256, cleaned.form.size
    row.is_deidentified = True
    row.save(update_fields=["file", "stored_sha256", "size", "is_deidentified"])


def _remove_left_over() -> None:
    """Remove the files as they came of rows that point at a cleaned form already: a run before this was interrupted."""
    remove_unneeded([name for name in _names_as_they_came() if default_storage.exists(name)])


def _names_as_they_came() -> Iterator[str]:
    hashes = StoredFile.objects.filter(is_deidentified=True).values_list("sha256", flat=True)
    for sha256 in hashes.iterator():
        yield from naming.names_as_it_came(sha256)
