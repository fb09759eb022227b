"""What all tests share. Servers are real: PostgreSQL, Redis, Celery workers, Chromium; no code of our own is mocked."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from retrieval.models import ModelVersion
from tests.live_site import LiveSite, wait_until
from tests.pictures import drawn_pixels, png, striped_pixels

UNINDEXED = "SELECT (SELECT count(*) FROM retrieval_medicalimage) - (SELECT count(*) FROM retrieval_embedding)"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real images beside the project, or where CBMIR_TEST_DATA says; never part of the repository."""
    named = os.environ.get("CBMIR_TEST_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder} (CBMIR_TEST_DATA names another folder)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def static_files() -> None:
    """Pages name their static files by content: collect them, as an installation does."""
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(autouse=True)
def media(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each test has an archive folder of its own, and remembers nothing of the test before."""
    cache.clear()
    data = tmp_path_factory.mktemp("data")
    folder = data / "media"
    settings.MEDIA_ROOT, settings.WORK_DIR = folder, data / "work"
    settings.FILE_UPLOAD_TEMP_DIR = settings.WORK_DIR
    settings.UPLOAD_DIR = settings.WORK_DIR / "uploads"
    settings.WORK_DIR.mkdir()
    return folder


@pytest.fixture
def person(db: None) -> Callable[[str], User]:
    """Make a user of a role: clinician, staff or admin."""

    def make(role: str, *, name: str = "") -> User:
        user = User.objects.create_user(name or role, password="correct horse", is_staff=role != "clinician")
        user.groups.add(Group.objects.get(name=role))
        return user

    return make


@pytest.fixture
def logged_in(person: Callable[..., User]) -> Callable[..., Client]:
    """Make a user of a role and return a browser in which they are logged in; `client.user` is the user."""

    def make(role: str, *, name: str = "") -> Client:
        client = Client()
        client.user = person(role, name=name)  # type: ignore[attr-defined]
        client.force_login(client.user)  # type: ignore[attr-defined]
        return client

    return make


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """Six drawn PNG files in two class folders."""
    folder = tmp_path / "pictures"
    for number in range(6):
        path = folder / ("chest" if number < 3 else "hand") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(drawn_pixels(number)))
    return folder


@pytest.fixture
def striped_folder(tmp_path: Path) -> Path:
    """Forty striped PNG files in two class folders: a narrow network learns to tell them apart in seconds."""
    folder = tmp_path / "stripes"
    for number in range(40):
        upright = number % 2 == 1
        path = folder / ("upright" if upright else "across") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(striped_pixels(number, upright=upright)))
    return folder


@pytest.fixture
def active_version(db: None) -> Iterator[ModelVersion]:
    """An untrained narrow network, active."""
    from retrieval.services.searching import query_decoder
    from retrieval.services.switching import activate_model_version
    from retrieval.services.versions import create_model_version

    version = create_model_version(architecture="narrow", weights="none")
    activate_model_version(version)
    version.refresh_from_db()
    yield version
    query_decoder().close()


@pytest.fixture(scope="session")
def site() -> Iterator[LiveSite]:
    """The whole site with its demo archive, as `make run` starts it. Shared: each test leaves it as it found it."""
    folder = Path(tempfile.mkdtemp(prefix="cbmir-l-"))
    # PostgreSQL runs as a user of its own when we are root, and has to reach its folder.
    folder.chmod(0o755)
    live = LiveSite(folder / "data")
    try:
        live.start()
        wait_until(lambda: live.value(UNINDEXED) == 0, seconds=120, what="the demo archive is indexed")
        yield live
        live.stop()
    finally:
        live.kill()
        shutil.rmtree(folder)
