"""Files of npm packages: what pages load is served, and nothing else of them."""

from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import CommandError, call_command
from django.test import Client

from cbmir_site import staticfiles
from tests.source import ROOT

LIBRARY = "node_modules/chart.js/dist/chart.umd.min.js"


def test_only_the_files_that_pages_load_are_collected() -> None:
    folder = Path(settings.STATIC_ROOT)
    collected = {path for path in (folder / "node_modules").rglob("*") if path.is_file()}
    named = {folder / staticfiles_storage.stored_name(path) for path in staticfiles.PACKAGE_FILES}
    plain = {folder / path for path in staticfiles.PACKAGE_FILES}
    assert {path for path in collected if path.suffix != ".gz"} == named | plain


def test_a_library_is_served_under_the_name_of_its_content() -> None:
    answer = Client().get(staticfiles_storage.url(LIBRARY))
    assert answer.status_code == 200
    assert "immutable" in answer["Cache-Control"]
    assert b"Chart.js v4" in b"".join(answer)  # type: ignore[arg-type]


def test_a_library_is_found_and_its_neighbours_are_not() -> None:
    assert finders.find(LIBRARY) == str(ROOT / LIBRARY)
    assert finders.find(LIBRARY, find_all=True) == [str(ROOT / LIBRARY)]
    assert (ROOT / "node_modules/chart.js/package.json").exists()
    assert finders.find("node_modules/chart.js/package.json") is None


def test_missing_libraries_are_said_with_what_brings_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a checkout that was never set up."""
    monkeypatch.setattr(staticfiles, "BASE_DIR", tmp_path)
    with pytest.raises(CommandError, match="make setup"):
        call_command("collectstatic", interactive=False, dry_run=True, verbosity=0)
