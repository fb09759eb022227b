"""Run all benchmarks, or those that are named, one after another, each in a process of its own.

    python -m benchmarks [--list] [NAME ...]

Each prints a table and writes bench/NAME.json in the data folder. A missed target is said, not punished: the exit
status is 1 only when a benchmark did not come to its end. `python -m benchmarks.NAME --help` tells the options.
"""

import argparse
import signal
import subprocess
import sys
from types import FrameType
from typing import NamedTuple

from benchmarks.report import FOLDER
from cbmir_site.paths import BASE_DIR


class Benchmark(NamedTuple):
    description: str
    # What differs from its own defaults when all are run.
    arguments: tuple[str, ...] = ()


BENCHMARKS = {
    "search": Benchmark("exact search in the database, 5,400 rows, beside the memory's own speed"),
    "embedding": Benchmark("from pixels to embeddings, beside the bare forward pass"),
    "indexing": Benchmark("from previews to rows, beside the bare forward pass and a torchvision loop"),
    "import_files": Benchmark("importing PNG and CT files, beside decoding alone"),
    "training": Benchmark("one epoch of training, beside a plain float32 loop; peak memory"),
    # Memory does not grow with the archive: 2 GB say the same, later.
    "import_zip": Benchmark("memory of importing a zip archive", ("--megabytes", "400")),
    "import_many": Benchmark("memory and speed over an import of many files", ("--files", "5000")),
    "start": Benchmark("first and second start of the site"),
    "web": Benchmark("memory of the web processes after 200 requests"),
    "journey": Benchmark("from the chosen file to the finished gallery in a browser, archive of 5,400 images"),
}


def main() -> int:
    options = _options()
    if options.list:
        for name, benchmark in BENCHMARKS.items():
            print(f"{name:14s} {benchmark.description}")
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        crashed = [name for name in options.names or BENCHMARKS if _run(name)]
    except KeyboardInterrupt:
        print("Stopped.")
        return 130
    print(f"Reports are in {FOLDER}.")
    if crashed:
        print(f"Did not come to their end: {', '.join(crashed)}.")
    return 1 if crashed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, beside references.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks; all unless given")
    parser.add_argument("--list", action="store_true", help="name the benchmarks")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    return options


def _interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise KeyboardInterrupt


def _run(name: str) -> int:
    command = [sys.executable, "-m", f"benchmarks.{name}", *BENCHMARKS[name].arguments]
    # Ctrl-C is for us: a benchmark has a site and servers to stop, and is told to end once, not by two signals.
    child = subprocess.Popen(command, cwd=BASE_DIR, start_new_session=True)
    try:
        return child.wait()
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise


if __name__ == "__main__":
    sys.exit(main())
