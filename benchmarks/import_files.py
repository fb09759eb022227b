"""Importing PNG and CT files by `manage.py import_dataset`, beside decoding the same files and nothing else.

    python -m benchmarks.import_files [--pngs 600] [--cts 300]

The reference is the bare loop: the same decoder in one process, without sandbox, database and files; and the same
times the number of processors, which is what an import could reach at most.
"""

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.installation import manage, use_own_installation
from benchmarks.measuring import seconds_of
from benchmarks.pictures import write_ct_slices, write_smooth_pngs
from benchmarks.report import Report

PNG_SIDE = 512
TARGETS = {"PNG": 60, "CT": 25}


def main() -> None:
    options = _options()
    report = Report("import_files", options=options)
    use_own_installation()
    with tempfile.TemporaryDirectory() as folder:
        pngs = write_smooth_pngs(Path(folder) / "pngs" / "smooth", count=options.pngs, side=PNG_SIDE)
        cts = write_ct_slices(Path(folder) / "cts" / "chest", count=options.cts)
        for kind, paths in {"PNG": pngs, "CT": cts}.items():
            _measure(report, kind=kind, paths=paths)
    report.note(f"PNG: {PNG_SIDE} x {PNG_SIDE}, grey. CT: 512 x 512, 16 bits allocated, uncompressed.")
    report.note("Files lie in the system's temporary folder, previews and originals are synced to disk as always.")
    report.finish()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pngs", type=int, default=600)
    parser.add_argument("--cts", type=int, default=300)
    return parser.parse_args()


def _measure(report: Report, *, kind: str, paths: list[Path]) -> None:
    imported = manage("import_dataset", paths[0].parent.parent, "--name", kind)
    if imported["accepted"] != len(paths):
        raise RuntimeError(f"{imported['accepted']} of {len(paths)} files were accepted: {imported['rejected'][:3]}")
    speed = len(paths) / imported["seconds"]
    report.add(f"import_dataset, {kind}", speed, unit="files/s", at_least=TARGETS[kind])
    alone = _decoding_speed(paths)
    report.add(f"reference: decoding alone, one process, {kind}", alone, unit="files/s")
    share = speed / (alone * (os.cpu_count() or 1))
    report.add(f"import / decoding alone on all processors, {kind}", share, unit="times")


def _decoding_speed(paths: list[Path]) -> float:
    """Files a second of the decoder as the sandbox runs it, in this process."""
    from retrieval.imaging import Limits
    from retrieval.imaging.decode import render_file

    few = paths[: max(20, len(paths) // 4)]
    limits = Limits()
    seconds = seconds_of(lambda: [list(render_file(path, limits=limits, frames="all")) for path in few])
    return len(few) / seconds


if __name__ == "__main__":
    main()
