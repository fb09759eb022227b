"""From the chosen file to the finished gallery, in a real browser, over an archive of 5,400 images.

    python -m benchmarks.journey [--images 5400] [--queries 30] [--architecture published]

The clock is the browser's own (`performance`): it starts just before the file is given to the page's input, and ends
with the load event of the gallery's page, which holds its thumbnails. Of it the rows in the database say decode, embed
and search; their sum is the reference: what the question costs without a site around it.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.installation import Site, manage, running_site, use_own_installation, wait_for
from benchmarks.measuring import median, p95
from benchmarks.pictures import save_png, write_class_folders, write_ct_slices
from benchmarks.report import Report
from benchmarks.visitor import login_of
from tests.browser_setup import chromium

TARGET_MS = 250
NEIGHBOURS = 20
# The first ones fetch style sheets and warm up the workers' connections.
WARM_UP = 3
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_NOW = "() => performance.timeOrigin + performance.now()"
_THUMBNAILS = "[...document.querySelectorAll('ol.gallery li[data-rank] img')]"
_GALLERY_COMPLETE = f"""count => {{
    const [page] = performance.getEntriesByType('navigation');
    const images = {_THUMBNAILS};
    return page.loadEventEnd > 0 && images.length === count && images.every(image => image.complete);
}}"""
# Milliseconds, all but the first since the page's time origin. The load event waits for every picture of the page.
_TIMES = """() => {
    const [page] = performance.getEntriesByType('navigation');
    return {origin: performance.timeOrigin, answered: page.responseStart, complete: page.loadEventEnd};
}"""


def main() -> None:
    options = _options()
    report = Report("journey", options=options)
    folder = use_own_installation(CBMIR_ARCHITECTURE=options.architecture)
    with running_site(log=folder / "site.log") as site:
        wait_for(site, path="/readyz")
        _fill(folder, images=options.images)
        questions = _questions(folder / "questions", count=WARM_UP + options.queries)
        with _browser_page(site, folder=folder) as page:
            asked = [_ask(page, site=site, file=file) for file in questions][WARM_UP:]
    for each in asked:
        each |= _row(each["path"])
    _add_figures(report, asked=asked)
    report.details["queries"] = asked
    report.finish()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5400, help="in the archive, those of the demo among them")
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--architecture", choices=("published", "vgg16", "narrow"), default="published")
    return parser.parse_args()


def _fill(folder: Path, *, images: int) -> None:
    """Import as many phantoms as are missing beside the demo archive, index all, and wait until the site is idle."""
    from django.db import connection

    from retrieval.models import IndexBatch, MedicalImage

    missing = images - MedicalImage.objects.count()
    if missing > 0:
        write_class_folders(folder / "more", count=missing)
        manage("import_dataset", folder / "more", "--name", "More phantoms")
    manage("index")
    while IndexBatch.objects.unfinished().exists():
        time.sleep(1)
    with connection.cursor() as cursor:
        # As autovacuum does it within a minute.
        cursor.execute("VACUUM ANALYZE")


def _questions(folder: Path, *, count: int) -> list[Path]:
    """New images, PNG and DICOM in turn."""
    from retrieval.demo.phantoms import CLASSES, draw_phantom

    slices = write_ct_slices(folder, count=count // 2, seed=7)
    labels = sorted(CLASSES)
    for number in range(count - len(slices)):
        path = folder / f"{number}.png"
        save_png(draw_phantom(labels[number % len(labels)], seed=10_000 + number), path=path)
    return sorted(folder.iterdir(), key=lambda path: (int(path.stem), path.suffix))


@contextmanager
def _browser_page(site: Site, *, folder: Path) -> Iterator[Page]:
    """A page in which the demo clinician is logged in."""
    login = login_of("clinician", folder=folder)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=_ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.goto(f"{site.url}/login/")
            page.fill("input[name=username]", login["username"])
            page.fill("input[name=password]", login["password"])
            page.press("input[name=password]", "Enter")
            page.wait_for_selector("form#ask")
            yield page
        finally:
            browser.close()


def _ask(page: Page, *, site: Site, file: Path) -> dict[str, Any]:
    """Milliseconds of one question and of its parts as the browser sees them."""
    page.goto(site.url)
    page.wait_for_load_state("networkidle")
    started = page.evaluate(_NOW)
    page.set_input_files("form#ask input[name=image]", file)
    page.wait_for_url("**/queries/*/", wait_until="load")
    page.wait_for_function(_GALLERY_COMPLETE, arg=NEIGHBOURS)
    times = page.evaluate(_TIMES)
    sending = times["origin"] - started
    return {
        "file": file.name,
        "path": page.url.removeprefix(site.url),
        "total": sending + times["complete"],
        "sending": sending,
        "waiting": times["answered"],
        "showing": times["complete"] - times["answered"],
    }


def _row(path: str) -> dict[str, float]:
    from retrieval.models import Query

    query = Query.objects.get(uuid=path.split("/")[2])
    return {"decode": query.decode_ms, "embed": query.embed_ms, "search": query.search_ms}


def _add_figures(report: Report, *, asked: list[dict[str, Any]]) -> None:
    def of(name: str, *, among: str = "") -> list[float]:
        return [each[name] for each in asked if each["file"].endswith(among)]

    total = median(of("total"))
    report.add("file given to gallery complete, median", total, unit="ms", at_most=TARGET_MS)
    report.add("file given to gallery complete, p95", p95(of("total")), unit="ms")
    for kind in (".png", ".dcm"):
        report.add(f"  {kind} alone, median", median(of("total", among=kind)), unit="ms")
    report.add("  until the browser turns to the answer's page, median", median(of("sending")), unit="ms")
    report.add("  until that page answers, median", median(of("waiting")), unit="ms")
    report.add("  until page and thumbnails are there, median", median(of("showing")), unit="ms")
    for name in ("decode", "embed", "search"):
        report.add(f"of it {name}, median", median(of(name)), unit="ms")
    work = median([each["decode"] + each["embed"] + each["search"] for each in asked])
    report.add("reference: decode, embed and search together, median", work, unit="ms")
    report.add("whole journey / decode, embed and search", total / work, unit="times")
    report.add("images in the archive", _embedded_images(), unit="images")
    report.note("Untrained network, as quick as one that learnt with its first block frozen.")
    report.note("PNG 256 x 256, CT 512 x 512 of 16 bits in turn.")


def _embedded_images() -> int:
    from retrieval.models import ModelVersion

    return ModelVersion.objects.get(status="active").embeddings.count()


if __name__ == "__main__":
    main()
