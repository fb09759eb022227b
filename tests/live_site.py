"""The whole site as a user starts it, with data, servers, processes and a port of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

ROOT = Path(__file__).resolve().parent.parent
# The tests' own servers, and whatever would lead elsewhere or change what is tested.
FOREIGN = ("DATABASE_URL", "REDIS_URL", "HTTPS", "ALLOWED_HOSTS", "DEBUG", "BIND", "LOG_LEVEL", "SECRET_KEY")
READY_SECONDS = 300
STOP_SECONDS = 60
CTRL_C = 130


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], *, seconds: float, what: str = "") -> None:
    """Return as soon as the condition holds. Raises AssertionError when it does not come to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what or condition}")
        time.sleep(0.02)


class LiveSite:
    """`python -m cbmir_site.run` on `data_dir`; start() and stop() it as often as you like."""

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir.parent / f"{data_dir.name}.log"
        kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        self.environment = kept | {
            "CBMIR_DATA_DIR": str(data_dir),
            "PORT": str(self.port),
            "CBMIR_ARCHITECTURE": "narrow",
            "CBMIR_WEIGHTS": "none",
            "CBMIR_DEMO": "1",
            # It would take the processors from what is tested.
            "CBMIR_DEMO_TRAINING": "0",
        }
        self._run: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when /readyz says that everything is there."""
        self._run = self.launch()
        wait_until(self._is_ready, seconds=READY_SECONDS, what="the site is ready")

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start the process alone, in a process group of its own, as a shell does."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "cbmir_site.run"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _is_ready(self) -> bool:
        assert self._run is not None
        assert self._run.poll() is None, f"the site ended:\n{self.log_tail()}"
        return self.status_of("/readyz") == 200

    def stop(self) -> None:
        """Ctrl-C, which a terminal sends to the whole group; afterwards nothing may be left."""
        assert self._run is not None
        # Decoders are known by their parents only: asked before those are gone.
        started = self.processes()
        os.killpg(self._run.pid, signal.SIGINT)
        status = self._run.wait(STOP_SECONDS)
        self._run = None
        wait_until(lambda: not any(map(_lives, started + self.processes())), seconds=5, what="all processes have ended")
        assert status == CTRL_C, f"{status}:\n{self.log_tail()}"

    def kill(self) -> None:
        """End whatever is left of it, after a test that failed."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self._run is not None:
            self._run.wait()

    def status_of(self, path: str) -> int:
        """The status of an answer, or 0 without one."""
        try:
            with urllib.request.urlopen(self.base_url + path, timeout=10) as answer:  # noqa: S310 - our own site
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except (urllib.error.URLError, OSError):
            return 0

    @property
    def logins(self) -> dict[str, dict[str, str]]:
        """By role: username and password."""
        return json.loads((self.data_dir / "demo-logins.json").read_text())

    def manage(self, *words: object, status: int | None = 0) -> dict[str, Any]:
        """The JSON document of a management command, which has to end with `status`, or as it likes."""
        done = self.run_python(str(ROOT / "manage.py"), *map(str, words), "--json")
        assert status is None or done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def shell(self, code: str) -> str:
        """What `code` prints, run in a process that has the site's settings and models."""
        done = self.run_python(str(ROOT / "manage.py"), "shell", "--no-imports", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run_python(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )

    def query(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows from the site's own database."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql: str, parameters: tuple[object, ...] = ()) -> Any:
        return self.query(sql, parameters)[0][0]

    @property
    def database_url(self) -> str:
        return self._of_the_children("DATABASE_URL")

    @property
    def redis_socket(self) -> str:
        return self._of_the_children("REDIS_URL").removeprefix("redis+socket://")

    def _of_the_children(self, variable: str) -> str:
        """A variable that `run` sets for what it starts."""
        assert self._run is not None
        return psutil.Process(self._run.pid).children()[0].environ()[variable]

    def worker(self, name: str) -> psutil.Process:
        """The main process of a worker: search, jobs or training."""
        found = [each for each in self.processes() if f"{name}@%h" in words(each)]
        mains = [each for each in found if each.parent() not in found]
        assert mains, f"no worker {name}: {self.log_tail()}"
        return max(mains, key=lambda each: each.create_time())

    def pool(self, name: str) -> list[psutil.Process]:
        """The processes of a worker that do the work, not the decoders beside them."""
        return [each for each in self.worker(name).children() if f"{name}@%h" in words(each)]

    def processes(self) -> list[psutil.Process]:
        """Whatever was started for this site and lives, daemons and orphans too."""
        own = [each for each in psutil.process_iter() if each.pid != os.getpid() and self._belongs(each)]
        return list({each.pid: each for process in own for each in _family(process)}.values())

    def named(self, name: str) -> list[psutil.Process]:
        """Those of them that run this program. One may end while it is asked for its name."""
        found = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                found += [process] if process.name() == name else []
        return found

    def _belongs(self, process: psutil.Process) -> bool:
        folder = str(self.data_dir)
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            return any(folder in word for word in words(process)) or process.environ().get("CBMIR_DATA_DIR") == folder
        return False

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])


def _lives(process: psutil.Process) -> bool:
    """Whether it runs: one that has ended and waits for its parent does not."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def words(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return process.cmdline()
    return []


def _family(process: psutil.Process) -> Iterator[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        yield from (process, *process.children(recursive=True))
