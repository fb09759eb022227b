"""The rules of CONTRIBUTING.md, as code."""

import ast
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.apps import apps
from django.conf import settings
from django.core.management import get_commands
from django.db import models
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.regex_helper import normalize

from tests.source import PACKAGES, ROOT, imported_modules, python_files, variables_read

TOP_LEVEL = {
    *("cbmir_site", "retrieval", "training", "templates", "static", "tests", "benchmarks", "docs", ".ci/run"),
    *("manage.py", "requirements.txt", "requirements-dev.txt", "pyproject.toml", "docker-compose.yml", "Dockerfile"),
    *("Makefile", "README.md", "CONTRIBUTING.md", "package.json", "package-lock.json", ".npmrc"),
}
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OURS = ("retrieval", "training")
# What each may import of the project, besides itself; what is not named is the rest of its package.
MAY_IMPORT = {
    "cbmir_site": ("training", "retrieval"),
    "training": ("retrieval",),
    "training/learning": ("retrieval.network", "retrieval.disk"),
    "retrieval": (),
    "retrieval/imaging": (),
    "retrieval/network": ("retrieval.disk",),
}
WITHOUT_DJANGO = ("retrieval/imaging", "retrieval/network", "training/learning")
# Too heavy for the web process, and decoders of strangers' files have no business there.
NOT_IN_WEB = ("torch", "torchvision", "numpy", "scipy", "sklearn", "PIL", "pydicom", "pylibjpeg", "dicomanonymizer")
PUBLIC = {"/healthz", "/readyz", "/login/", "/admin/login/"}
MOST_LINES = 400


def test_the_top_level_is_the_agreed_one() -> None:
    assert [name for name in TOP_LEVEL if not (ROOT / name).exists()] == []


def test_requirements_are_pinned() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines() + (
        ROOT / "requirements-dev.txt"
    ).read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith(("#", "-r "))]
    assert [line for line in wanted if not re.fullmatch(r"[\w.-]+(\[[\w,]+\])?==[\w.]+", line)] == []


def test_browser_libraries_are_pinned_and_name_no_host() -> None:
    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]
    assert [name for name, version in wanted.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []
    text = (ROOT / "package-lock.json").read_text()
    # npm adds "funding" to it, with addresses: take those blocks out again, `npm ci` does not miss them.
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert packages.pop("")["dependencies"] == wanted
    assert {f"node_modules/{name}" for name in wanted} <= set(packages)
    assert [name for name, package in packages.items() if "resolved" in package or "integrity" not in package] == []


def test_no_python_file_is_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in [ROOT / "manage.py", *python_files()]}
    assert {str(path): lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_run_one_way(folder: str) -> None:
    own = folder.replace("/", ".")
    allowed = (own, *MAY_IMPORT[folder])
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in python_files(folder)
        for module in sorted(imported_modules(path))
        if _within(module, PACKAGES) and not _within(module, allowed)
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", WITHOUT_DJANGO)
def test_pixels_and_networks_know_no_django(folder: str) -> None:
    importing = [
        path.name for path in python_files(folder) if any(_within(name, ["django"]) for name in imported_modules(path))
    ]
    assert importing == []


def _within(module: str, packages: Any) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def test_web_process_imports_neither_torch_nor_decoders() -> None:
    code = """
import sys
import cbmir_site.wsgi
from cbmir_site import celery_app
from django.urls import get_resolver

def load(resolver):
    for pattern in resolver.url_patterns:
        if hasattr(pattern, "url_patterns"):
            load(pattern)

load(get_resolver())
celery_app.loader.import_default_modules()
print(*{name.partition(".")[0] for name in sys.modules})
"""
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "retrieval" in loaded.split()
    assert set(NOT_IN_WEB) & set(loaded.split()) == set()


def test_every_task_states_its_time_limit() -> None:
    """Read from the source, since the settings' own limit stands in for one that is missing."""
    decorated = [
        ast.unparse(decorator)
        for path in python_files(*OURS)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        if re.match(r"(shared_task|app\.task)\b", ast.unparse(decorator))
    ]
    assert decorated
    assert [decorator for decorator in decorated if "time_limit=" not in decorator] == []


def test_no_message_comes_back_while_its_task_may_still_run() -> None:
    current_app.loader.import_default_modules()
    limits = [task.time_limit for name, task in current_app.tasks.items() if not name.startswith("celery.")]
    assert max(limits) < settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"]


def test_every_relation_has_a_name_from_both_sides() -> None:
    fields = [
        field
        for label in OURS
        for model in apps.get_app_config(label).get_models()
        for field in model._meta.get_fields()
        if isinstance(field, models.ForeignKey | models.ManyToManyField)
    ]
    assert fields
    assert [str(field) for field in fields if not field.remote_field.related_name] == []


def _addresses(resolver: URLResolver, *, before: str = "/", converters: dict | None = None) -> Iterator[str]:
    """One address for each pattern of the site, its parameters filled in."""
    converters = converters or {}
    for pattern in resolver.url_patterns:
        known = converters | pattern.pattern.converters
        part, names = normalize(pattern.pattern.regex.pattern.replace(r"\Z", ""))[0]
        address = before + part % {name: _sample(name, known) for name in names}
        if isinstance(pattern, URLPattern):
            yield address
        else:
            yield from _addresses(pattern, before=address, converters=known)


def _sample(name: str, converters: dict[str, Any]) -> str:
    if name == "app_label":
        return "auth"
    return str(uuid.uuid4()) if type(converters.get(name)).__name__ == "UUIDConverter" else "1"


@pytest.mark.parametrize("method", ["get", "post"])
def test_every_page_but_the_public_ones_wants_a_login(db: None, method: str) -> None:
    addresses = set(_addresses(get_resolver()))
    answers = {address: getattr(Client(), method)(address) for address in addresses}
    assert {address for address, answer in answers.items() if not _asks_for_login(answer)} == PUBLIC


def _asks_for_login(answer: HttpResponse) -> bool:
    if answer.status_code == 401:
        return True
    return answer.status_code == 302 and answer["Location"].startswith(("/login/?next=", "/admin/login/?next="))


def test_pages_load_nothing_from_another_host() -> None:
    files = [path for folder in ("templates", "static") for path in (ROOT / folder).rglob("*.*")]
    assert files
    assert [str(path) for path in files if _other_host(path.read_text(errors="replace"))] == []


def _other_host(text: str) -> bool:
    """Whether an address with a host stands in it; the names of XML namespaces look like addresses and are none."""
    return re.search(r"""https?://|(["'(=]|url\()\s*//\w""", re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)) is not None


def test_every_variable_is_documented() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \|", operations, flags=re.MULTILINE))
    assert variables_read() == documented


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_commands_and_files_that_exist(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`make (\w+)", text)) <= targets
    assert set(re.findall(r"manage\.py ([a-z_]+)", text)) <= set(get_commands())
    assert [path for path in _paths_in(text) if not any((*ROOT.glob(path), *document.parent.glob(path)))] == []


def _paths_in(text: str) -> list[str]:
    """Files of the project that a document names: in backquotes with a folder in front, or as the target of a link."""
    quoted = re.findall(rf"`((?:{'|'.join((*PACKAGES, 'docs', 'templates', 'static'))})/[\w./*-]*)`", text)
    return [*quoted, *(target for target in re.findall(r"\]\(([^)#:]+)", text))]
