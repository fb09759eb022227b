"""First and second start of the whole site, as `make run` starts it, until /readyz answers 200.

    python -m benchmarks.start [--architecture published]

What the first start does once (tables, demo archive, model version) is told by the lines that it prints; packages are
installed already. The references: starting and stopping the two servers alone, and importing torch, which three of
the workers do.
"""

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.installation import Site, environment, running_site, temporary_folder, wait_for
from benchmarks.measuring import seconds_of
from benchmarks.report import Report
from cbmir_site.paths import BASE_DIR

TARGET_S = 20
_SAID = "cbmir: "


def main() -> None:
    options = _options()
    report = Report("start", options=options)
    folder = temporary_folder()
    settings = environment(folder, CBMIR_ARCHITECTURE=options.architecture)
    _measure_start(report, settings=settings, log=folder / "first.log", name="first start")
    _measure_start(report, settings=settings, log=folder / "second.log", name="second start", target=TARGET_S)
    _measure_references(report, settings=settings)
    report.note("Installed packages, weights: none (nothing is downloaded). /readyz waits one second for workers.")
    report.finish()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", choices=("published", "vgg16", "narrow"), default="published")
    return parser.parse_args()


def _measure_start(
    report: Report, *, settings: dict[str, str], log: Path, name: str, target: float | None = None
) -> None:
    started = time.perf_counter()
    with running_site(log=log, settings=settings) as site:
        said = _Listener(site, started=started)
        wait_for(site, path="/healthz")
        web = time.perf_counter() - started
        wait_for(site, path="/readyz")
        ready = time.perf_counter() - started
        lines = said.stop()
    report.add(f"{name} to /readyz 200", ready, unit="s", at_most=target)
    for what, seconds in _parts(lines, web=web, ready=ready).items():
        report.add(f"  {what}", seconds, unit="s")


class _Listener:
    """Notes when each line of the start appears in the site's log."""

    def __init__(self, site: Site, *, started: float) -> None:
        self._site, self._started = site, started
        self._lines: list[tuple[float, str]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def stop(self) -> list[tuple[float, str]]:
        self._end.set()
        self._thread.join()
        return self._lines

    def _listen(self) -> None:
        with self._site.log.open() as log:
            while not self._end.is_set():
                line = log.readline()
                if line.startswith(_SAID):
                    self._lines.append((time.perf_counter() - self._started, line.removeprefix(_SAID).strip()))
                elif not line:
                    time.sleep(0.01)


def _parts(lines: list[tuple[float, str]], *, web: float, ready: float) -> dict[str, float]:
    """Seconds from each line that begins a step to the next one."""
    begins = [(0.0, "servers, tables and static files")]
    begins += [(at, line.removesuffix(" ...")) for at, line in lines if line.endswith("...")]
    prepared = next(at for at, line in lines if line.startswith("The site answers"))
    begins += [(prepared, "web processes, until /healthz answers"), (web, "workers, until /readyz says 200")]
    ends = [at for at, _ in begins[1:]] + [ready]
    return {what: end - at for (at, what), end in zip(begins, ends, strict=True)}


def _measure_references(report: Report, *, settings: dict[str, str]) -> None:
    servers = _python("from cbmir_site import embedded; embedded.use_servers()", settings=settings)
    report.add("reference: starting and stopping both servers alone", seconds_of(servers), unit="s")
    report.add("reference: importing torch", seconds_of(_python("import torch", settings=settings)), unit="s")


def _python(code: str, *, settings: dict[str, str]) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", code], cwd=BASE_DIR, env=settings, check=True)


if __name__ == "__main__":
    main()
