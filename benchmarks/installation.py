"""Installations to measure: with data, servers and processes of their own, gone without a trace afterwards."""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from cbmir_site.paths import BASE_DIR

READY_SECONDS = 600
STOP_SECONDS = 60
# What would lead to the user's own servers, or change what is measured.
_FOREIGN = ("DATABASE_URL", "REDIS_URL", "HTTPS", "ALLOWED_HOSTS", "DEBUG", "BIND", "SECRET_KEY", "CBMIR_HASH_KEY")


@dataclass(frozen=True, kw_only=True)
class Site:
    url: str
    process: psutil.Process
    log: Path


def temporary_folder() -> Path:
    """Removed when this process ends, also when it is interrupted or told to end."""
    signal.signal(signal.SIGTERM, _end)
    folder = Path(tempfile.mkdtemp(prefix="cbmir-b-"))
    # PostgreSQL runs as a user of its own when we are root, and has to reach its folder.
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    sys.exit(128 + signum)


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """For the processes of an installation in `folder`: an untrained network, and none that trains beside."""
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    own = {"CBMIR_DATA_DIR": str(folder), "CBMIR_WEIGHTS": "none", "CBMIR_DEMO": "1"}
    own |= {"CBMIR_DEMO_TRAINING": "0", "LOG_LEVEL": "WARNING"}
    return kept | own | settings


def use_own_installation(**settings: str) -> Path:
    """Make this process one of a new, empty installation: servers run, tables exist, Django is ready."""
    folder = temporary_folder()
    for name in _FOREIGN:
        os.environ.pop(name, None)
    os.environ |= environment(folder, **settings)
    os.environ["DJANGO_SETTINGS_MODULE"] = "cbmir_site.settings"
    from cbmir_site import embedded

    embedded.use_servers()
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    return folder


def manage(*words: str | Path) -> dict[str, Any]:
    """Run a management command in a process of its own and return its JSON document."""
    command = [sys.executable, str(BASE_DIR / "manage.py"), *map(str, words), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"manage.py {words[0]} ended with {done.returncode}: {done.stdout.strip()}")
    return json.loads(done.stdout)


@contextmanager
def running_site(*, log: Path, settings: dict[str, str] | None = None) -> Iterator[Site]:
    """Start the whole site as `make run` does, on a free port, and stop it with all its processes.

    `settings` is its environment; this process's own unless given.
    """
    port = _free_port()
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "cbmir_site.run"],
            cwd=BASE_DIR,
            env=(settings or dict(os.environ)) | {"PORT": str(port)},
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in a terminal is for us: the site is told to end once, by `_stop`.
            start_new_session=True,
        )
    try:
        yield Site(url=f"http://127.0.0.1:{port}", process=psutil.Process(child.pid), log=log)
    finally:
        _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does it; what is left after that is killed."""
    family = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    _, alive = psutil.wait_procs(family, timeout=5)
    for process in alive:
        process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(site: Site, *, path: str, every: float = 0.02) -> None:
    """Until the path answers 200. Raises RuntimeError with the end of the site's log when it ends or never does."""
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(site.url + path):
        if not site.process.is_running() or site.process.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError(f"The site ended before {path} answered:\n{_end_of(site.log)}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path} did not answer in {READY_SECONDS} s:\n{_end_of(site.log)}")
        time.sleep(every)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own site
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
