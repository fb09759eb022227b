"""The decoding process: takes paths on standard input, answers on standard output (see sandbox.py).

It runs with hard limits on memory and on processor time, and with nothing of the parent's environment. Standard error
goes nowhere, since libraries print values found in files, and those can name a patient.
"""

import json
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from retrieval.imaging.errors import FileRefused
from retrieval.imaging.framing import write_message
from retrieval.imaging.limits import Limits

TOO_MUCH_MEMORY = (
    "Reading this file takes more memory than one file may use. Export it smaller, or without compression."
)
BROKEN = "The file is damaged in a way that stops the program that reads it. Export it again from where it came from."


def main() -> None:
    limits = Limits(**json.loads(sys.argv[1]))
    answers = _own_output()
    # What follows costs most of a second; it happens before the first file is asked for.
    from retrieval.imaging.answers import messages

    _limit_memory(limits)
    write_message(answers, {"kind": "ready"})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if not _answer(_timed(messages(request, limits=limits), seconds=request["seconds"]), answers=answers):
            # After a panic or without memory nothing in here can be trusted: the parent was told to start another.
            sys.exit(1)


def _own_output() -> BinaryIO:
    """Keep standard output for the answers alone: whatever a library prints goes nowhere."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return answers


def _limit_memory(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # It writes to its pipe and to nothing else.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _timed(work: Iterator[Any], *, seconds: float) -> Iterator[Any]:
    """Give each message its own processor time, so that an orphan ends even where nobody watches the clock."""
    while True:
        used = resource.getrusage(resource.RUSAGE_SELF)
        allowed = int(used.ru_utime + used.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.RLIM_INFINITY))
        try:
            message = next(work)
        except StopIteration:
            return
        yield message


def _answer(work: Iterator[Any], *, answers: BinaryIO) -> bool:
    """Write all that the work gives and how it ended; False when the process must not go on."""
    try:
        for header, parts in work:
            write_message(answers, header, *parts)
    except FileRefused as refused:
        write_message(answers, {"kind": "refused", "reason": refused.reason})
    except MemoryError:
        write_message(answers, {"kind": "refused", "reason": TOO_MUCH_MEMORY, "last": True})
        return False
    except BaseException:
        # A malformed RLE image ends in a panic of the Rust runtime, which is no Exception.
        write_message(answers, {"kind": "refused", "reason": BROKEN, "last": True})
        return False
    else:
        write_message(answers, {"kind": "end"})
    return True


if __name__ == "__main__":
    main()
