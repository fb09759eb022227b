"""Clocks, medians, and what the machine itself can do."""

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import psutil


def seconds_of(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def interleaved(runs: dict[str, Callable[[], object]], *, rounds: int = 3) -> dict[str, float]:
    """Median seconds of each, one after the other in every round, so that a busy moment meets all alike."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            taken[name].append(seconds_of(run))
    return {name: median(each) for name, each in taken.items()}


def peak_memory() -> float:
    """Bytes that this process had resident at most."""
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def median(values: Sequence[float]) -> float:
    return float(np.median(values))


def p95(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95))


def memory_bandwidth() -> float:
    """Bytes a second that one thread copies, each counted as it is read and as it is written; the best of six."""
    source = np.ones(2**28, dtype=np.uint8)
    target = np.empty_like(source)
    return 2 * source.nbytes / min(seconds_of(lambda: np.copyto(target, source)) for _ in range(6))


class Resident(NamedTuple):
    """Bytes of a process, and with its descendants, at one moment. Pages that they share are counted more than once."""

    own: int
    total: int


def resident_bytes(pid: int, *, every_seconds: float) -> Iterator[Resident]:
    """Until the process ends."""
    process = psutil.Process(pid)
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        own = _resident(process)
        yield Resident(own=own, total=own + sum(map(_resident, process.children(recursive=True))))
        time.sleep(every_seconds)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
