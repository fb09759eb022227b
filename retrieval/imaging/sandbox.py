"""Decoding in a process of its own, with limits: whatever a file does, it does it there."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self

from retrieval.imaging.errors import DecoderUnavailable, FileRefused
from retrieval.imaging.framing import BrokenMessage, read_message
from retrieval.imaging.limits import Limits
from retrieval.imaging.pixel_words import Words
from retrieval.imaging.rendering import Rendering
from retrieval.imaging.stored_form import Span, StoredForm

_CODE = Path(__file__).resolve().parents[2]
# Starting Python and importing NumPy, Pillow and pydicom, on a machine that is busy.
_START_SECONDS = 60.0
_CHUNK = 2**20
_CRASHED = "The file is damaged in a way that stops the program that reads it. Export it again from where it came from."
_TOO_SLOW = "Reading this file takes longer than {seconds:.0f} seconds, the most that one picture may take."


class _Died(Exception):
    """The decoding process is gone."""


class _TooSlow(Exception):
    """The decoding process has not answered in time."""


class Decoder:
    """A decoding process, started at its first use and again after every death. Not for two threads at once."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process now, so that the first file does not wait for it. Raises DecoderUnavailable."""
        self._running()

    def render(self, path: Path, *, frames: Literal["all", "middle"] = "all") -> Iterator[Rendering]:
        """Yield the frames of a file as they are decoded.

        Raises FileRefused, also midway: the file is bad, took too long or too much memory, or killed its decoder.
        Raises DecoderUnavailable before the file is looked at.
        """
        request = {"path": str(path.resolve()), "wanted": "render", "frames": frames}
        for fields, parts in self._answers(request, seconds=self.limits.seconds):
            yield _rendering(fields, parts)

    def clean(self, path: Path, *, uid_key: str) -> StoredForm:
        """Return the form to store of a file that was rendered: without anything that could say whose it is.

        UIDs are mapped under `uid_key`. Raises FileRefused and DecoderUnavailable, as render does.
        """
        request = {"path": str(path.resolve()), "wanted": "clean", "uid_key": uid_key}
        seconds = self.limits.cleaning_seconds(file_bytes=path.stat().st_size)
        [(fields, parts)] = self._answers(request, seconds=seconds)
        literal = iter(parts)
        return StoredForm(path=path, pieces=[_span(*span) if span else next(literal) for span in fields["spans"]])

    def _answers(self, request: dict[str, str], *, seconds: float) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
        """Yield the answers, each of which may take so long."""
        process = self._running()
        finished = False
        try:
            _ask(process, {**request, "seconds": seconds})
            while (answer := self._receive(process, seconds=seconds))[0]["kind"] in ("rendering", "cleaned"):
                yield answer
            # A process that says that it ends may still be there when the next file comes.
            finished = not answer[0].get("last")
            if answer[0]["kind"] == "refused":
                raise FileRefused(answer[0]["reason"])
        except (_Died, BrokenMessage) as death:
            raise FileRefused(_CRASHED) from death
        except _TooSlow as slow:
            raise FileRefused(_TOO_SLOW.format(seconds=seconds)) from slow
        finally:
            # Left midway, the pipe still holds frames of this file.
            if not finished:
                self.close()

    def close(self) -> None:
        """End the process. The next file starts another."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()

    def _running(self) -> subprocess.Popen[bytes]:
        alive = self._process is not None and self._owner == os.getpid() and self._process.poll() is None
        if not alive:
            self.close()
            self._process, self._owner = _start(self.limits), os.getpid()
            try:
                self._receive(self._process, seconds=_START_SECONDS)
            except (_Died, _TooSlow, BrokenMessage) as error:
                self.close()
                raise DecoderUnavailable from error
        assert self._process is not None  # noqa: S101 - for the type checker
        return self._process

    def _receive(self, process: subprocess.Popen[bytes], *, seconds: float) -> tuple[dict[str, Any], list[bytes]]:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        deadline, pipe = time.monotonic() + seconds, process.stdout.fileno()
        return read_message(lambda length: _read(pipe, length=length, deadline=deadline))


def _start(limits: Limits) -> subprocess.Popen[bytes]:
    # Nothing of our environment: it holds the database's address and the site's keys.
    environment = {
        "PYTHONPATH": str(_CODE),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "retrieval.imaging.child", json.dumps(asdict(limits))],
        cwd=_CODE,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        # Ctrl-C in a terminal is for the parent, which ends its decoder itself.
        start_new_session=True,
    )


def _ask(process: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
    assert process.stdin is not None  # noqa: S101 - for the type checker
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
    except OSError as error:
        raise _Died from error


def _read(pipe: int, *, length: int, deadline: float) -> bytes:
    """Exactly `length` bytes. Raises _TooSlow after the deadline, _Died at the end of the pipe."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    parts: list[bytes] = []
    while length:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise _TooSlow
        part = os.read(pipe, min(length, _CHUNK))
        if not part:
            raise _Died
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _span(offset: int, length: int, words: list[Any] | None) -> Span:
    return Span(offset, length, Words(*words) if words else None)


def _rendering(fields: dict[str, Any], parts: list[bytes]) -> Rendering:
    values = {name: value for name, value in fields.items() if name != "kind"}
    return Rendering(preview=parts[0], thumbnail=parts[1], **values)
