"""Zip archives: honest ones are read, the others refused, as a whole or member by member."""

import errno
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from retrieval.imaging import ArchiveLimits, Decoder, FileRefused, open_source
from tests.imaging.reading import all_of
from tests.imaging.zips import (
    PNG,
    claiming_compression,
    claiming_size,
    encrypted,
    hidden_bomb,
    link,
    nested,
    with_claimed_directory,
    with_wrong_checksum,
    zipped,
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive.zip"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "folder"


def _refused(path: Path, limits: ArchiveLimits | None = None) -> str:
    with pytest.raises(FileRefused) as refused, open_source(path, limits=limits):
        pass
    return refused.value.reason


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_come_in_the_order_of_their_names(archive: Path, folder: Path, *, how: int) -> None:
    zipped(archive, ("hand/2.png", b"two"), ("chest/", b""), ("chest/1.png", PNG), how=how)
    assert list(all_of(archive, folder=folder).items()) == [("chest/1.png", PNG), ("hand/2.png", b"two")]


@pytest.mark.parametrize(
    "name",
    ["../up.png", "a/../../up.png", "/etc/passwd", "..\\..\\up.png", "C:\\up.png", "\\\\server\\share\\up.png"],
)
def test_names_that_lead_out_are_refused_and_listed(archive: Path, folder: Path, *, name: str) -> None:
    zipped(archive, (name, PNG), ("good.png", PNG))
    result = all_of(archive, folder=folder)
    assert result.pop("good.png") == PNG
    assert list(result.values()) == ["This file's name leads out of the archive."]
    assert not list(folder.parent.glob("up.png"))


def test_a_nul_in_a_name_is_refused(archive: Path, folder: Path) -> None:
    zipped(archive, ("scan.png?.exe", PNG))
    archive.write_bytes(archive.read_bytes().replace(b"scan.png?.exe", b"scan.png\0.exe"))
    assert all_of(archive, folder=folder) == {"scan.png": "This file's name leads out of the archive."}


def test_links_are_refused(archive: Path, folder: Path) -> None:
    zipped(archive, link("secret.png", target="/etc/passwd"), ("good.png", PNG))
    assert all_of(archive, folder=folder) == {
        "good.png": PNG,
        "secret.png": "This is a link or a device, not a file: pack the file itself.",
    }


def test_encrypted_members_are_refused(archive: Path, folder: Path) -> None:
    encrypted(zipped(archive, ("a.png", PNG)))
    assert "encrypted" in str(all_of(archive, folder=folder)["a.png"])


def test_unusual_compression_is_refused(archive: Path, folder: Path) -> None:
    claiming_compression(zipped(archive, ("a.png", PNG)), method=98)
    assert "packed in an unusual way" in str(all_of(archive, folder=folder)["a.png"])


def test_compression_that_is_unpacked_without_bound_is_refused_unread(archive: Path, folder: Path) -> None:
    """Claiming 1,000 bytes with their true checksum, such a member is unpacked whole and then cut to what it claims."""
    bomb = hidden_bomb(archive, name="a.png")
    in_manifest = hidden_bomb(folder.parent / "manifest.zip", name="manifest.csv")
    tracemalloc.start()
    try:
        assert "packed in an unusual way" in str(all_of(bomb, folder=folder)["a.png"])
        assert "manifest.csv cannot be read. This file is packed in an unusual way" in _refused(in_manifest)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [10, len(PNG) + 10])
def test_lying_sizes_are_refused(archive: Path, folder: Path, *, size: int) -> None:
    claiming_size(zipped(archive, ("a.png", PNG)), size=size)
    assert all_of(archive, folder=folder)["a.png"] in (
        "The archive lies about the size of this file: pack the archive again.",
        "The file is damaged inside the archive: pack the archive again.",
    )


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_members_are_refused_and_the_others_read(archive: Path, folder: Path, *, how: int) -> None:
    zipped(archive, ("a.png", PNG), ("b.png", PNG), how=how)
    content = bytearray(archive.read_bytes())
    content[45:60] = bytes(15)  # inside of the first member's data
    archive.write_bytes(content)
    assert all_of(archive, folder=folder) == {
        "a.png": "The file is damaged inside the archive: pack the archive again.",
        "b.png": PNG,
    }


def test_a_wrong_checksum_is_refused(archive: Path, folder: Path) -> None:
    with_wrong_checksum(zipped(archive, ("a.png", PNG)))
    assert "damaged inside the archive" in str(all_of(archive, folder=folder)["a.png"])


def test_a_bomb_is_refused_before_it_is_unpacked(archive: Path) -> None:
    zipped(archive, ("a.png", bytes(2_000_000)))
    assert "archives made to do harm" in _refused(archive, ArchiveLimits(ratio_from_bytes=1_000_000))
    assert "unpacks to more than" in _refused(archive, ArchiveLimits(total_bytes=1_000_000))


def test_a_large_member_is_refused(archive: Path, folder: Path) -> None:
    zipped(archive, ("a.png", bytes(2_000_000)), ("b.png", PNG))
    result = all_of(archive, folder=folder, limits=ArchiveLimits(member_bytes=1024**2))
    assert result == {"a.png": "The file is larger than 1 MB, the most that is read.", "b.png": PNG}


