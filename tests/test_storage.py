"""What is left of processes that were killed, and of power cuts."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from pytest_django import Settings

from retrieval.storage import remove_abandoned_uploads


def test_an_upload_that_nobody_writes_any_more_is_removed(settings: Settings) -> None:
    given_up, being_sent = settings.WORK_DIR / "tmp1.upload.dcm", settings.WORK_DIR / "tmp2.upload.dcm"
    for upload in (given_up, being_sent):
        upload.write_bytes(b"an image of a patient")
    long_ago = time.time() - 2 * 3600
    os.utime(given_up, (long_ago, long_ago))
    remove_abandoned_uploads()
    assert not given_up.exists()
    assert being_sent.exists()


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_half_written_file_is_written_over(media: Path) -> None:
    (media / "previews").mkdir(parents=True)
    (media / "previews" / ".one.png").write_bytes(b"half of a longer file")
    default_storage.save("previews/one.png", ContentFile(b"whole"))
    assert _files(media) == ["previews/one.png"]
    assert (media / "previews" / "one.png").read_bytes() == b"whole"


def test_a_file_and_all_its_folders_are_synced_by_name(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut rows would name files that are not there."""
    synced: list[Path] = []

    def fsync(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())

    monkeypatch.setattr(os, "fsync", fsync)
    default_storage.save("previews/a/one.png", ContentFile(b"whole"))
    folder = media.resolve() / "previews" / "a"
    assert synced == [folder / ".one.png", folder, folder.parent, media.resolve()]


def test_many_write_the_same_file_at_once(media: Path) -> None:
    content = os.urandom(300_000)

    def write(_: int) -> None:
        default_storage.save("previews/one.png", ContentFile(content))
        assert (media / "previews" / "one.png").read_bytes() == content

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(64)))
    assert _files(media) == ["previews/one.png"]
