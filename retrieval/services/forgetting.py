"""The files of queries go when nobody needs them any more: they are patients' images.

Whoever works on a query deletes its upload. This is for what stays behind nevertheless: of a process that was killed
before it could, of a query that failed and was not tried again, of rows that are deleted with their person, also at the
moment at which a worker stores a picture for them.
"""

import time
from contextlib import suppress
from datetime import timedelta
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Q
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from retrieval.models import JobStatus, Query
from retrieval.models.jobs import UNFINISHED

# A file is written before its row is stored.
ON_ITS_WAY_SECONDS = 3600
# A half of one begins with a dot.
PICTURES = "*/[!.]*.png"
# A picture without a row is found within the hour after that. Where many older ones have none, the rows are missing:
# the site was started with another database, and is stopped again.
LOOKED_FOR_SECONDS = 24 * 3600


@receiver(post_delete, sender=Query)
def remove_files_with_row(instance: Query, **signal: object) -> None:  # noqa: ARG001
    """However the row goes: mostly with its person, whom an administrator deletes."""
    for name in filter(None, (instance.upload.name, instance.preview.name)):
        transaction.on_commit(partial(default_storage.delete, name))


@transaction.atomic
def delete_person(person: User) -> None:
    """With all that they asked. Deleted by itself, a person would have each search read with its vector."""
    person.queries.only("upload", "preview").delete()
    person.delete()


def remove_forgotten_uploads(folder: str) -> None:
    """Remove the files that have been in a folder of queries for an hour and that no query needs."""
    names = _old_files(folder)
    pictures = {name for name in names if fnmatch(name, PICTURES)}
    uploads = names - pictures
    unneeded = _young(pictures - _with_rows(pictures))
    # Most folders hold none, and no index leads from a name to its row.
    if uploads:
        unneeded |= uploads - _needed(uploads)
    for name in unneeded:
        default_storage.delete(name)


def _old_files(folder: str) -> set[str]:
    """With the halves of files whose writer was killed."""
    since = time.time() - ON_ITS_WAY_SECONDS
    names = set()
    with suppress(FileNotFoundError):
        for path in Path(default_storage.path(folder)).iterdir():
            # Its query may delete it at this moment.
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < since:
                    names.add(f"{folder}/{path.name}")
    return names


def _young(names: set[str]) -> set[str]:
    since = time.time() - LOOKED_FOR_SECONDS
    young = set()
    for name in names:
        with suppress(FileNotFoundError):
            if Path(default_storage.path(name)).stat().st_mtime > since:
                young.add(name)
    return young


def _with_rows(pictures: set[str]) -> set[str]:
    """Pictures stay for as long as their rows, whose identifiers they are named by."""
    by_uuid = {}
    for name in pictures:
        with suppress(ValueError):
            by_uuid[UUID(hex=Path(name).stem)] = name
    return {by_uuid[each] for each in Query.objects.filter(uuid__in=by_uuid).values_list("uuid", flat=True)}


def _needed(names: set[str]) -> set[str]:
    """By queries that wait, however long, and for some days by those that failed: they can be tried again."""
    long_ago = timezone.now() - timedelta(days=settings.UPLOAD_DAYS)
    can_be_tried_again = Q(status=JobStatus.FAILED, preview="", finished_at__gte=long_ago)
    rows = Query.objects.filter(upload__in=names)
    rows.exclude(Q(status__in=UNFINISHED) | can_be_tried_again).update(upload="")
    return set(rows.values_list("upload", flat=True))
