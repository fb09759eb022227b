"""Management commands as scripts meet them: an exit status, and one JSON document on standard output."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command, get_commands, load_command_class

from retrieval.models import ModelVersion

Manage = Callable[..., tuple[int, dict[str, Any]]]


def files_below(folder: Path) -> set[str]:
    """Paths without the names of batches."""
    paths = (path.relative_to(folder).parts for path in folder.rglob("*") if path.is_file())
    return {"/".join((parts[0], *parts[2:])) for parts in paths}


@pytest.fixture
def manage(db: None) -> Manage:
    """Run a command with --json: (exit status, document)."""

    def run(*words: object) -> tuple[int, dict[str, Any]]:
        out = io.StringIO()
        status = _status_of(*map(str, words), "--json", stdout=out)
        assert out.getvalue().count("\n") == 1, "one document, nothing else"
        return status, json.loads(out.getvalue())

    return run


@pytest.fixture
def said(db: None) -> Callable[..., tuple[int, str]]:
    """Run a command as a person does: (exit status, what it said)."""

    def run(*words: object) -> tuple[int, str]:
        out = io.StringIO()
        return _status_of(*map(str, words), stdout=out, stderr=out), out.getvalue()

    return run


def _status_of(*words: str, **options: Any) -> int:
    try:
        call_command(*words, **options)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def refuses_usage(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command with words that it does not understand: status 2, and what it said about them."""

    def run(name: str, *words: str) -> str:
        with pytest.raises(SystemExit) as end:
            load_command_class(get_commands()[name], name).run_from_argv(["manage.py", name, *words])
        assert end.value.code == 2
        spoken = capsys.readouterr()
        assert spoken.out == ""
        return spoken.err

    return run


@pytest.fixture
def archive(manage: Manage, active_version: ModelVersion, picture_folder: Path) -> ModelVersion:
    """Six pictures, imported and indexed; returns the version."""
    assert manage("import_dataset", picture_folder, "--name", "drawn")[0] == 0
    assert manage("index")[0] == 0
    return active_version
