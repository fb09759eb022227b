"""Reviewing in a browser: what may show a name is looked at, by keyboard, before a clinician can see or find it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import expect_picture
from tests.imaging.files import dicom, ramp
from tests.live_site import LiveSite, wait_until

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]

IMPORT = """
import json
from pathlib import Path
from retrieval.models import Dataset
from retrieval.services.importing import create_import_job
dataset = Dataset.objects.create(name="Ultrasound 3")
job = create_import_job(dataset=dataset, source=Path({path!r}))
print(json.dumps({{"dataset": dataset.pk, "job": job.pk}}))
"""
REMOVE = """
from retrieval.models import Dataset
from retrieval.services.deleting import request_deletion
request_deletion(dataset=Dataset.objects.get(pk={pk}), user=None)
"""
STATUS = "SELECT status FROM retrieval_importjob WHERE id = %s"
STANDINGS = "SELECT standing FROM retrieval_medicalimage WHERE dataset_id = %s ORDER BY id"
MISSING = """
SELECT count(*) FROM retrieval_medicalimage WHERE standing = 'shown'
AND id NOT IN (SELECT image_id FROM retrieval_embedding)
"""


@pytest.fixture
def ward(site: LiveSite, tmp_path: Path) -> Iterator[int]:
    """The primary key of a dataset of five ultrasound pictures, gone afterwards."""
    folder = tmp_path / "us"
    folder.mkdir()
    for number in range(5):
        pixels = ramp(rows=300, columns=400, low=number * 9)
        (folder / f"{number}.dcm").write_bytes(dicom(pixels, Modality="US", SOPInstanceUID=f"1.2.{number}"))
    made = json.loads(site.shell(IMPORT.format(path=str(folder))))
    wait_until(lambda: site.value(STATUS, (made["job"],)) == "done", seconds=60, what="the import has ended")
    yield made["dataset"]
    site.shell(REMOVE.format(pk=made["dataset"]))
    gone = "SELECT count(*) FROM retrieval_dataset WHERE id = %s"
    wait_until(lambda: site.value(gone, (made["dataset"],)) == 0, seconds=60, what="the dataset is gone")


def test_by_keyboard_to_what_clinicians_see(open_page: OpenPage, site: LiveSite, ward: int) -> None:
    page, reader = open_page("staff"), open_page("clinician")
    reader.goto(f"/datasets/{ward}/")
    expect(reader.get_by_text("This dataset holds no images yet.")).to_be_visible()
    page.goto("/datasets/")
    expect(page.get_by_role("link", name="Review 5 wait")).to_be_visible()
    page.goto(f"/datasets/{ward}/")
    page.get_by_role("link", name="Review them").click()
    cards = page.locator(".review-card")
    expect(cards).to_have_count(5)
    expect_picture(cards.first.locator("img"))
    # At least as large as it is stored: what is drawn into it can be read.
    assert cards.first.locator("img").evaluate("image => image.clientWidth") >= 400

    page.keyboard.press("j")
    expect(cards.nth(1)).to_be_focused()
    page.keyboard.press("r")
    expect(page.locator("#decided")).to_contain_text("1 image is shown from now on.")
    # The third one has come to the place of the second.
    expect(cards).to_have_count(4)
    expect(cards.nth(1)).to_be_focused()
    page.keyboard.press("x")
    expect(page.locator("#decided")).to_contain_text("1 image is taken out of the archive")
    assert [row[0] for row in site.query(STANDINGS, (ward,))] == ["held", "shown", "excluded", "held", "held"]
    page.get_by_role("button", name="Undo").click()
    expect(cards).to_have_count(4)

    page.keyboard.press("t")
    page.keyboard.press("j")
    page.keyboard.press("t")
    page.get_by_role("button", name="Release ticked").click()
    expect(page.locator("#decided")).to_contain_text("2 images are shown from now on.")
    page.get_by_role("button", name="Tick all on this page").click()
    page.get_by_role("button", name="Exclude ticked").click()
    expect(page.get_by_text("No image waits in this dataset.")).to_be_visible()
    assert sorted(row[0] for row in site.query(STANDINGS, (ward,))) == ["excluded"] * 2 + ["shown"] * 3
    wait_until(lambda: site.value(MISSING) == 0, seconds=60, what="what was released is embedded")
    reader.reload()
    expect(reader.locator(".grid li")).to_have_count(3)
    expect(reader.get_by_text("3 of them can be found")).to_be_visible()


def test_a_letter_decides_about_nothing_that_is_not_looked_at(open_page: OpenPage, site: LiveSite, ward: int) -> None:
    # One image beside no other.
    page = open_page("staff", width=900)
    page.goto(f"/review/?dataset={ward}")
    cards = page.locator(".review-card")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.keyboard.press("r")
    expect(cards.last).to_be_focused()
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.press("x")
    expect(cards.first).to_be_focused()
    assert [row[0] for row in site.query(STANDINGS, (ward,))] == ["held"] * 5
    page.keyboard.press("x")
    expect(page.locator("#decided")).to_contain_text("1 image is taken out of the archive")
    assert [row[0] for row in site.query(STANDINGS, (ward,))] == ["excluded"] + ["held"] * 4


def test_enter_in_the_note_decides_nothing(open_page: OpenPage, site: LiveSite, ward: int) -> None:
    page = open_page("staff")
    page.goto(f"/review/?dataset={ward}")
    page.goto(page.locator(".review-card a").first.get_attribute("href") or "")
    page.get_by_label("Note").fill("a name at the top")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Exclude").click()
    expect(page.get_by_text("a name at the top")).to_be_visible()
    assert sorted(row[0] for row in site.query(STANDINGS, (ward,))) == ["excluded"] + ["held"] * 4
    assert site.value("SELECT count(*) FROM retrieval_imagechange WHERE note = 'a name at the top'") == 1


def test_the_page_works_for_everybody(open_page: OpenPage, ward: int) -> None:
    for theme in ("dark", "light"):
        page = open_page("admin", theme=theme)
        page.goto("/review/")
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
        assert found.violations_count == 0, found.generate_report()
    phone = open_page("admin", width=390, height=844)
    phone.goto("/review/")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
