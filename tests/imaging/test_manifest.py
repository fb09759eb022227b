"""manifest.csv: where it is looked for, how it is read, and what it cannot do."""

from pathlib import Path

import pytest

from retrieval.imaging import ArchiveLimits, Described, FileRefused, ManifestRefused, open_source
from retrieval.imaging.manifest import READ_AS_WINDOWS
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


def test_a_manifest_is_found_however_its_name_is_written(tmp_path: Path) -> None:
    entries = (("Data/Manifest.CSV", TABLE.encode()), ("Data/chest/1.png", PNG))
    assert list(_described(tmp_path, *entries).values()) == [LUNG]


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
        TABLE.replace(",", ";").encode(),
        TABLE.replace(",", "\t").encode(),
        TABLE.encode("utf-16"),
        TABLE.replace(",", "\t").encode("utf-16"),
        ("\n\n" + TABLE).encode(),
        TABLE.replace("file,class,modality,body_part", " File , CLASS,Modality,Body Part").encode(),
        TABLE.replace("file,class", "filename,label").encode(),
        TABLE.replace("file", "path").encode(),
        (TABLE.replace("class", "class,label").replace("lung", "lung,wrong")).encode(),
        (TABLE.replace("class", "label,class").replace("lung", "wrong,lung")).encode(),
    ],
    ids=[
        *("bom", "windows", "backslash", "dots", "quoted", "rows of other files", "the last row counts"),
        *("semicolons", "tabs", "utf-16", "as Excel saves Unicode text", "empty lines first", "names in any case"),
        *("other names", "path", "the proper name counts", "and wherever it stands"),
    ],
)
def test_tables_as_programs_write_them(tmp_path: Path, *, table: bytes) -> None:
    assert _told(tmp_path, table) == LUNG


def test_accents_match_however_they_are_composed(tmp_path: Path) -> None:
    assert _told(tmp_path, "file,class\nschädel/1.png,skull\n", name="scha\u0308del/1.png").label == "skull"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"name,class\n", "has no column named file"),
        (b"file class\nchest/1.png lung\n", "has no column named file"),
        (TABLE.encode("utf-16")[:-1], "is not a table in CSV format"),
        (b'file,class\n"chest/1.png,lung\n', "is not a table in CSV format"),
        (b"file,class\nchest/1.png," + b"x" * 200_000, "is not a table in CSV format"),
        (PNG, "has no column named file"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, *, table: bytes, words: str) -> None:
    with pytest.raises(ManifestRefused) as refused:
        _told(tmp_path, table)
    assert words in refused.value.reason


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_old_windows_text_is_read_and_said(tmp_path: Path, *, encoding: str) -> None:
    table = "file;class\nschädel/1.png;Schädel\n".encode(encoding)
    with open_source(_with_manifest(tmp_path, table, "schädel/1.png")) as source:
        assert [member.described.label for member in source.members] == ["Schädel"]
        assert source.manifest.notes == [READ_AS_WINDOWS]


def _with_manifest(path: Path, table: bytes, *names: str) -> Path:
    return zipped(path / "archive.zip", ("manifest.csv", table), *((name, PNG) for name in names))


def _notes(path: Path, table: str, *names: str) -> list[str]:
    with open_source(_with_manifest(path, table.encode(), *names)) as source:
        return source.manifest.notes


def test_a_table_that_fits_leaves_nothing_to_say(tmp_path: Path) -> None:
    assert _notes(tmp_path, TABLE + ",,,,\n\n", "chest/1.png") == []


def test_rows_that_match_no_file_are_told(tmp_path: Path) -> None:
    table = "file,class\nmissing.png,a\n../A/1.png,b\n,c\n1.png,d\n"
    assert _notes(tmp_path, table, "1.png") == [
        "3 rows of manifest.csv name no file that is here: missing.png, ../A/1.png, (no name)."
    ]
    assert _notes(tmp_path, "file\n1.png\nx\u202e.png\n", "1.png") == [
        "1 row of manifest.csv names no file that is here: x\ufffd.png."
    ]


def test_of_many_rows_that_match_no_file_a_few_are_named(tmp_path: Path) -> None:
    rows = "".join(f"{'long' * 100}{number}.png\n" for number in range(2000))
    [note] = _notes(tmp_path, f"file\n1.png\n{rows}", "1.png")
    assert note.startswith("2,000 rows of manifest.csv name no file that is here: long")
    assert note.endswith(" and 1,995 more.")
    assert len(note) < 700


def test_columns_that_are_not_used_are_told(tmp_path: Path) -> None:
    assert _notes(tmp_path, "file,class,Licence,path\n1.png,a,b,c\n", "1.png") == [
        "2 columns of manifest.csv are not used: Licence, path."
    ]


def test_files_without_a_row_are_told(tmp_path: Path) -> None:
    assert _notes(tmp_path, TABLE, "chest/1.png", "hand/2.png", "hand/3.png") == [
        "2 files have no row in manifest.csv: their label is the name of their folder."
    ]


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
