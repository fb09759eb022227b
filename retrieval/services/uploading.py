"""Files of any size that browsers send in pieces, kept until they are imported.

A piece counts once it is on the disk and its row says so: what was acknowledged is there, whatever dies. The files lie
below UPLOAD_DIR under the names they came with, since folders are labels, and go when the import is through.
"""

import errno
import os
import shutil
import uuid
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Protocol

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F, Q, Sum
from django.http import UnreadablePostError
from django.utils import timezone
from django.utils._os import safe_join

from retrieval.disk import sync_folder
from retrieval.imaging import MANIFEST, ArchiveLimits
from retrieval.imaging.names import examples, is_litter
from retrieval.models import Dataset, ImportedFile, ImportJob, JobStatus, Upload, UploadedFile
from retrieval.models.uploads import ACTIVE
from retrieval.services import space
from retrieval.services.importing import create_import_job

FILES, ARCHIVES = "files", "archives"
_PIECE = 2**20
_NAME_BYTES = 255
_LIMITS = ArchiveLimits()
_SOURCE_CHARACTERS = ImportJob._meta.get_field("source_path").max_length or 0
NO_PATH = "This file has a name that cannot be kept here: rename it, or put it into a zip."
TOO_LONG = "The folders that this file lies in have names too long to be kept: shorten them, or send the file alone."
TWICE = "Another file of this upload has the same name. Send it in an upload of its own."
FOLDER_AND_FILE = "A file and a folder of this upload have the same name. Send one of them in an upload of its own."
TOO_MANY = f"An upload has at most {_LIMITS.members:,} files: send them in parts, or as a zip."
IS_FINISHED = "This upload is finished: begin a new one."
BEING_DELETED = "This dataset is being deleted, and with it what was sent of this upload."
INCOMPLETE = "Not all files are here completely. Choose the same files again: only what is missing is sent."
MANIFEST_BESIDE = (
    f"{MANIFEST} lies beside the archives and was not read: a manifest describes an archive only from inside it. To "
    "have it read, pack it into the archive and upload that into a new dataset, since images keep the label that they "
    "were stored with."
)
EMPTY = "There are no files in this upload yet."


class UploadRefused(Exception):
    """What is sent cannot be taken; the message is a sentence for people."""


class UploadOver(UploadRefused):
    """Nothing more can be sent into this upload, whatever it is."""


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def folder_of(upload: Upload) -> Path:
    return settings.UPLOAD_DIR / str(upload.uuid)


def path_of(file: UploadedFile) -> Path:
    """Where it lies, which is below the upload's folder whatever its row says (else SuspiciousFileOperation)."""
    return Path(safe_join(folder_of(file.upload) / (ARCHIVES if _is_archive(file.path) else FILES), file.path))


def _is_archive(path: str) -> bool:
    return path.lower().endswith(".zip") and not is_litter(path)


def open_upload(*, dataset: Dataset, user: User) -> Upload:
    """The person's unfinished upload into the dataset, or a new one."""
    unfinished = Upload.objects.filter(dataset=dataset, created_by=user, finished_at=None).first()
    return unfinished or Upload.objects.create(dataset=dataset, created_by=user)


def refuse_over(upload: Upload) -> None:
    """Raises UploadOver for an upload that is finished, and for one into a dataset that is being deleted."""
    if upload.finished_at:
        raise UploadOver(IS_FINISHED)
    if upload.dataset.deletion:
        raise UploadOver(BEING_DELETED)


def add_file(upload: Upload, *, path: str, size: int) -> UploadedFile:
    """Make room for a file. Raises UploadRefused, OSError for a full disk, DoesNotExist for a deleted upload."""
    clean = _clean_path(path)
    with transaction.atomic():
        # One at a time, so that the limits hold.
        Upload.objects.select_for_update().get(pk=upload.pk)
        upload.refresh_from_db()
        refuse_over(upload)
        if upload.size + size > settings.UPLOAD_MAX_BYTES:
            raise UploadRefused(
                f"An upload has at most {settings.UPLOAD_MAX_BYTES / 2**30:,.0f} GB: send the rest in another one."
            )
        if upload.file_count >= _LIMITS.members:
            raise UploadRefused(TOO_MANY)
        _count(upload.pk, files=1, size=size)
        try:
            with transaction.atomic():
                file = UploadedFile.objects.create(upload=upload, path=clean, size=size)
        except IntegrityError as error:
            raise UploadRefused(TWICE) from error
        _make_room(file)
    return file


