"""The memory that importing a large zip takes: the command and its decoders together.

    python -m benchmarks.import_zip [--megabytes 2000]

Half of the archive are PNG files of pure noise (1 MB each, which no compression makes smaller), half are uncompressed
CT slices (0.5 MB each).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.installation import use_own_installation
from benchmarks.measuring import resident_bytes
from benchmarks.pictures import save_png, write_ct_slices
from benchmarks.report import Report
from cbmir_site.paths import BASE_DIR

MEGABYTE = 10**6
NOISE_SIDE = 1000
BATCH = 50
TARGET_MEGABYTES = 500
EVERY_SECONDS = 0.05


def main() -> None:
    options = _options()
    report = Report("import_zip", options=options)
    use_own_installation()
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive.zip"
        files = _write_zip(archive, size=options.megabytes * MEGABYTE)
        report.add("archive", archive.stat().st_size / MEGABYTE, unit="MB")
        _measure(report, archive=archive, files=files)
    report.finish()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=2000, help="size of the archive")
    return parser.parse_args()


def _write_zip(path: Path, *, size: int) -> int:
    """Return the number of files in it."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for batch in count():
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                for file in _write_batch(Path(folder), batch=batch, rng=rng):
                    archive.write(file, f"{file.suffix[1:]}/{batch}-{file.name}")
            if path.stat().st_size >= size:
                return len(archive.namelist())
    raise AssertionError("counting does not end")


def _write_batch(folder: Path, *, batch: int, rng: np.random.Generator) -> list[Path]:
    """Twice as many CT slices as PNG files, since those are twice as large."""
    pngs = [folder / f"{number}.png" for number in range(BATCH)]
    for path in pngs:
        save_png(rng.integers(0, 256, (NOISE_SIDE, NOISE_SIDE), dtype=np.uint8), path=path)
    return pngs + write_ct_slices(folder / "cts", count=2 * BATCH, seed=batch)


def _measure(report: Report, *, archive: Path, files: int) -> None:
    command = [sys.executable, str(BASE_DIR / "manage.py"), "import_dataset", str(archive), "--name", "zip", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    samples = list(resident_bytes(child.pid, every_seconds=EVERY_SECONDS))
    imported = json.loads(child.communicate()[0])
    if imported.get("accepted") != files:
        raise RuntimeError(f"Not all of the {files} files were accepted: {imported}")
    unit = "MB"
    report.add(
        "peak, command and decoders",
        max(each.total for each in samples) / MEGABYTE,
        unit=unit,
        at_most=TARGET_MEGABYTES,
    )
    report.add("peak, command alone", max(each.own for each in samples) / MEGABYTE, unit=unit)
    report.add("import_dataset", files / imported["seconds"], unit="files/s")
    report.add("import_dataset", archive.stat().st_size / MEGABYTE / imported["seconds"], unit="MB/s")
    report.note("Resident memory, added up over processes: pages that they share are counted more than once.")


if __name__ == "__main__":
    main()
