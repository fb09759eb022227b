"""`deidentify_originals` as scripts and people meet it."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from pytest_django import Settings

from retrieval.models import MedicalImage, StoredFile
from tests.commands.conftest import Manage
from tests.pictures import drawn_pixels


@pytest.fixture
def kept(manage: Manage, tmp_path: Path, settings: Settings) -> StoredFile:
    """An original with metadata, stored as it came."""
    exif = Image.Exif()
    exif[0x010E] = "ZMARKZ"
    out = io.BytesIO()
    Image.fromarray(drawn_pixels(1)).save(out, "JPEG", exif=exif)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(out.getvalue())
    settings.DEIDENTIFY_ORIGINALS = False
    assert manage("import_dataset", tmp_path / "in", "--name", "one")[0] == 0
    settings.DEIDENTIFY_ORIGINALS = True
    return StoredFile.objects.get()


def test_it_says_what_it_did(manage: Manage, kept: StoredFile) -> None:
    assert b"ZMARKZ" in Path(kept.file.path).read_bytes()
    status, report = manage("deidentify_originals")
    assert report.pop("seconds") >= 0
    assert (status, report) == (0, {"cleaned": 1, "already": 0, "failed": []})
    assert b"ZMARKZ" not in Path(StoredFile.objects.get().file.path).read_bytes()
    assert manage("deidentify_originals")[1]["already"] == 1
    assert manage("check_archive")[0] == 0


def test_what_is_left_as_it_came_is_bad_news(
    manage: Manage, said: Callable[..., tuple[int, str]], kept: StoredFile
) -> None:
    Path(kept.file.path).write_bytes(b"no picture")
    status, report = manage("deidentify_originals")
    [failed] = report["failed"]
    assert status == 1
    assert failed["images"] == [str(MedicalImage.objects.get().uuid)]
    assert failed["file"] == kept.file.name
    status, words = said("deidentify_originals")
    assert (status, failed["reason"] in words) == (1, True)


def test_it_refuses_where_originals_are_kept(manage: Manage, kept: StoredFile, settings: Settings) -> None:
    settings.DEIDENTIFY_ORIGINALS = False
    status, report = manage("deidentify_originals")
    assert (status, [*report]) == (1, ["error"])
    assert "CBMIR_DEIDENTIFY_ORIGINALS" in report["error"]


def test_wrong_usage(refuses_usage: Callable[..., str]) -> None:
    assert "unrecognized arguments" in refuses_usage("deidentify_originals", "everything")
