"""The hot folder: complete files are imported and moved, those still being written are left alone."""

import os
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retrieval.management.commands import watch
from retrieval.models import Dataset, ImportJob, JobStatus, MedicalImage
from retrieval.services import hot_folder, jobs
from retrieval.services.hot_folder import CANCELLED, HotFolder
from tests.commands.conftest import Manage, files_below
from tests.pictures import drawn_pixels, png
from tests.services.conftest import small_disk_at

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture
def dropped(tmp_path: Path) -> Path:
    """A folder with a loose image, a loose note, a folder named after a class, and a zip."""
    folder = tmp_path / "inbox"
    (folder / "chest").mkdir(parents=True)
    (folder / "loose.png").write_bytes(png(drawn_pixels(1)))
    (folder / "note.txt").write_text("no image")
    (folder / "chest" / "a.png").write_bytes(png(drawn_pixels(2)))
    (folder / "chest" / "broken.png").write_bytes(png(drawn_pixels(3))[:200])
    with zipfile.ZipFile(folder / "sent.zip", "w") as archive:
        archive.writestr("hand/b.png", png(drawn_pixels(4)))
        archive.writestr("hand/c.txt", "no image")
    return folder


def test_everything_complete_is_imported_and_moved(manage: Manage, dropped: Path) -> None:
    status, report = manage("watch", dropped, "--name", "inbox", "--settle", 0, "--once")
    assert status == 0
    assert (report["batches"], report["accepted"], report["duplicates"]) == (3, 3, 0)
    assert sorted(each["file"] for each in report["refused"]) == ["chest/broken.png", "hand/c.txt", "note.txt"]
    assert set(MedicalImage.objects.values_list("label", flat=True)) == {"", "chest", "hand"}
    assert files_below(dropped) == {
        *("done/loose.png", "done/chest/a.png", "done/sent.zip"),
        *("refused/note.txt", "refused/chest/broken.png", "refused/reasons.txt"),
    }
    reasons = "".join(path.read_text() for path in dropped.glob("refused/*/reasons.txt"))
    assert "chest/broken.png: The image is damaged or incomplete" in reasons
    assert manage("watch", dropped, "--name", "inbox", "--settle", 0, "--once")[1]["batches"] == 0


def test_the_same_files_again_add_nothing(manage: Manage, dropped: Path) -> None:
    content = (dropped / "loose.png").read_bytes()
    manage("watch", dropped, "--name", "inbox", "--settle", 0, "--once")
    (dropped / "again.png").write_bytes(content)
    _, report = manage("watch", dropped, "--name", "inbox", "--settle", 0, "--once")
    assert (report["accepted"], report["duplicates"]) == (0, 1)


def test_what_is_still_written_is_left_alone(manage: Manage, dropped: Path) -> None:
    (dropped / ".hidden.png").write_bytes(png(drawn_pixels(5)))
    status, report = manage("watch", dropped, "--name", "inbox", "--settle", 3600, "--once")
    assert (status, report["batches"]) == (0, 0)
    assert (dropped / "loose.png").exists()


def test_a_dropped_file_takes_no_reasons_away(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(drawn_pixels(1)))
    (tmp_path / "reasons.txt").write_text("mine")
    manage("watch", tmp_path, "--name", "inbox", "--settle", 0, "--once")
    assert next(tmp_path.glob("done/*/reasons.txt")).read_text() == "mine"
    assert next(tmp_path.glob("refused/*/reasons.txt")).read_text().startswith("reasons.txt: ")


