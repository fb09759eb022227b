"""A dataset is checked in the browser, what was found is excluded by keyboard, and brought back."""

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from tests.live_site import LiveSite, wait_until
from tests.pictures import drawn_pixels

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]
STANDINGS = """SELECT standing, count(*) FROM retrieval_medicalimage i JOIN retrieval_dataset d ON d.id = i.dataset_id
WHERE d.name = 'Doubtful' GROUP BY standing ORDER BY standing"""
CHANGES = """SELECT c.old, c.new, u.username FROM retrieval_imagechange c JOIN auth_user u ON u.id = c.changed_by_id
JOIN retrieval_medicalimage i ON i.id = c.image_id JOIN retrieval_dataset d ON d.id = i.dataset_id
WHERE d.name = 'Doubtful' ORDER BY c.id"""

# As a worker that has just begun leaves it.
AGAIN = """INSERT INTO retrieval_qualitycheck
(status, attempts, queued_at, lease_expires_at, cancel_requested, reason, done, images, compared, dataset_id)
SELECT 'running', 1, now(), now() + interval '1 day', false, '', 0, 0, 0, id
FROM retrieval_dataset WHERE name = 'Doubtful'"""


@pytest.fixture
def doubtful(site: LiveSite, tmp_path: Path) -> None:
    """A dataset of twelve images, one of which is there a second time under another label, in another file."""
    for number in range(12):
        for label in ("left", "right") if number == 0 else (("left", "right")[number % 2],):
            path = tmp_path / "Doubtful" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn_pixels(7000 + number)).save(path, compress_level=1 if label == "left" else 9)
    site.manage("import_dataset", tmp_path / "Doubtful", "--name", "Doubtful")


def assert_accessible(page: Page) -> None:
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
    assert found.violations_count == 0, found.generate_report()


def _expect_the_tick_survives_the_next_check(site: LiveSite, page: Page) -> None:
    site.query(AGAIN)
    page.reload()
    expect(page.locator("#quality-state")).to_contain_text("Reading the embeddings.")
    page.get_by_role("checkbox").nth(1).check()
    # It ends without findings of its own: those that are listed stay.
    site.query("UPDATE retrieval_qualitycheck SET status = 'cancelled', finished_at = now() WHERE status = 'running'")
    expect(page.get_by_role("alert")).to_contain_text("The check is finished.", timeout=15_000)
    expect(page.locator("#ticked")).to_have_text("1 selected")


def test_a_copy_is_found_excluded_and_brought_back(site: LiveSite, open_page: OpenPage, doubtful: None) -> None:
    page = open_page("staff")
    page.goto("/datasets/?q=Doubtful")
    page.get_by_role("link", name="Doubtful").click()
    page.get_by_role("link", name="Data quality").click()
    sizes = page.locator("#sizes canvas").evaluate("canvas => Chart.getChart(canvas).data.datasets[0].data")
    assert [(each["x"], each["y"]) for each in sizes if each["y"]] == [("up to 512", 13)]
    page.get_by_role("button", name="Check this dataset").click()
    expect(page.locator("#quality-state")).to_contain_text("Checked", timeout=60_000)
    expect(page.locator(".finding")).to_contain_text("The same pixels, two labels.")
    assert_accessible(page)
    page.get_by_role("checkbox").nth(1).focus()
    page.keyboard.press("Space")
    expect(page.locator("#ticked")).to_have_text("1 selected")
    page.get_by_role("button", name="Relabel selected").click()
    message = page.locator("#label").evaluate("label => label.validationMessage")
    assert message == "Type the label that the ticked images shall have."
    _expect_the_tick_survives_the_next_check(site, page)
    page.get_by_role("button", name="Exclude selected").press("Enter")
    expect(page.get_by_role("main")).to_contain_text("1 image is excluded")
    assert site.query(STANDINGS) == [("excluded", 1), ("shown", 12)]
    page.get_by_role("button", name="Undo").first.press("Enter")
    expect(page.get_by_role("main")).to_contain_text("Undone: 1 image is as before.")
    expect(page.locator(".finding")).to_have_count(1)
    assert site.query(STANDINGS) == [("shown", 13)]
    staff = site.logins["staff"]["username"]
    assert site.query(CHANGES) == [("shown", "excluded", staff), ("excluded", "shown", staff)]
    assert_accessible(page)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wait_until(lambda: site.manage("check_archive")["ok"], seconds=60, what="the archive is whole")
