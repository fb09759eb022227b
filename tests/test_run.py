"""What `make run` says before it starts anything, and what it endures from where it is started."""

import os
import pwd
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cbmir_site import run
from tests.live_site import CTRL_C, READY_SECONDS, STOP_SECONDS, LiveSite, wait_until

ROOT = Path(__file__).resolve().parent.parent
FIRST_FOR_ALL = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def _said(tmp_path: Path, **environment: str) -> str:
    """Why it does not start; nothing was made."""
    done = subprocess.run(
        [sys.executable, "-m", "cbmir_site.run"],
        cwd=ROOT,
        env={**os.environ, "BIND": "", "CBMIR_DATA_DIR": str(tmp_path / "data"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "postgres").exists()
    return done.stderr


@pytest.mark.parametrize("port", ["abc", "0", "99999", "-1", "٣"])
def test_a_port_that_is_none_is_refused_in_a_sentence(port: str, tmp_path: Path) -> None:
    assert "PORT is a number from 1 to 65535" in _said(tmp_path, PORT=port)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("::1", "BIND is an IPv4 address such as 127.0.0.1, or 0.0.0.0 for all of this machine, not '::1'."),
        ("a." + 64 * "b", "BIND is an IPv4 address such as"),
        ("192.0.2.1", "This machine has no address 192.0.2.1. BIND is one that it has, or 0.0.0.0 for all of them."),
    ],
)
def test_an_address_that_is_not_its_own_is_refused_in_a_sentence(address: str, sentence: str, tmp_path: Path) -> None:
    said = _said(tmp_path, BIND=address)
    assert sentence in said
    assert "in use" not in said


def test_a_port_that_is_taken_is_refused_with_one_that_there_is(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        said = _said(tmp_path, PORT=str(taken))
        assert f"Port {taken} is in use by another program. Choose another one: PORT={taken + 1} make run" in said


def test_no_port_above_the_last_is_suggested(tmp_path: Path) -> None:
    try:
        server = socket.create_server(("127.0.0.1", run.LAST_PORT))
    except OSError:
        pytest.skip("the last port is another program's")
    with server:
        assert "Choose another one: PORT=8000 make run" in _said(tmp_path, PORT=str(run.LAST_PORT))


@pytest.fixture
def nobody() -> Iterator[None]:
    """What is done meanwhile is done without root's rights."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


def test_a_port_that_is_roots_is_refused_in_a_sentence(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIND", raising=False)
    port = min(int(FIRST_FOR_ALL.read_text()) if FIRST_FOR_ALL.exists() else 1024, 1024) - 1
    if port < 1:
        pytest.skip("this machine keeps no port for root")
    assert run._why_not(port) == f"Port {port} is kept for root. Choose one from 1024 on: PORT=8000 make run"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CBMIR_DEIDENTIFY_ORIGINALS", "yess", "CBMIR_DEIDENTIFY_ORIGINALS is 1 or 0, not 'yess'."),
        ("CBMIR_UPLOAD_DAYS", "a week", "CBMIR_UPLOAD_DAYS is a number, not 'a week'."),
    ],
)
def test_a_setting_that_says_nothing_is_refused_in_a_sentence(
    name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert _settings("DEBUG").returncode == 1
    preparing = subprocess.run([sys.executable, "-m", "cbmir_site.prepare"], cwd=ROOT, check=False)
    assert preparing.returncode == 1
    assert capfd.readouterr().err.splitlines()[-1] == f"cbmir: {sentence}"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CBMIR_DEIDENTIFY_ORIGINALS", "CBMIR_REVIEW_BURNED_IN", "CBMIR_QUERY_MAX_BYTES", "LOG_LEVEL"):
        monkeypatch.setenv(name, "")
    names = "DEIDENTIFY_ORIGINALS", "REVIEW_BURNED_IN", "QUERY_MAX_BYTES"
    assert _settings(*names).stdout.split() == ["True", "True", str(200 * 2**20)]


@pytest.mark.parametrize("value", ["0", "no", "Off", "FALSE"])
def test_a_switch_is_off_only_where_it_says_so(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBMIR_REVIEW_BURNED_IN", value)
    assert _settings("REVIEW_BURNED_IN").stdout.split() == ["False"]


def test_a_key_may_begin_with_a_dollar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBMIR_HASH_KEY", "$HOME and $more")
    assert _settings("HASH_KEY").stdout == "$HOME and $more\n"


def test_root_leaves_the_servers_of_another_user_alone(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can make a folder for somebody else")
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", pwd.getpwnam("nobody").pw_uid, -1)
    assert f"{tmp_path}/data belongs to nobody: run it as nobody, or set CBMIR_DATA_DIR" in _said(
        tmp_path, DATABASE_URL="", REDIS_URL=""
    )
    assert list((tmp_path / "data").iterdir()) == []


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a space in its path, and open to the user that PostgreSQL runs as where we are root."""
    with tempfile.TemporaryDirectory(prefix="cbmir r-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_site_logs_to_a_socket_outlives_a_log_out_and_lies_in_any_folder(folder: Path) -> None:
    site = LiveSite(folder / "data")
    (folder / "venv").symlink_to(sys.prefix)
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        ["nohup", folder / "venv" / "bin" / "python", "-m", "cbmir_site.run"],
        cwd=ROOT,
        env=site.environment | {"CBMIR_DEMO": "0"},
        stdout=theirs,
        start_new_session=True,
    )
    theirs.close()
    try:
        wait_until(lambda: process.poll() is not None or site.status_of("/healthz"), seconds=READY_SECONDS)
        os.killpg(process.pid, signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        assert site.status_of("/healthz") == 200
        process.terminate()
        assert process.wait(STOP_SECONDS) == CTRL_C
    finally:
        site.kill()
        process.kill()
        process.wait()
    with ours, ours.makefile() as lines:
        said = lines.read()
    assert said.count("spawned: 'web'") == 1
    assert "SIGHUP" not in said
    assert "stopped: trainer" in said


@pytest.mark.parametrize("is_closed", [True, False])
def test_programs_do_not_wait_for_an_output_that_takes_nothing(is_closed: bool) -> None:  # noqa: FBT001 - a parameter
    code = "import sys\nfrom cbmir_site import run\nrun._copy(sys.stdin.buffer)"
    reading, writing = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=writing)
    os.close(writing)
    if is_closed:
        os.close(reading)
    # More than the pipes hold.
    process.communicate(b"x" * (100 * select.PIPE_BUF), timeout=30)
    assert process.returncode == 0
    if not is_closed:
        os.close(reading)


def _settings(*names: str) -> "subprocess.CompletedProcess[str]":
    """Print these settings in a process of its own: they are read once in each."""
    code = f"from cbmir_site import settings\nfor name in {names}: print(getattr(settings, name))"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