def _count(upload_pk: int, *, files: int, size: int) -> None:
    """What came or went; for the transaction in which it does."""
    Upload.objects.filter(pk=upload_pk).update(
        file_count=F("file_count") + files, size=F("size") + size, changed_at=timezone.now()
    )


def _clean_path(path: str) -> str:
    """The path as it may lie on this disk: relative, without steps upwards. Raises UploadRefused."""
    # Not PurePosixPath, which takes // at the beginning for a root of its own.
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    clean = "/".join(parts)
    sound = parts and ".." not in parts and clean.isprintable() and len(clean) <= 1000
    if not sound or any(len(part.encode("utf-8", "replace")) > _NAME_BYTES for part in parts):
        raise UploadRefused(NO_PATH)
    return clean


def _make_room(file: UploadedFile) -> None:
    path = path_of(file)
    # An archive becomes the source of an import; loose files share one, which is their folder.
    if _is_archive(file.path) and len(str(path.resolve())) > _SOURCE_CHARACTERS:
        raise UploadRefused(TOO_LONG)
    _refuse_full()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.is_file() and file.upload.files.exclude(pk=file.pk).filter(path__iexact=file.path).exists():
            # A disk that takes capitals and small letters for the same.
            raise UploadRefused(TWICE)
        # The row has the name for itself: a file that is here already was left when its row came to nothing.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600))
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise UploadRefused(FOLDER_AND_FILE) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise UploadRefused(TOO_LONG) from error


def _refuse_full() -> None:
    """Raises OSError where what was promised to all who are sending, and is not here yet, leaves less than the reserve.

    Whoever has stopped sending keeps nobody else from it. What is here already of their files is not looked for where
    there is space even for the whole of them: that reads the rows of all these files, and is done for each.
    """
    unfinished = Upload.objects.filter(finished_at=None, changed_at__gt=timezone.now() - ACTIVE)
    if sum(unfinished.values_list("size", flat=True)) <= space.spare_bytes(settings.UPLOAD_DIR):
        return
    promised = UploadedFile.objects.filter(upload__in=unfinished).aggregate(size=Sum(F("size") - F("received")))
    space.refuse_full(settings.UPLOAD_DIR, size=promised["size"])


def append(file: UploadedFile, *, stream: Stream) -> None:
    """Write what comes to the end of the file, and note how much of it is safe. For a row that is locked.

    A connection that breaks leaves what came before. Raises OSError for a disk that is full; that is noted too.
    """
    handle = os.open(path_of(file), os.O_WRONLY | os.O_NOFOLLOW)
    try:
        # What lies behind was never acknowledged.
        os.ftruncate(handle, file.received)
        os.lseek(handle, file.received, os.SEEK_SET)
        _copy(stream, handle=handle, most=file.size - file.received)
    except UnreadablePostError:
        pass
    finally:
        os.fsync(handle)
        file.received = os.fstat(handle).st_size
        os.close(handle)
        file.save(update_fields=["received"])
        Upload.objects.filter(pk=file.upload_id).update(changed_at=timezone.now())


def _copy(stream: Stream, *, handle: int, most: int) -> None:
    while most and (piece := stream.read(min(_PIECE, most))):
        # What was promised room once may have lost it to something else.
        space.refuse_full(settings.UPLOAD_DIR, size=len(piece))
        most -= len(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(handle, view) :]


def remove_file(file: UploadedFile) -> None:
    """Give up one file, so that the others can be imported without it. For a row that is locked."""
    # First what the import would find: were the row gone before it, nobody would remove it.
    path_of(file).unlink(missing_ok=True)
    file.delete()
    _count(file.upload_id, files=-1, size=-file.size)


