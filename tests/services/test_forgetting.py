"""Patients' files that nobody needs any more do not stay; those that somebody was promised an answer for do."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, TestCase
from django.utils import timezone
from pytest_django import Settings

from retrieval.imaging import FileRefused
from retrieval.models import JobStatus, ModelVersion, Query
from retrieval.services import jobs, naming
from retrieval.services.forgetting import remove_forgotten_uploads
from retrieval.services.searching import ask_again
from tests.pictures import drawn_pixels, png
from tests.services.conftest import Answer

Ask = Callable[[bytes], Query]


@pytest.fixture
def waiting(asked: Ask) -> Query:
    return asked(png(drawn_pixels(4)))


@pytest.fixture
def given_up(waiting: Query) -> Query:
    """A query whose workers were killed again and again, before they had its picture."""
    for _ in range(Query.max_attempts):
        assert jobs.claim(Query, waiting.pk) is not None
        Query.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        jobs.sweep()
    waiting.refresh_from_db()
    assert waiting.status == JobStatus.FAILED
    return waiting


def _files(media: Path) -> list[Path]:
    return [path for path in (media / "queries").rglob("*") if path.is_file()]


def _sweep_after(media: Path, *, hours: float) -> list[Path]:
    """All files are as old; what a round of the sweeper leaves."""
    then = time.time() - hours * 3600
    for path in _files(media):
        os.utime(path, (then, then))
    for folder in naming.query_folders():
        remove_forgotten_uploads(folder)
    return _files(media)


def test_a_question_that_is_tried_again_hands_its_file_on(
    given_up: Query, active_version: ModelVersion, answer: Answer, media: Path
) -> None:
    again = ask_again(given_up)
    given_up.refresh_from_db()
    assert (given_up.upload.name, again.status, again.user) == ("", JobStatus.QUEUED, given_up.user)
    assert _files(media) == [Path(again.upload.path)]
    assert answer(again).status == JobStatus.DONE
    assert [path.suffix for path in _files(media)] == [".png"]


def test_pressing_twice_asks_once(given_up: Query, active_version: ModelVersion, answer: Answer) -> None:
    again = ask_again(given_up)
    assert ask_again(given_up) == again
    answer(again)
    assert ask_again(given_up) == again
    assert Query.objects.count() == 2


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_two_who_press_at_the_same_moment_ask_once(given_up: Query) -> None:
    def press(_: int) -> int:
        try:
            return ask_again(given_up).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(press, range(4)))) == 1
    assert list(Query.objects.exclude(upload="").values_list("status", flat=True)) == [JobStatus.QUEUED]


def test_a_picture_stands_for_its_file_from_then_on(
    waiting: Query, active_version: ModelVersion, answer: Answer, media: Path
) -> None:
    """Also where the attempt does not come to its end."""
    Path(active_version.weights.path).unlink()
    query = answer(waiting)
    assert (query.status, query.upload.name) == (JobStatus.FAILED, "")
    assert _files(media) == [Path(query.preview.path)]


def test_a_question_that_waits_for_days_keeps_its_file(waiting: Query, media: Path) -> None:
    Query.objects.update(queued_at=timezone.now() - timedelta(days=30))
    assert _sweep_after(media, hours=720) == [Path(waiting.upload.path)]


def test_a_failed_question_can_be_tried_again_for_some_days(given_up: Query, media: Path, settings: Settings) -> None:
    assert _sweep_after(media, hours=100) == [Path(given_up.upload.path)]
    Query.objects.update(finished_at=timezone.now() - timedelta(days=settings.UPLOAD_DAYS, hours=1))
    assert _sweep_after(media, hours=200) == []
    given_up.refresh_from_db()
    assert given_up.upload.name == ""
    with pytest.raises(FileRefused, match="no longer there"):
        ask_again(given_up)


def test_a_file_that_was_handed_on_stays(given_up: Query, media: Path) -> None:
    again = ask_again(given_up)
    assert _sweep_after(media, hours=200) == [Path(again.upload.path)]


def test_what_killed_processes_left_goes_after_an_hour(
    waiting: Query, active_version: ModelVersion, answer: Answer, media: Path
) -> None:
    """Between the file and its row, in the middle of the file, and between the answer and the end of the file."""
    upload = Path(waiting.upload.path)
    query = answer(waiting)
    upload.touch()
    (upload.parent / ("0" * 32)).touch()
    (upload.parent / f".{'1' * 32}").touch()
    # Of a person who was deleted while it was written, and a half of one.
    (upload.parent / f"{upload.parent.name}{'2' * 30}.png").touch()
    (upload.parent / f".{query.uuid.hex}.png").touch()
    assert len(_sweep_after(media, hours=0.9)) == 6
    assert _sweep_after(media, hours=1.1) == [Path(query.preview.path)]


def test_pictures_stay_where_their_rows_are_in_another_database(
    waiting: Query, active_version: ModelVersion, answer: Answer, media: Path
) -> None:
    """A site that was started without its DATABASE_URL must not empty the folder of the right one."""
    query = answer(waiting)
    Query.objects.all().delete()
    assert _sweep_after(media, hours=30) == [Path(query.preview.path)]
    assert _sweep_after(media, hours=2) == []


def test_what_a_person_asked_with_goes_with_them(
    asked: Ask, active_version: ModelVersion, answer: Answer, media: Path, person: Callable[..., User]
) -> None:
    first, second = answer(asked(png(drawn_pixels(4)))), asked(png(drawn_pixels(5)))
    assert sorted(_files(media)) == sorted([Path(first.preview.path), Path(second.upload.path)])
    admin = Client()
    admin.force_login(User.objects.create_superuser("root"))
    with TestCase.captureOnCommitCallbacks(execute=True):
        admin.post(f"/admin/auth/user/{first.user.pk}/delete/", {"post": "yes"})
    assert not Query.objects.exists()
    assert _files(media) == []
