"""A look at decoding processes from outside, by /proc."""

import os
import time
from pathlib import Path

from retrieval.imaging import Decoder


def pid_of(decoder: Decoder) -> int:
    """Start the decoder's process if need be, and return its number."""
    decoder.start()
    process = decoder._process
    assert process is not None
    return process.pid


def peak_of(decoder: Decoder) -> int:
    """The most bytes that were ever resident in the decoder's process (VmHWM); 0 when a file has just ended it."""
    process = decoder._process
    if process is None:
        return 0
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


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
