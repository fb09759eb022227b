"""manifest.csv: where it is looked for, how it is read, and what it cannot do."""

from pathlib import Path

import pytest

from retrieval.imaging import ArchiveLimits, Described, FileRefused, open_source
from tests.imaging.zips import PNG, zipped

TABLE = "file,class,modality,body_part,patient_group\nchest/1.png,lung,CT,CHEST,p1\n"
LUNG = Described(label="lung", modality="CT", body_part="CHEST", patient_group="p1")


def _described(path: Path, *entries: tuple[str, bytes]) -> dict[str, Described]:
    with open_source(zipped(path / "archive.zip", *entries)) as source:
        return {member.name: member.described for member in source.members}


def _told(path: Path, table: str | bytes, *, name: str = "chest/1.png") -> Described:
    content = table if isinstance(table, bytes) else table.encode()
    return _described(path, ("manifest.csv", content), (name, PNG))[name]


def test_without_a_manifest_the_folder_is_the_label(tmp_path: Path) -> None:
    entries = (("data/chest/1.png", PNG), ("2.png", PNG))
    assert _described(tmp_path, *entries) == {"data/chest/1.png": Described(label="chest"), "2.png": Described()}


@pytest.mark.parametrize("base", ["", "data/", "./", "data\\"])
def test_a_manifest_is_found_in_the_root_and_in_the_only_folder(tmp_path: Path, *, base: str) -> None:
    entries = ((f"{base}manifest.csv", TABLE.encode()), (f"{base}chest/1.png", PNG))
    assert list(_described(tmp_path, *entries).values()) == [LUNG]


def test_a_manifest_in_one_of_several_folders_is_a_file_like_others(tmp_path: Path) -> None:
    entries = (("a/manifest.csv", TABLE.encode()), ("b/chest/1.png", PNG))
    assert set(_described(tmp_path, *entries)) == {"a/manifest.csv", "b/chest/1.png"}


def test_a_manifest_beside_pictures_in_a_single_folder_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data" / "chest").mkdir(parents=True)
    (tmp_path / "data" / "manifest.csv").write_text(TABLE)
    (tmp_path / "data" / "chest" / "1.png").write_bytes(PNG)
    with open_source(tmp_path) as source:
        assert [member.described for member in source.members] == [LUNG]


def test_empty_cells_leave_what_is_known(tmp_path: Path) -> None:
    told = _told(tmp_path, "file,class,modality\nchest/1.png, ,MR\n")
    assert told == Described(label="chest", modality="MR")


@pytest.mark.parametrize(
    "table",
    [
        TABLE.encode("utf-8-sig"),
        TABLE.replace("\n", "\r\n").encode(),
        TABLE.replace("chest/", "chest\\").encode(),
        TABLE.replace("chest/", "./chest//").encode(),
        TABLE.replace("chest/1.png", '"chest/1.png"').encode(),
        (TABLE + "\n\nmissing/2.png,other\n,no file,,,\nshort\n").encode(),
        (TABLE.replace("lung", "wrong") + TABLE.splitlines()[1]).encode(),
    ],
    ids=["bom", "windows", "backslash", "dots", "quoted", "rows of other files", "the last row counts"],
)
def test_tables_as_programs_write_them(tmp_path: Path, *, table: bytes) -> None:
    assert _told(tmp_path, table) == LUNG


def test_accents_match_however_they_are_composed(tmp_path: Path) -> None:
    assert _told(tmp_path, "file,class\nschädel/1.png,skull\n", name="scha\u0308del/1.png").label == "skull"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"file;class\nchest/1.png;lung\n", "has no column named file"),
        (b"name,class\n", "has no column named file"),
        ("file,class\nchest/1.png,Schädel\n".encode("latin-1"), "is not a table in CSV format with UTF-8 text"),
        (TABLE.encode("utf-16"), "is not a table in CSV format with UTF-8 text"),
        (b'file,class\n"chest/1.png,lung\n', "is not a table in CSV format"),
        (b"file,class\nchest/1.png," + b"x" * 200_000, "is not a table in CSV format"),
        (PNG, "is not a table in CSV format"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, *, table: bytes, words: str) -> None:
    with pytest.raises(FileRefused) as refused:
        _told(tmp_path, table)
    assert words in refused.value.reason


def test_an_empty_manifest_says_nothing(tmp_path: Path) -> None:
    assert _told(tmp_path, b"") == Described(label="chest")


def test_hostile_cells_become_printable(tmp_path: Path) -> None:
    assert _told(tmp_path, "file,class\nchest/1.png,lu\0ng\u202e\n").label == "lu\ufffdng\ufffd"


def test_a_large_manifest_is_refused(tmp_path: Path) -> None:
    zipped(tmp_path / "archive.zip", ("manifest.csv", b"x" * 2_000_000), ("1.png", PNG))
    with pytest.raises(FileRefused, match="larger than 1 MB"):
        open_source(tmp_path / "archive.zip", limits=ArchiveLimits(manifest_bytes=1024**2))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_manifests_one_is_read_and_the_other_listed(tmp_path: Path) -> None:
    told = _described(tmp_path, ("manifest.csv", TABLE.encode()), ("manifest.csv", b"no"), ("chest/1.png", PNG))
    assert told == {"chest/1.png": LUNG, "manifest.csv": Described()}
