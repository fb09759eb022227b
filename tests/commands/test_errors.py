"""What is wrong around a command is said in words, as what is wrong in it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import Settings

from retrieval.management import base
from retrieval.models import Dataset, ImportJob, JobStatus, ModelVersion
from retrieval.services.hot_folder import ARCHIVE_UNUSABLE
from retrieval.services.searching import query_decoder
from tests.commands.conftest import Manage
from tests.pictures import drawn_pixels, png


@pytest.fixture
def no_archive(settings: Settings, media: Path) -> None:
    """Where the archive's files should lie there is a file: root cannot write there either."""
    media.write_text("no folder")


def test_a_database_without_tables_is_to_be_migrated(manage: Manage) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE retrieval_modelversion RENAME TO not_made_yet")
    assert manage("index") == (1, {"error": base.NOT_MIGRATED})


def test_a_database_without_a_column_is_to_be_migrated(manage: Manage) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE retrieval_modelversion RENAME COLUMN activated_at TO not_made_yet")
    assert manage("index") == (1, {"error": base.NOT_MIGRATED})


def test_a_decoder_that_does_not_start_is_said(
    manage: Manage, active_version: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "asked.png").write_bytes(png(drawn_pixels(4)))
    query_decoder().close()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    status, report = manage("search", tmp_path / "asked.png")
    assert (status, list(report)) == (1, ["error"])
    assert report["error"].startswith("The decoding process does not start")


def test_an_archive_that_cannot_be_written_is_said(no_archive: None, manage: Manage, picture_folder: Path) -> None:
    status, report = manage("import_dataset", picture_folder, "--name", "drawn")
    assert (status, list(report)) == (1, ["error"])
    assert report["error"].startswith("A file, a folder or a connection cannot be used: ")


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_an_archive_that_cannot_be_written_is_not_taken_for_the_watched_folder(
    no_archive: None, manage: Manage, picture_folder: Path, said: Callable[..., tuple[int, str]], media: Path
) -> None:
    words = ("watch", picture_folder, "--name", "inbox", "--settle", 0, "--once")
    assert manage(*words) == (1, {"error": ARCHIVE_UNUSABLE})
    assert ImportJob.objects.get().status == JobStatus.FAILED
    # What was dropped waits, and is imported once the archive can be used.
    media.unlink()
    assert manage(*words)[1]["accepted"] == 6
    assert Dataset.objects.get().images.count() == 6


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_watched_folder_that_cannot_be_used_is_said(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "done").write_text("no folder")
    status, report = manage("watch", tmp_path, "--name", "inbox", "--once")
    assert (status, report) == (1, {"error": "The folder cannot be used: File exists."})