def finish_upload(upload: Upload) -> list[ImportJob]:
    """Queue the imports of a complete upload: one for each archive, one for all other files. Raises UploadRefused.

    A second time it returns the same jobs.
    """
    with transaction.atomic():
        upload = Upload.objects.select_for_update().get(pk=upload.pk)
        if upload.finished_at:
            return list(upload.import_jobs.order_by("pk"))
        refuse_over(upload)
        paths = [(file.path, file.size == file.received) for file in upload.files.order_by("path")]
        if not paths:
            raise UploadRefused(EMPTY)
        if not all(complete for _, complete in paths):
            raise UploadRefused(INCOMPLETE)
        _sync_folders(folder_of(upload))
        queued = _queue_imports(upload, paths=[path for path, _ in paths])
        upload.files.all().delete()
        upload.finished_at = timezone.now()
        upload.save(update_fields=["finished_at", "note"])
    return queued


def _queue_imports(upload: Upload, *, paths: list[str]) -> list[ImportJob]:
    archives = [path for path in paths if _is_archive(path)]
    loose = [path for path in paths if not _is_archive(path)]
    folder = folder_of(upload)
    names = {folder / ARCHIVES / path: path for path in archives}
    if archives and not any(map(_is_content, loose)):
        upload.note = _note_of_ignored(loose)
    elif loose:
        names[folder / FILES] = _name_of(loose)
    return [
        create_import_job(dataset=upload.dataset, source=source, upload=upload, source_name=name)
        for source, name in names.items()
    ]


def _is_content(path: str) -> bool:
    return not is_litter(path) and not _is_manifest(path)


def _is_manifest(path: str) -> bool:
    return PurePosixPath(path).name.lower() == MANIFEST


def _note_of_ignored(paths: list[str]) -> str:
    litter = sorted(filter(is_litter, paths))
    notes = [MANIFEST_BESIDE] if len(litter) < len(paths) else []
    if litter:
        listed = examples(litter, count=len(litter))
        notes.append(f"Skipped beside the archives, since an operating system leaves it behind: {listed}.")
    return " ".join(notes)


def _name_of(paths: list[str]) -> str:
    """The folder that was chosen or the only file, or how many files there are."""
    tops = {PurePosixPath(path).parts[0] for path in paths}
    return tops.pop() if len(tops) == 1 else f"{len(paths):,} files"


def _sync_folders(folder: Path) -> None:
    """Make sure that the names are on the disk too; the contents are already."""
    for below, _, _ in os.walk(folder):
        sync_folder(Path(below))
    sync_folder(folder.parent)


def discard_upload(upload: Upload) -> None:
    """Delete an unfinished upload with its files. Raises UploadRefused for a finished one."""
    with transaction.atomic():
        upload = Upload.objects.select_for_update().get(pk=upload.pk)
        if upload.finished_at:
            raise UploadOver(IS_FINISHED)
        folder = folder_of(upload)
        upload.delete()
    shutil.rmtree(folder, ignore_errors=True)


def remove_old_uploads() -> None:
    """Remove the files of uploads that are imported, abandoned, or whose dataset was deleted."""
    if not settings.UPLOAD_DIR.exists():
        return
    long_ago = timezone.now() - timedelta(days=settings.UPLOAD_DAYS)
    for folder in settings.UPLOAD_DIR.iterdir():
        try:
            named = uuid.UUID(folder.name)
        except ValueError:
            continue  # not ours to remove
        upload = Upload.objects.filter(uuid=named).first()
        if upload is None or _is_over(upload, long_ago=long_ago):
            shutil.rmtree(folder, ignore_errors=True)
            Upload.objects.filter(uuid=named, finished_at=None).delete()


def _is_over(upload: Upload, *, long_ago: datetime) -> bool:
    """Whether nobody needs the files any more. Those of an import with trouble wait: somebody may try it again."""
    if upload.finished_at is None:
        return upload.changed_at < long_ago
    unfinished = Q(status__in=(JobStatus.QUEUED, JobStatus.RUNNING))
    if upload.import_jobs.filter(unfinished).exists():
        return False
    troubled = upload.import_jobs.filter(~Q(status=JobStatus.DONE) | Q(files__status=ImportedFile.Status.REFUSED))
    return upload.finished_at < long_ago or not troubled.exists()
