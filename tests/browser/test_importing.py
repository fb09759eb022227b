"""Importing and deleting in a browser: watched live, cancelled, and deleted by its name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.live_site import LiveSite, wait_until
from tests.pictures import drawn_pixels, png

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]
Rows = dict[str, int]

# One import as a worker does it, and one in the middle of its work that no worker takes away.
MAKE = """
import json
from datetime import timedelta
from pathlib import Path
from django.utils import timezone
from retrieval.models import Dataset, ImportJob
from retrieval.services.importing import create_import_job
dataset = Dataset.objects.create(name="Ward 7")
real = create_import_job(dataset=dataset, source=Path({path!r}))
now = timezone.now()
running = ImportJob.objects.create(
    dataset=dataset, source_path="somewhere", status="running", attempts=1, started_at=now - timedelta(seconds=10),
    lease_expires_at=now + timedelta(days=1), done=50, accepted=30, duplicates=15, total=200,
)
print(json.dumps({{"dataset": dataset.pk, "real": real.pk, "running": running.pk}}))
"""
STATUS = "SELECT status FROM retrieval_importjob WHERE id = %s"
LOSE_EMBEDDING = """
DELETE FROM retrieval_embedding WHERE id = (SELECT max(id) FROM retrieval_embedding) RETURNING image_id
"""
EMBEDDED = "SELECT count(*) FROM retrieval_embedding WHERE image_id = %s"
CANCELLED = """
UPDATE retrieval_importjob SET status = 'cancelled', finished_at = now(), embedding_due = true WHERE id = %s
"""


@pytest.fixture(scope="module")
def rows(site: LiveSite, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Primary keys: of `dataset`, of `real`, an import of 5 pictures and 60 files that are none, a file that is skipped
    and a manifest that matches nothing, and of `running`."""
    folder: Path = tmp_path_factory.mktemp("sent") / "chest"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(png(drawn_pixels(7000 + number)))
    for number in range(60):
        (folder / f"note {number:02}.txt").write_bytes(b"no image %d" % number)
    (folder / ".DS_Store").write_bytes(b"left behind")
    (folder.parent / "manifest.csv").write_text("file,class\nmissing.png,chest\n")
    made: Rows = json.loads(site.shell(MAKE.format(path=str(folder.parent))))
    wait_until(lambda: site.value(STATUS, (made["real"],)) == "done", seconds=60, what="the import has ended")
    return made


def _pages(rows: Rows) -> list[str]:
    real, running, dataset = (
        f"/imports/{rows['real']}/",
        f"/imports/{rows['running']}/",
        f"/datasets/{rows['dataset']}/",
    )
    return [
        real,
        f"{real}?show=stored",
        f"{real}?show=skipped",
        running,
        f"{running}cancel/",
        dataset,
        f"{dataset}delete/",
    ]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_no_page_of_importing_fails_the_accessibility_rules(open_page: OpenPage, rows: Rows, theme: str) -> None:
    page = open_page("admin", theme=theme)
    for address in _pages(rows):
        page.goto(address)
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
        assert found.violations_count == 0, f"{address}\n{found.generate_report()}"


def test_a_phone_scrolls_importing_in_one_direction(open_page: OpenPage, rows: Rows) -> None:
    page = open_page("admin", width=390, height=844)
    for address in _pages(rows):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, address


def test_from_a_dataset_to_the_refused_files_and_their_report(open_page: OpenPage, rows: Rows) -> None:
    page = open_page("staff")
    page.goto(f"/datasets/{rows['dataset']}/")
    page.locator(f"a[href='/imports/{rows['real']}/']").click()
    expect(page.get_by_role("listitem").filter(has_text="1 row of manifest.csv names no file")).to_be_visible()
    files = page.locator(".files-table tbody tr")
    expect(files).to_have_count(50)
    page.get_by_role("link", name="Next").click()
    expect(files).to_have_count(10)
    page.get_by_role("link", name="Stored 5").click()
    expect(files).to_have_count(5)
    expect(files.locator("img")).to_have_count(5)
    page.get_by_role("link", name="Skipped 1").click()
    expect(files).to_have_text(["chest/.DS_Store An operating system leaves this behind: it is no image."])
    with page.expect_download() as download:
        page.get_by_role("link", name="Report as CSV").click()
    assert download.value.suggested_filename == f"import-{rows['real']}.csv"
    assert len(Path(download.value.path()).read_text().splitlines()) == 69


def test_an_import_is_watched_and_cancelled(open_page: OpenPage, site: LiveSite, rows: Rows) -> None:
    page, job = open_page("staff"), rows["running"]
    page.goto(f"/imports/{job}/")
    state = page.locator("#import-state")
    expect(state).to_contain_text("50 of 200 files")
    page.evaluate("window.isTheSame = true")
    site.query("UPDATE retrieval_importjob SET done = 120, accepted = 100 WHERE id = %s", (job,))
    expect(state).to_contain_text("120 of 200 files", timeout=15_000)
    expect(state).to_contain_text("100 stored, 15 duplicates, 5 refused so far")
    assert page.evaluate("window.isTheSame") is True
    page.reload()
    expect(state).to_contain_text("120 of 200 files")
    page.get_by_role("link", name="Cancel …").click()
    page.get_by_role("button", name="Cancel the import").click()
    expect(state).to_contain_text("It is being cancelled")
    assert site.value("SELECT cancel_requested FROM retrieval_importjob WHERE id = %s", (job,)) is True
    lost = site.value(LOSE_EMBEDDING)
    # What the worker then does.
    site.query(CANCELLED, (job,))
    expect(state).to_contain_text("The import was cancelled.", timeout=15_000)
    expect(page.locator("#import-state[hx-get]")).to_have_count(0)
    expect(page.get_by_text("is no longer on the server")).to_be_visible()
    wait_until(lambda: site.value(EMBEDDED, (lost,)) == 1, seconds=60, what="what it stored is embedded")


def test_a_dataset_is_deleted_by_its_name(open_page: OpenPage, site: LiveSite, rows: Rows) -> None:
    """The last test of this file: the archive is as it was before."""
    site.query("UPDATE retrieval_importjob SET status = 'cancelled' WHERE id = %s", (rows["running"],))
    page = open_page("admin")
    page.goto(f"/admin/retrieval/dataset/{rows['dataset']}/change/")
    page.get_by_role("link", name="Delete dataset").click()
    name, button = page.get_by_label("Type the dataset's name"), page.get_by_role("button", name="Delete this dataset")
    name.fill("Ward 8")
    button.click()
    expect(page.locator("#wrong")).to_have_text("That is not its name. Nothing was deleted.")
    name.fill("Ward 7")
    button.click()
    expect(page.get_by_text("The dataset is deleted, with 5 images")).to_be_visible(timeout=20_000)
    assert site.query("SELECT 1 FROM retrieval_dataset WHERE name = 'Ward 7'") == []
    assert site.manage("check_archive")["orphan_files"] == []
