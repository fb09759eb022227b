"""The site's own PostgreSQL, after what machines and people do to its folder and around it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cbmir_site import embedded

ROOT = Path(__file__).resolve().parent.parent
USE = "import os\nfrom cbmir_site import embedded\nembedded.use_servers()\nprint(os.environ['DATABASE_URL'])"
# The package gives a server so long to start.
PACKAGE_SECONDS = 10


def _use_servers(data: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: start PostgreSQL on a data folder, print its URL, stop it."""
    return _python("-c", USE, data=data, **environment)


def _python(*words: str, data: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "XDG_RUNTIME_DIR")}
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**kept, "REDIS_URL": "redis://nowhere", "CBMIR_DATA_DIR": str(data), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


@contextmanager
def _open_folder() -> Iterator[Path]:
    """Where we are root, PostgreSQL runs as another user, to whom each start of pytest closes its own folder."""
    with tempfile.TemporaryDirectory(prefix="cbmir-e-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def place() -> Iterator[Path]:
    with _open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data folder with a database that does not run."""
    with _open_folder() as folder:
        assert _use_servers(folder).returncode == 0
        yield folder


def _pid_file(data: Path) -> str:
    """As PostgreSQL leaves it in a power cut, after which this very process has its number."""
    postgres = data / "postgres"
    return f"{os.getpid()}\n{postgres}\n1700000000\n5432\n{postgres}\n\n  1234567     98304\nready   \n"


@pytest.mark.parametrize("is_empty", [False, True])
def test_postgresql_starts_after_a_power_cut(is_empty: bool, data: Path) -> None:  # noqa: FBT001 - a parameter
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        (data / "postgres" / name).write_text("" if is_empty else _pid_file(data))
    done = _use_servers(data)
    assert done.returncode == 0, done.stderr


def test_a_recovery_that_takes_longer_than_the_package_waits_is_waited_for(data: Path) -> None:
    slow = f"test -e slept || {{ touch slept; sleep {PACKAGE_SECONDS + 2}; }}; false"
    with (data / "postgres" / "postgresql.conf").open("a") as settings:
        settings.write(f"restore_command = '{slow}'\n")
    (data / "postgres" / "recovery.signal").touch()
    started = time.monotonic()
    done = _use_servers(data)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started > PACKAGE_SECONDS


def test_a_server_that_does_not_start_says_where_its_log_is(data: Path) -> None:
    settings = data / "postgres" / "postgresql.conf"
    before = settings.read_text()
    settings.write_text(before + "no_such_setting = 1\n")
    done = _python("manage.py", "check_archive", "--json", data=data)
    settings.write_text(before)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"error": f"PostgreSQL did not start; its log is {data}/postgres/log."}
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["x" * 100, "a b"], ids=["long", "not plain"])
def test_a_socket_outside_the_data_folder_is_for_its_user_only(name: str, place: Path) -> None:
    temporary = place / "t"
    temporary.mkdir()
    done = _use_servers(place / name, TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr
    assert f"host={temporary}/" in done.stdout
    # Nor is there a lock that the users of this machine share.
    assert all(path.name.startswith("cbmir-") for path in temporary.iterdir())
    assert {path.stat().st_mode & 0o777 for path in temporary.iterdir()} == {0o700}


@pytest.mark.parametrize("program", ["postgres", "redis-server"])
def test_a_server_lives_where_its_own_program_has_the_number(program: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    fake = tmp_path / program
    fake.symlink_to("/bin/sleep")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder, lives in ((tmp_path, True), (elsewhere, False)):
        process = subprocess.Popen([fake, "60"], cwd=folder)
        try:
            pid_file.write_text(f"{process.pid}\n")
            assert embedded._lives(pid_file, command=program) is lives
            assert not embedded._lives(pid_file, command="another")
        finally:
            process.kill()
            process.wait()
        assert not embedded._lives(pid_file, command=program)
