"""Browsers that vanish in the middle of a form, with the real web server: their threads are free again."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.live_site import ROOT, free_port, wait_until

# Without a cookie the form would be refused unread.
HALF_A_FORM = (
    "Content-Type: application/x-www-form-urlencoded\r\n"
    f"Cookie: csrftoken={'a' * 32}\r\n"
    "Content-Length: 1000\r\n\r\nusername="
)
# The command of supervisord.conf with a single thread, and less patience.
START = """
import django
django.setup()
from cbmir_site import middleware
middleware.SILENCE_SECONDS = 1
from gunicorn.app.wsgiapp import run
run()
"""


@pytest.fixture
def port() -> Iterator[int]:
    """Where a gunicorn with one thread answers."""
    port = free_port()
    words = f"cbmir_site.wsgi --bind 127.0.0.1:{port} --worker-class gthread --threads 1 --no-control-socket".split()
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "cbmir_site.settings"}
    process = subprocess.Popen([sys.executable, "-c", START, *words], cwd=ROOT, env=environment)
    try:
        wait_until(lambda: _answers(port), seconds=30, what="gunicorn answers")
        yield port
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _status(client: HTTPConnection) -> int:
    """Ask for the probe of life, and leave the connection open."""
    client.request("GET", "/healthz")
    answer = client.getresponse()
    answer.read()
    return answer.status


def test_a_browser_that_vanishes_holds_no_thread(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(f"POST /login/ HTTP/1.1\r\nHost: localhost\r\n{HALF_A_FORM}".encode())
        client = HTTPConnection("127.0.0.1", port, timeout=20)
        assert _status(client) == 200
        kept = client.sock
        # The limit is one of bodies: a connection that is kept open may be silent for longer.
        time.sleep(1.2)
        assert _status(client) == 200
        assert client.sock is kept
        client.close()
