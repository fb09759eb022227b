"""`make run`: everything in the foreground, from an empty folder to a site that answers.

Starts the embedded servers where none are named, migrates, makes the demo archive, and then runs the processes of
supervisord.conf until Ctrl-C. What it started it stops, and nothing else.
"""

import errno
import os
import pwd
import select
import shlex
import signal
import socket
import subprocess
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import IO

from cbmir_site import embedded
from cbmir_site.paths import BASE_DIR, data_dir
from cbmir_site.prepare import say

STOP_SECONDS = 40
WATCH_SECONDS = 2
STDOUT, OUTPUT_WAIT_MS, LAST_LINES_SECONDS = 1, 1000, 5
FIRST_PORT_FOR_ALL, DEFAULT_PORT, LAST_PORT = 1024, 8000, 65535


def main() -> int:
    wanted = os.environ.get("PORT") or str(DEFAULT_PORT)
    if not (wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= LAST_PORT):
        say(f"PORT is a number from 1 to {LAST_PORT}, not {wanted!r}.")
        return 1
    port = int(wanted)
    refusal = _why_not(port)
    if refusal:
        say(refusal)
        return 1
    # A terminal that is closed, or `kill`, ends it as Ctrl-C does: through the `finally` of everything below. Ctrl-C
    # itself too where a shell's background job, which ignores it, has started us. Where SIGHUP is ignored, `nohup` has.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, _interrupt)
    try:
        embedded.use_servers()
        subprocess.run([sys.executable, "-m", "cbmir_site.prepare"], cwd=BASE_DIR, check=True)
        say(f"The site answers at http://{_bind_address()}:{port}/ in a moment. Ctrl-C stops it.")
        return _supervise(port=port)
    except embedded.ServerFailed as error:
        say(f"{error}.")
        return 1
    except subprocess.CalledProcessError:
        say("The site could not be prepared; the reason stands above.")
        return 1
    except KeyboardInterrupt:
        say("Stopped.")
        return 130


def _interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise KeyboardInterrupt


def _why_not(port: int) -> str:
    """Why the site cannot listen there, and what to do about it; empty where it can."""
    address = _bind_address()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except (socket.gaierror, UnicodeError):
            return f"BIND is an IPv4 address such as 127.0.0.1, or 0.0.0.0 for all of this machine, not {address!r}."
        except OSError as error:
            return _in_words(error, address=address, port=port)
    return ""


def _in_words(error: OSError, *, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        another = port + 1 if port < LAST_PORT else DEFAULT_PORT
        return f"Port {port} is in use by another program. Choose another one: PORT={another} make run"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"This machine has no address {address}. BIND is one that it has, or 0.0.0.0 for all of them."
    if error.errno == errno.EACCES and port < FIRST_PORT_FOR_ALL:
        return f"Port {port} is kept for root. Choose one from {FIRST_PORT_FOR_ALL} on: PORT={DEFAULT_PORT} make run"
    return f"The site cannot listen at {address}, port {port}: {error.strerror}. Choose another BIND or PORT."


def _bind_address() -> str:
    return os.environ.get("BIND") or "127.0.0.1"


def _supervise(*, port: int) -> int:
    supervisord = Path(sysconfig.get_path("scripts")) / "supervisord"
    # Its output is a pipe of ours: the programs' logs open it anew, which systemd's socket or another user's terminal
    # refuses. In a session of its own, since it takes a terminal's SIGHUP, also with `nohup`, for "start again".
    child = subprocess.Popen(
        [str(supervisord), "-n", "-c", str(BASE_DIR / "supervisord.conf")],
        cwd=BASE_DIR,
        env=_environment(port=port),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    copying = Thread(target=_copy, args=[child.stdout], daemon=True)
    copying.start()
    try:
        return _watch(child)
    except KeyboardInterrupt:
        # An impatient second Ctrl-C must not cut this short: it would leave the processes to themselves.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        child.terminate()
        child.wait(timeout=STOP_SECONDS)
        raise
    finally:
        if child.poll() is None:
            child.kill()
        copying.join(LAST_LINES_SECONDS)


def _environment(*, port: int) -> dict[str, str]:
    return {
        **os.environ,
        "PORT": str(port),
        "BIND": _bind_address(),
        "CBMIR_DATA_DIR": str(data_dir()),
        # supervisord splits its commands at spaces.
        "CBMIR_SCRIPTS": shlex.quote(sysconfig.get_path("scripts")),
        # Celery warns whoever is root at every start; supervisord wants to be told.
        "PYTHONWARNINGS": "ignore:::celery.platforms",
        "CBMIR_USER": pwd.getpwuid(os.getuid()).pw_name,
    }


def _copy(output: IO[bytes]) -> None:
    """Copy to our own output until the end. What it does not take is lost: the programs must not wait for it."""
    ours = select.poll()
    ours.register(STDOUT, select.POLLOUT)
    wait = OUTPUT_WAIT_MS
    # Where there is room at all, there is room for so many bytes.
    while lines := os.read(output.fileno(), select.PIPE_BUF):
        takes = ours.poll(wait)
        wait = OUTPUT_WAIT_MS if takes else 0
        # None: it was closed when Python started, and what has its number now is another file.
        if takes and sys.stdout is not None:
            with suppress(OSError):
                os.write(STDOUT, lines)


def _watch(child: "subprocess.Popen[bytes]") -> int:
    """Wait for the supervisor to end. It minds its processes; the embedded servers are minded here."""
    while True:
        try:
            return child.wait(timeout=WATCH_SECONDS)
        except subprocess.TimeoutExpired:
            _revive_servers()


def _revive_servers() -> None:
    try:
        revived = embedded.revive_servers()
    except Exception as error:
        # Whatever it is, the processes go on, and the next look may find it mended.
        say(f"A server has died and does not start again, trying on: {error}")
    else:
        for title in revived:
            say(f"{title} had died and was started again.")


if __name__ == "__main__":
    sys.exit(main())
