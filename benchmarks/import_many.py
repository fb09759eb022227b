"""Whether an import of many files takes more memory, or longer for each, the further it comes.

    python -m benchmarks.import_many [--files 50000]

Small pictures of noise, all different, in one zip archive: what is done for each file once, decoding apart, is all
that there is to see.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from benchmarks.installation import use_own_installation
from benchmarks.measuring import resident_bytes
from benchmarks.pictures import save_png
from benchmarks.report import Report
from cbmir_site.paths import BASE_DIR

MEGABYTE = 10**6
SIDE = 32
EVERY_SECONDS = 0.5
MOST_GROWTH = 1.1
LEAST_SPEED = 0.9


def main() -> None:
    options = _options()
    report = Report("import_many", options=options)
    use_own_installation()
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "many.zip"
        _write_zip(archive, files=options.files)
        _measure(report, archive=archive, files=options.files)
    report.finish()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=50_000)
    return parser.parse_args()


def _write_zip(path: Path, *, files: int) -> None:
    rng = np.random.default_rng(0)
    picture = path.with_name("picture.png")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(files):
            save_png(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8), path=picture)
            archive.write(picture, f"noise/{number}.png")


def _measure(report: Report, *, archive: Path, files: int) -> None:
    command = [sys.executable, str(BASE_DIR / "manage.py"), "import_dataset", str(archive), "--name", "many", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    samples = list(resident_bytes(child.pid, every_seconds=EVERY_SECONDS))
    imported = json.loads(child.communicate()[0])
    if imported.get("accepted") != files:
        raise RuntimeError(f"Not all of the {files} files were accepted: {imported}")
    report.add("import_dataset", files / imported["seconds"], unit="files/s")
    report.add("peak, command and decoders", max(each.total for each in samples) / MEGABYTE, unit="MB")
    tenth = max(1, len(samples) // 10)
    before, after = (
        max(each.total for each in samples[part]) for part in (slice(tenth, 2 * tenth), slice(-tenth, None))
    )
    report.add("peak of the last tenth of the time / of the second", after / before, unit="times", at_most=MOST_GROWTH)
    report.add(
        "speed of the last tenth of the files / of the second", _lasting_speed(), unit="times", at_least=LEAST_SPEED
    )
    report.note("Resident memory, added up over processes: pages that they share are counted more than once.")


def _lasting_speed() -> float:
    from retrieval.models import MedicalImage

    stored = list(MedicalImage.objects.order_by("created_at").values_list("created_at", flat=True))
    tenth = len(stored) // 10
    return (stored[2 * tenth] - stored[tenth]) / (stored[-1] - stored[-1 - tenth])


if __name__ == "__main__":
    main()
