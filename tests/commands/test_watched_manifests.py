"""A manifest and all beside it are one batch of the hot folder, wherever watching is interrupted."""

import os
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from retrieval.imaging.manifest import NO_FILE_COLUMN
from retrieval.models import Dataset, MedicalImage
from retrieval.services import hot_folder
from retrieval.services.hot_folder import DROP_AGAIN, HotFolder
from tests.commands.conftest import Manage, files_below
from tests.pictures import drawn_pixels, png

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def test_a_manifest_that_cannot_be_read_says_what_to_do(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("name\na.png\n")
    (tmp_path / "a.png").write_bytes(png(drawn_pixels(1)))
    _, report = manage("watch", tmp_path, "--name", "inbox", "--settle", 0, "--once")
    assert {each["file"] for each in report["refused"]} == {"manifest.csv", "a.png"}
    assert {each["reason"] for each in report["refused"]} == {f"{NO_FILE_COLUMN} {DROP_AGAIN}"}
    assert not MedicalImage.objects.exists()


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """A folder with a manifest, and what it describes: two loose images and a folder with one."""
    folder = tmp_path / "described"
    (folder / "b").mkdir(parents=True)
    for number, path in enumerate(("a.png", "b/b.png", "c.png")):
        (folder / path).write_bytes(png(drawn_pixels(number)))
    (folder / "Manifest.CSV").write_text("file,class\na.png,foot\nb/b.png,hand\nc.png,knee\n")
    return folder


def _set_changed(path: Path, *, seconds_ago: float) -> None:
    """The future stands for what is still written: the time of a change of the inode can't be set back."""
    os.utime(path, (time.time() - seconds_ago,) * 2)


def _labels() -> list[str]:
    return sorted(MedicalImage.objects.values_list("label", flat=True))


def test_a_manifest_and_all_beside_it_are_one_batch(
    manage: Manage, described: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot_folder, "_MOST_LOOSE", 1)
    with zipfile.ZipFile(described / "sent.zip", "w") as archive:
        archive.writestr("chest/d.png", png(drawn_pixels(4)))
    _, report = manage("watch", described, "--name", "inbox", "--settle", 0, "--once")
    assert (report["batches"], report["accepted"], report["refused"]) == (2, 4, [])
    assert _labels() == ["chest", "foot", "hand", "knee"]
    assert len(list(described.glob("done/*/*/b.png"))) == 1


@pytest.mark.parametrize("late", ["Manifest.CSV", "c.png", "b/b.png", ".d.png.part"])
def test_a_manifest_waits_until_all_beside_it_is_complete(described: Path, late: str) -> None:
    hot = HotFolder(described, dataset=Dataset.objects.create(name="inbox"), settle_seconds=0, tell=print)
    (described / late).touch()
    _set_changed(described / late, seconds_ago=-3600)
    assert not list(hot.work())
    assert (described / "a.png").exists()
    _set_changed(described / late, seconds_ago=0)
    assert [outcome.accepted for outcome in hot.work()] == [3]
    assert _labels() == ["foot", "hand", "knee"]


def test_what_keeps_a_manifest_waiting_is_named_once(described: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    hot = HotFolder(described, dataset=Dataset.objects.create(name="inbox"), settle_seconds=0, tell=told.append)
    _set_changed(described / "c.png", seconds_ago=-3600)
    assert [*hot.work(), *hot.work(), *told] == []
    monkeypatch.setattr(hot_folder, "_PATIENCE_SECONDS", 0)
    assert [*hot.work(), *hot.work()] == []
    assert told == [hot_folder.STILL_WRITTEN.format(name="c.png")]


def test_a_manifest_alone_waits_for_its_files(described: Path, tmp_path: Path) -> None:
    told: list[str] = []
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    hot = HotFolder(inbox, dataset=Dataset.objects.create(name="inbox"), settle_seconds=0, tell=told.append)
    (described / "Manifest.CSV").rename(inbox / "Manifest.CSV")
    assert [*hot.work(), *hot.work()] == []
    assert told == [hot_folder.WAITS.format(name="Manifest.CSV")]
    (described / "a.png").rename(inbox / "a.png")
    assert [outcome.accepted for outcome in hot.work()] == [1]
    assert (_labels(), hot.staying) == (["foot"], set())


class Killed(BaseException):
    """Nothing is tidied up."""


@contextmanager
def _killed_before_move(number: int, *, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End before so many renames, whatever is renamed."""
    rename, moves = Path.rename, iter(range(number))

    def rename_or_die(path: Path, target: Path) -> Path:
        if next(moves, None) is None:
            raise Killed
        return rename(path, target)

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(Path, "rename", rename_or_die)
        yield


@pytest.mark.parametrize("number", range(6))
def test_a_manifest_is_imported_with_its_files_wherever_it_is_interrupted(
    described: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = HotFolder(described, dataset=Dataset.objects.create(name="inbox"), settle_seconds=0, tell=print)
    with _killed_before_move(number, monkeypatch=monkeypatch):
        list(hot.work())
    list(hot.work())
    assert _labels() == ["foot", "hand", "knee"]
    assert files_below(described) == {"done/a.png", "done/b/b.png", "done/c.png", "done/Manifest.CSV"}


@pytest.mark.parametrize("number", range(8))
def test_a_refused_batch_is_refused_as_a_whole_wherever_it_is_interrupted(
    described: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (described / "Manifest.CSV").write_text("name\na.png\n")
    hot = HotFolder(described, dataset=Dataset.objects.create(name="inbox"), settle_seconds=0, tell=print)
    with _killed_before_move(number, monkeypatch=monkeypatch):
        list(hot.work())
    list(hot.work())
    assert not MedicalImage.objects.exists()
    names = ("Manifest.CSV", "a.png", "b", "c.png")
    assert files_below(described) == {
        f"refused/{name}" for name in ("Manifest.CSV", "a.png", "b/b.png", "c.png", "reasons.txt")
    }
    [reasons] = described.glob("refused/*/reasons.txt")
    assert reasons.read_text() == "".join(f"{name}: {NO_FILE_COLUMN} {DROP_AGAIN}\n" for name in names)


@pytest.mark.parametrize("number", range(6))
def test_reasons_are_kept_wherever_their_files_are_interrupted(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chest").mkdir()
    for name in ("a.txt", "b.txt", "reasons.txt"):
        (tmp_path / "chest" / name).write_text(f"no image, {name}")
    hot = HotFolder(tmp_path, dataset=Dataset.objects.create(name="inbox"), settle_seconds=0, tell=print)
    with _killed_before_move(number, monkeypatch=monkeypatch):
        list(hot.work())
    list(hot.work())
    [reasons] = tmp_path.glob("refused/*/reasons.txt")
    assert [line.partition(":")[0] for line in reasons.read_text().splitlines()] == [
        *("chest/a.txt", "chest/b.txt", "chest/reasons.txt")
    ]
    assert len(list(tmp_path.glob("refused/*/chest/*.txt"))) == 3
