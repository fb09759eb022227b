"""Memory of the web processes after 200 requests, and whether torch has found its way into them.

    python -m benchmarks.web [--requests 200]

The pages are those that clinicians and administrators open, asked for by eight threads at once. The reference is a
process that has set up this site's Django and serves nothing.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import psutil

from benchmarks.installation import Site, running_site, use_own_installation, wait_for
from benchmarks.pictures import write_smooth_pngs
from benchmarks.report import Report
from benchmarks.visitor import Visitor, login_of
from cbmir_site.paths import BASE_DIR

TARGET_MB = 250
_THREADS = 8
_ASKED = 8
_BARE = (
    "import django, psutil; django.setup(); import cbmir_site.wsgi, cbmir_site.urls;"
    "print(psutil.Process().memory_info().rss)"
)


def main() -> None:
    options = _options()
    report = Report("web", options=options)
    # The network is none of the web process's business: the narrow one is made fastest.
    folder = use_own_installation(CBMIR_ARCHITECTURE="narrow")
    with running_site(log=folder / "site.log") as site:
        wait_for(site, path="/readyz")
        _add_memory(report, processes=_web_processes(site), when="before")
        refused = _visit(site, folder=folder, count=options.requests)
        processes = _web_processes(site)
        _add_memory(report, processes=processes, when=f"after {options.requests} requests", target=TARGET_MB)
        with_torch = [name for name, process in processes.items() if _has_mapped(process, library="torch")]
        report.add("processes that have torch mapped", len(with_torch), unit="processes", at_most=0)
    report.add("answers other than 200", len(refused), unit="answers", at_most=0)
    report.details["refused"] = sorted(set(refused))
    report.add("reference: Django set up, serving nothing, RSS", _bare_megabytes(), unit="MB")
    report.finish()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=200)
    return parser.parse_args()


def _web_processes(site: Site) -> dict[str, psutil.Process]:
    """The master and the workers of gunicorn, by name."""
    found = [each for each in site.process.children(recursive=True) if any("gunicorn" in w for w in each.cmdline())]
    pids = {each.pid for each in found}
    workers = [each for each in found if each.ppid() in pids]
    named = {f"worker {number}": each for number, each in enumerate(workers, start=1)}
    return {"master": next(each for each in found if each.ppid() not in pids)} | named


def _add_memory(
    report: Report, *, processes: dict[str, psutil.Process], when: str, target: float | None = None
) -> None:
    """RSS counts shared pages in every process, PSS their share, USS not at all."""
    for name, process in processes.items():
        memory = process.memory_full_info()
        limit = None if name == "master" else target
        report.add(f"{name}, {when}, RSS", memory.rss / 1e6, unit="MB", at_most=limit)
        report.add(f"{name}, {when}, PSS", memory.pss / 1e6, unit="MB")
        report.add(f"{name}, {when}, USS", memory.uss / 1e6, unit="MB")


def _has_mapped(process: psutil.Process, *, library: str) -> bool:
    return any(library in Path(mapped.path).name for mapped in process.memory_maps())


def _visit(site: Site, *, folder: Path, count: int) -> list[str]:
    """Make `count` requests, some of them uploads, and return what was not answered with 200."""
    clinician = Visitor(site.url, login=login_of("clinician", folder=folder))
    admin = Visitor(site.url, login=login_of("admin", folder=folder))
    galleries = [clinician.ask(path) for path in write_smooth_pngs(folder / "asked", count=_ASKED, side=512)]
    pages = [(clinician, path) for path in (*_clinician_pages(), *galleries)]
    pages += [(admin, path) for path in ("/admin/", "/training/", *_admin_lists())]
    with ThreadPoolExecutor(_THREADS) as pool:
        requests = [page for page, _ in zip(cycle(pages), range(count - _ASKED), strict=False)]
        statuses = list(pool.map(lambda page: page[0].status(page[1]), requests))
    asked = zip(requests, statuses, strict=True)
    return [f"{status} {path}" for (_, path), status in asked if status != 200]


def _clinician_pages() -> Iterator[str]:
    from retrieval.models import Dataset, MedicalImage

    yield from ("/", "/queries/", "/datasets/", "/healthz")
    yield from (dataset.get_absolute_url() for dataset in Dataset.objects.all())
    for image in MedicalImage.objects.order_by("?")[:20]:
        page = image.get_absolute_url()
        yield from (page, f"{page}preview.png", f"{page}thumbnail.jpg")


def _admin_lists() -> Iterator[str]:
    """The list of every model that the admin site shows."""
    from django.contrib import admin
    from django.urls import reverse

    for model in admin.site._registry:
        yield reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def _bare_megabytes() -> float:
    done = subprocess.run([sys.executable, "-c", _BARE], cwd=BASE_DIR, stdout=subprocess.PIPE, check=True, text=True)
    return int(done.stdout) / 1e6


if __name__ == "__main__":
    main()
