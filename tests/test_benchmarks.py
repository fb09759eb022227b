"""The benchmarks can be named and run, and a report says plainly which target was missed."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.report import Report
from cbmir_site.paths import BASE_DIR


def _run(*words: str, data: Path) -> str:
    """Standard output of `python -m ...` with its data and temporary files under `data`."""
    settings = os.environ | {"CBMIR_DATA_DIR": str(data), "TMPDIR": str(data)}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=BASE_DIR, env=settings, stdout=subprocess.PIPE, check=True, text=True).stdout


def test_list_names_every_module_that_measures(tmp_path: Path) -> None:
    listed = [line.split()[0] for line in _run("benchmarks", "--list", data=tmp_path).splitlines()]
    measuring = [path.stem for path in (BASE_DIR / "benchmarks").glob("*.py") if "def main()" in path.read_text()]
    assert sorted(listed) == sorted(set(measuring) - {"__main__"})
    assert listed == list(BENCHMARKS)


@pytest.mark.parametrize(
    ("target", "is_met", "said"),
    [
        ({"at_most": 10}, False, "at most 10: MISSED"),
        ({"at_most": 12}, True, "at most 12: met"),
        ({"at_least": 13}, False, "at least 13: MISSED"),
        ({"at_least": 12}, True, "at least 12: met"),
    ],
)
def test_report_says_whether_a_target_was_missed(target: dict[str, float], *, is_met: bool, said: str) -> None:
    report = Report("example", options=argparse.Namespace())
    report.add("time", 12.0, unit="ms", **target)
    report.add("size", 3.0, unit="MB")
    measured, untargeted = report.as_dict()["figures"]
    assert measured["met"] is is_met
    assert "met" not in untargeted
    assert [line for line in report.table().splitlines() if said in line]


def test_benchmark_leaves_its_report_and_nothing_else() -> None:
    """Its servers' sockets need a short path, which pytest's own folders do not have."""
    folder = Path(os.environ["CBMIR_DATA_DIR"]) / "benchmarked"
    folder.mkdir(mode=0o755)
    printed = _run("benchmarks.search", "--rows", "400", "--queries", "3", data=folder)
    # The package that brings PostgreSQL keeps a lock file among the temporary ones.
    assert {path.name for path in folder.iterdir()} - {".lockfile"} == {"bench"}
    [written] = (folder / "bench").iterdir()
    report = json.loads(written.read_text())
    assert report["benchmark"] == written.stem == "search"
    assert report["options"] == {"rows": 400, "queries": 3}
    for figure in report["figures"]:
        assert figure["name"] in printed
        assert figure["value"] > 0
