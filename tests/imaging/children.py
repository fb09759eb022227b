"""A look at decoding processes from outside, by /proc."""

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

from retrieval.imaging import Decoder
from tests.live_site import words


def pid_of(decoder: Decoder) -> int:
    """Start the decoder's process if need be, and return its number."""
    decoder.start()
    process = decoder._process
    assert process is not None
    return process.pid


def peak_of(decoder: Decoder) -> int:
    """The most bytes that were ever resident in the decoder's process (VmHWM); 0 when a file has just ended it."""
    process = decoder._process
    return 0 if process is None else peak_of_process(process.pid)


def peak_of_process(pid: int) -> int:
    """As peak_of; 0 too when it ends while we look."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(next((line.split()[1] for line in lines if line.startswith("VmHWM")), 0)) * 1024


def decoders_of_this_process() -> list[int]:
    """The numbers of all decoding processes that were started from here and live."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process().children()
        return [child.pid for child in children if "retrieval.imaging.child" in words(child)]
    return []


def is_gone(pid: int, *, within: float) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False