def test_names_that_lead_out_of_an_archive_move_nothing(manage: Manage, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sent.zip", "w") as archive:
        archive.writestr("a.png", png(drawn_pixels(1)))
        archive.writestr("..", b"x")
    _, report = manage("watch", tmp_path, "--name", "inbox", "--settle", 0, "--once")
    assert (report["accepted"], len(report["refused"])) == (1, 1)
    assert files_below(tmp_path) == {"done/sent.zip", "refused/reasons.txt"}
    assert "could not be moved" not in next(tmp_path.glob("refused/*/reasons.txt")).read_text()


def test_an_archive_that_cannot_be_read_is_refused_as_a_whole(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and nothing more")
    _, report = manage("watch", tmp_path, "--name", "inbox", "--settle", 0, "--once")
    [refused] = report["refused"]
    assert refused["file"] == "broken.zip"
    assert files_below(tmp_path) == {"refused/broken.zip", "refused/reasons.txt"}
    assert not ImportJob.objects.exists()


def test_links_are_not_followed(manage: Manage, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(drawn_pixels(6)))
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "link.png").symlink_to(secret)
    (folder / "folder").symlink_to(tmp_path)
    _, report = manage("watch", folder, "--name", "inbox", "--settle", 0, "--once")
    assert {each["file"] for each in report["refused"]} == {"link.png", "folder"}
    assert not MedicalImage.objects.exists()
    assert secret.exists()


@pytest.fixture
def hot(dropped: Path) -> HotFolder:
    return HotFolder(dropped, dataset=Dataset.objects.create(name="inbox"), settle_seconds=0, tell=print)


def test_an_interrupted_batch_is_gone_on_with(hot: HotFolder) -> None:
    class Interruption(Exception):
        pass

    def interrupt(done: int, total: int | None) -> None:
        raise Interruption

    with pytest.raises(Interruption):
        list(hot.work(progress=interrupt))
    [job] = ImportJob.objects.all()
    assert job.status == JobStatus.RUNNING
    # Its lease still runs: whoever holds it may be alive, and the other batches need not wait for it.
    assert len(list(hot.work())) == 2
    ImportJob.objects.update(lease_expires_at=job.started_at)
    jobs.sweep()
    assert len(list(hot.work())) == 1
    assert (MedicalImage.objects.count(), ImportJob.objects.count()) == (3, 3)
    assert not list((hot.root / "importing").iterdir())


def test_a_cancelled_batch_is_put_aside(hot: HotFolder) -> None:
    list(hot.work())
    (hot.root / "late.png").write_bytes(png(drawn_pixels(7)))
    hot._take_settled()
    [batch] = (hot.root / "importing").iterdir()
    ImportJob.objects.create(dataset=hot.dataset, source_path=str(batch), status=JobStatus.CANCELLED)
    [outcome] = hot.work()
    assert outcome.refused == {"late.png": CANCELLED}
    assert (hot.root / "refused" / batch.name / "late.png").exists()


def test_a_failure_that_may_pass_keeps_the_batch(hot: HotFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    (hot.root / "importing" / "1").mkdir()
    (hot.root / "importing" / "1" / "a.png").write_bytes(png(drawn_pixels(8)))

    def full(*_: object, **__: object) -> None:
        raise jobs.JobFailed("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(hot_folder, "import_dataset", full)
        with pytest.raises(jobs.JobFailed, match="disk is full"):
            list(hot.work())
    assert len(list(hot.work())) == 4
    assert MedicalImage.objects.count() == 4


def test_a_folder_is_complete_once_everything_in_it_is(hot: HotFolder, dropped: Path) -> None:
    hot.settle_seconds = 60
    old = time.time() - 3600
    for path in dropped.rglob("*"):
        os.utime(path, (old, old))
    # The time of a change of the inode can't be set back: all were made a moment ago.
    assert list(hot.work()) == []
    assert (dropped / "chest" / "a.png").exists()


@contextmanager
def _fixed(folder: Path) -> Iterator[None]:
    """Nobody moves the folder elsewhere: a mount for root, whom no mode stops, else its mode."""
    if os.geteuid():
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
    else:
        with small_disk_at(folder):
            yield


def test_a_folder_that_cannot_be_moved_stays_and_stops_nothing_else(dropped: Path) -> None:
    told: list[str] = []
    dataset = Dataset.objects.create(name="inbox")
    hot = HotFolder(dropped, dataset=dataset, settle_seconds=0, tell=told.append)
    fixed = dropped / "another's"
    fixed.mkdir()
    with _fixed(fixed):
        assert len(list(hot.work())) == 3
        (dropped / "late.png").write_bytes(png(drawn_pixels(7)))
        assert [outcome.accepted for outcome in hot.work()] == [1]
        assert fixed.exists()
        [sentence] = told
        assert sentence.startswith("another's stays where it is and is not imported, since it cannot be moved: ")
    assert MedicalImage.objects.count() == 4
    list(hot.work())
    assert not fixed.exists()
    assert not hot.staying
    assert not list((dropped / "importing").iterdir())


def test_a_command_names_what_stays(manage: Manage, dropped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dropped / "fixed").mkdir()
    with _fixed(dropped / "fixed"):
        status, report = manage("watch", dropped, "--name", "inbox", "--settle", 0, "--once")
    assert (status, report["staying"], report["accepted"]) == (0, ["fixed"], 3)
    assert capsys.readouterr().err.count("fixed stays where it is") == 1


def test_a_refused_file_that_cannot_be_moved_by_itself_goes_with_the_rest(hot: HotFolder) -> None:
    hot._take_settled()
    [batch] = (batch for batch in (hot.root / "importing").iterdir() if (batch / "chest").exists())
    (hot.root / "refused" / batch.name / "chest" / "broken.png").mkdir(parents=True)
    assert len(list(hot.work())) == 3
    assert (hot.root / "done" / batch.name / "chest" / "broken.png").is_file()
    reasons = (hot.root / "refused" / batch.name / "reasons.txt").read_text()
    assert reasons.endswith(f" It could not be moved here and is in `done/{batch.name}`.\n")
    assert not list((hot.root / "importing").iterdir())


def test_a_dataset_that_is_deleted_ends_it_and_is_not_made_anew(
    manage: Manage, dropped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor starts the command again, and images that were to be looked at first would be shown."""
    words = ("watch", dropped, "--name", "inbox", "--settle", 0, "--once")
    take = HotFolder._take_settled

    def delete_then_take(hot: HotFolder) -> None:
        Dataset.objects.all().delete()
        take(hot)

    with monkeypatch.context() as patch:
        patch.setattr(HotFolder, "_take_settled", delete_then_take)
        status, report = manage(*words)
    assert (status, report["error"]) == (1, hot_folder.GONE)
    status, report = manage(*words)
    assert (status, report["error"]) == (1, watch.NO_SUCH_DATASET)
    assert not Dataset.objects.exists()
    assert manage(*words, "--create")[1]["accepted"] == 3
