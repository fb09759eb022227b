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

from benchmarks.report import FOLDER
from cbmir_site.paths import BASE_DIR

# The quiet ones first: what a benchmark leaves behind in caches is the next one's luck.
BENCHMARKS = {
    "search": "exact search in the database, 5,400 rows, beside the memory's own speed",
    "embedding": "from pixels to embeddings, beside the bare forward pass",
    "indexing": "the whole way from previews to rows, beside the bare forward pass and a torchvision loop",
    "import_files": "importing PNG and CT files, beside decoding alone",
    "start": "first and second start of the site",
    "web": "memory of the web processes after 200 requests",
    "journey": "from the dropped file to the finished gallery, in a browser, archive of 5,400 images",
}


def main() -> int:
    options = _options()
    if options.list:
        for name, description in BENCHMARKS.items():
            print(f"{name:14s} {description}")
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    crashed = [name for name in options.names or BENCHMARKS if _run(name)]
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
    child = subprocess.Popen([sys.executable, "-m", f"benchmarks.{name}"], cwd=BASE_DIR)
    try:
        return child.wait()
    except BaseException:
        # It has a site and servers to stop: asked to end, and waited for.
        child.terminate()
        child.wait()
        raise


if __name__ == "__main__":
    sys.exit(main())