def test_archives_in_archives_are_not_unpacked(archive: Path, folder: Path, decoder: Decoder) -> None:
    zipped(archive, ("inner.zip", nested(depth=3)))
    folder.mkdir()
    with open_source(archive) as source, source.members[0].fetch(folder) as path, pytest.raises(FileRefused) as refused:
        list(decoder.render(path))
    assert "ZIP archive; archives can be imported as a dataset, but not inside one another" in refused.value.reason


def test_too_many_members_are_refused(archive: Path) -> None:
    zipped(archive, *((f"{number}.png", b"x") for number in range(12)))
    reason = "There are more than 10 files: import them in parts."
    assert _refused(archive, ArchiveLimits(members=10)) == reason
    assert _refused(archive, ArchiveLimits(members=5)) == reason.replace("10", "5")
    assert len(all_of(archive, folder=archive.parent / "work", limits=ArchiveLimits(members=12))) == 12


def test_a_huge_table_of_contents_is_refused_before_it_is_read(archive: Path) -> None:
    zipped(archive, *((f"{number}.png", b"") for number in range(12)))
    assert "table of contents is too large" in _refused(archive, ArchiveLimits(directory_bytes=100))
    with_claimed_directory(archive, size=2**32 - 2)
    assert "table of contents is too large" in _refused(archive)


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_cut_archive_is_called_damaged(archive: Path, *, kept: float) -> None:
    content = zipped(archive, ("a.png", PNG), ("b.png", PNG)).read_bytes()
    archive.write_bytes(content[: int(len(content) * kept)])
    assert _refused(archive) == "The zip archive is damaged or incomplete: pack it again."


def test_what_is_no_archive_is_refused(archive: Path) -> None:
    assert _refused(archive) == "There is no such folder or file."
    archive.write_bytes(PNG)
    assert _refused(archive) == "This is neither a folder nor a zip archive."
    archive.write_bytes(b"Rar!\x1a\x07\x01\x00")
    assert _refused(archive) == "This is a RAR archive, and only zip archives are read: unpack it and pack it as a zip."


@pytest.mark.parametrize("entries", [(), (("a/", b""),), ((".DS_Store", b"x"),), (("manifest.csv", b"file,class\n"),)])
def test_an_archive_without_files_is_refused(archive: Path, *, entries: tuple[tuple[str, bytes], ...]) -> None:
    zipped(archive, *entries)
    assert _refused(archive) == "There are no files in it that could be imported."


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_nothing_but_empty_files_is_refused_at_once(archive: Path, folder: Path) -> None:
    zipped(archive, ("a.png", b""), ("b.png", b""))
    assert _refused(archive) == "Every file in it is empty: copy or pack the files again."
    zipped(archive, ("a.png", b""), ("b.png", PNG))
    assert all_of(archive, folder=folder) == {"a.png": b"", "b.png": PNG}


def test_equal_names_are_all_read_and_told_apart(archive: Path, folder: Path) -> None:
    zipped(archive, ("x/a.png", b"1"), ("x/a.png", b"2"), ("x/A.png", b"3"), ("x/./a.png", b"4"), ("x/a.png (2)", b"5"))
    result = all_of(archive, folder=folder)
    assert sorted(result.values()) == [b"1", b"2", b"3", b"4", b"5"]
    assert {"x/a.png", "x/A.png", "x/a.png (2)", "x/a.png (3)"} < set(result)


def test_folders_may_be_separated_by_backslashes(archive: Path) -> None:
    zipped(archive, ("chest\\1.png", PNG), ("chest\\", b""))
    with open_source(archive) as source:
        assert [(member.name, member.described.label) for member in source.members] == [("chest/1.png", "chest")]


def test_hostile_names_become_printable_and_stay_apart(archive: Path, folder: Path) -> None:
    zipped(archive, ("a\x1b[31m.png", b"1"), ("a\u202e[31m.png", b"2"), ("a\x07[31m.png", b"3"), ("long" * 5000, b"4"))
    names = list(all_of(archive, folder=folder))
    assert all(name.isprintable() and len(name) < 450 for name in names)
    assert len(names) == 4


def test_labels_are_printable(archive: Path) -> None:
    zipped(archive, ("che\u202est\x07/1.png", PNG))
    with open_source(archive) as source:
        assert source.members[0].described.label == "che\ufffdst\ufffd"


def test_litter_is_no_member_but_listed(archive: Path, folder: Path) -> None:
    litter = ("__MACOSX/a.png", "x/._a.png", ".DS_Store", "x/thumbs.db", "Desktop.ini", "$RECYCLE.BIN/a.png", "._z.zip")
    zipped(archive, ("a.png", PNG), *((name, b"x") for name in litter))
    assert list(all_of(archive, folder=folder)) == ["a.png"]
    with open_source(archive) as source:
        assert sorted(source.skipped) == sorted(litter)


def test_what_is_hidden_is_a_member_like_others(archive: Path, folder: Path) -> None:
    names = (".hidden.png", ".study/1.png", "x/.3.png")
    zipped(archive, *((name, PNG) for name in names))
    assert tuple(all_of(archive, folder=folder)) == names
    with open_source(archive) as source:
        assert source.skipped == []
        assert [member.described.label for member in source.members] == ["", ".study", "x"]


def test_a_full_disk_is_no_fault_of_the_file(archive: Path, folder: Path) -> None:
    zipped(archive, ("a.png", PNG))
    with pytest.raises(OSError) as failed:
        all_of(archive, folder=folder, limits=ArchiveLimits(spare_disk_bytes=2**62))
    assert failed.value.errno == errno.ENOSPC
    assert not list(folder.iterdir())
