"""Folders: links, devices, unreadable and vanishing files cost themselves, and nothing else."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retrieval.imaging import ArchiveLimits, FileRefused, open_source
from tests.imaging.reading import all_of, fetched
from tests.imaging.zips import PNG

NO_FILE = "This is a link or a device, not a file: put the file itself there."
_NOBODY = 65534


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "chest").mkdir(parents=True)
    (folder / "chest" / "good.png").write_bytes(PNG)
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder


@contextmanager
def _without_privileges() -> Iterator[None]:
    """As a user whom permissions bind, where the tests run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_files_are_members_by_their_path(images: Path, work: Path) -> None:
    (images / "top.png").write_bytes(b"top")
    assert all_of(images, folder=work) == {"chest/good.png": PNG, "top.png": b"top"}


def test_links_to_files_and_folders_are_refused_by_name(images: Path, work: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "inside.png").write_bytes(b"secret")
    (images / "file.png").symlink_to(secret / "inside.png")
    (images / "folder").symlink_to(secret)
    (images / "broken.png").symlink_to(tmp_path / "nowhere")
    assert all_of(images, folder=work) == {
        "chest/good.png": PNG,
        "broken.png": NO_FILE,
        "file.png": NO_FILE,
        "folder": NO_FILE,
    }


@pytest.mark.parametrize("swapped", ["images", "images/chest", "images/chest/left"])
def test_a_folder_that_was_swapped_for_a_link_is_not_followed(
    images: Path, work: Path, tmp_path: Path, *, swapped: str
) -> None:
    left = images / "chest" / "left"
    left.mkdir()
    (left / "deep.png").write_bytes(PNG)
    with open_source(images) as source:
        (member,) = (member for member in source.members if member.name == "chest/left/deep.png")
        (tmp_path / swapped).rename(tmp_path / "was here")
        secret = tmp_path / "secret"
        inside = secret / left.relative_to(tmp_path / swapped)
        inside.mkdir(parents=True)
        (inside / "deep.png").write_bytes(bytes(len(PNG)))
        (tmp_path / swapped).symlink_to(secret)
        # What the source began with it holds on to.
        assert fetched(member, folder=work) == (PNG if swapped == "images" else NO_FILE)


def test_a_folder_that_disappears_costs_only_its_files(images: Path, work: Path) -> None:
    with open_source(images) as source:
        (images / "chest" / "good.png").unlink()
        (images / "chest").rmdir()
        assert fetched(source.members[0], folder=work) == "The file is no longer there."


def _handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_stays_open_of_a_folder(images: Path, work: Path, tmp_path: Path) -> None:
    before = _handles()
    all_of(images, folder=work)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileRefused):
        open_source(tmp_path / "empty")
    assert _handles() == before


def test_a_folder_that_links_to_itself_ends(images: Path, work: Path) -> None:
    (images / "again").symlink_to(images)
    assert all_of(images, folder=work) == {"chest/good.png": PNG, "again": NO_FILE}


def test_a_named_pipe_is_refused_and_not_waited_for(images: Path, work: Path) -> None:
    os.mkfifo(images / "pipe.png")
    assert all_of(images, folder=work)["pipe.png"] == NO_FILE


def test_a_file_that_disappears_costs_only_itself(images: Path, work: Path) -> None:
    (images / "going.png").write_bytes(PNG)
    with open_source(images) as source:
        (images / "going.png").unlink()
        fates = {member.name: fetched(member, folder=work) for member in source.members}
    assert fates == {"chest/good.png": PNG, "going.png": "The file is no longer there."}


@pytest.mark.parametrize("now", [PNG[:-1], PNG + b"more"])
def test_a_file_that_is_still_written_to_is_refused(images: Path, work: Path, *, now: bytes) -> None:
    with open_source(images) as source:
        (images / "chest" / "good.png").write_bytes(now)
        assert "has changed since the import began" in str(fetched(source.members[0], folder=work))


def test_what_was_fetched_stays_when_the_original_goes(images: Path, work: Path) -> None:
    with open_source(images) as source, source.members[0].fetch(work) as path:
        (images / "chest" / "good.png").write_bytes(b"other")
        assert path.read_bytes() == PNG


def test_what_may_not_be_read_is_refused_by_name(work: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "good.png").write_bytes(PNG)
        (folder / "closed.png").write_bytes(PNG)
        (folder / "closed").mkdir()
        (folder / "closed.png").chmod(0)
        (folder / "closed").chmod(0)
        out = folder / "out"
        out.mkdir(mode=0o777)
        out.chmod(0o777)
        with _without_privileges(), open_source(folder) as source:
            fates = {member.name: fetched(member, folder=out) for member in source.members}
        (folder / "closed").chmod(0o700)
    reason = "This cannot be read here: its permissions do not allow it."
    assert fates == {"good.png": PNG, "closed.png": reason, "closed": reason}


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_source_that_may_not_be_read_is_refused(*, kind: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        source = Path(name) / kind
        source.mkdir() if kind == "folder" else source.write_bytes(PNG)
        source.chmod(0)
        with _without_privileges(), pytest.raises(FileRefused) as refused:
            open_source(source)
        source.chmod(0o700)
    assert refused.value.reason == "The folder or file cannot be read here: check its permissions."


def test_names_that_are_no_text_are_read(images: Path, work: Path) -> None:
    Path(os.fsdecode(os.fsencode(images) + b"/\xff\xfe.png")).write_bytes(PNG)
    Path(os.fsdecode(os.fsencode(images) + b"/\xff\xfd.png")).write_bytes(PNG)
    assert sorted(all_of(images, folder=work)) == ["chest/good.png", "\ufffd\ufffd.png", "\ufffd\ufffd.png (2)"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="no files in it"):
        open_source(tmp_path)


def test_too_many_files_are_refused(images: Path) -> None:
    for number in range(5):
        (images / f"{number}.png").write_bytes(b"")
    with pytest.raises(FileRefused, match="more than 5 files"):
        open_source(images, limits=ArchiveLimits(members=5))


def test_a_manifest_that_is_a_link_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.csv").write_text("file,class\n")
    (images / "manifest.csv").symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(FileRefused, match=r"manifest.csv cannot be read. This is a link"):
        open_source(images)
