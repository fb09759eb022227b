"""Walking through a series: keys, slider, wheel and links; what is said is the slice that is seen."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.live_site import LiveSite

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]
# The series of the demo archive.
SLICES = 12
UUIDS = """
SELECT i.uuid::text FROM retrieval_medicalimage i JOIN retrieval_dataset d ON d.id = i.dataset_id
WHERE d.name = 'DICOM samples' AND i.label = 'dicom_ct_series' ORDER BY i.instance_number
"""


@pytest.fixture
def uuids(site: LiveSite) -> list[str]:
    """Of the slices, in their order."""
    found = [uuid for (uuid,) in site.query(UUIDS)]
    assert len(found) == SLICES
    return found


def _expect_slice(page: Page, number: int, *, uuids: list[str]) -> None:
    """Picture, words, slider, links and address all are of this slice."""
    expect(page.locator("#viewer output")).to_have_text(f"{number} of {SLICES}")
    picture = page.locator("#viewer .well img")
    expect(picture).to_have_attribute("src", f"/images/{uuids[number - 1]}/preview.png")
    expect(picture).to_have_js_property("naturalWidth", 256)
    expect(picture).to_have_attribute("alt", f"dicom_ct_series, slice {number} of {SLICES}")
    expect(page.locator("#viewer input")).to_have_value(str(number))
    expect(page.locator(".slices a[aria-current]")).to_have_text(f"Slice {number}")
    page.wait_for_url(f"**/series/{uuids[number - 1]}/")


def test_a_series_is_walked_through(site: LiveSite, open_page: OpenPage, uuids: list[str]) -> None:
    page = open_page("clinician")
    page.goto("/datasets/")
    page.get_by_role("link", name="DICOM samples").click()
    tile = page.locator(".tile-stack", has_text="dicom_ct_series")
    expect(tile).to_have_count(1)
    expect(tile).to_contain_text(f"{SLICES} images")
    tile.click()
    _expect_slice(page, 7, uuids=uuids)

    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    _expect_slice(page, 9, uuids=uuids)
    page.keyboard.press("ArrowLeft")
    _expect_slice(page, 8, uuids=uuids)

    slider = page.get_by_role("slider", name="Slice")
    slider.fill("3")
    _expect_slice(page, 3, uuids=uuids)
    # The picture takes the focus to the slider, where downwards is onwards.
    page.locator("#viewer .well img").click()
    page.keyboard.press("ArrowDown")
    _expect_slice(page, 4, uuids=uuids)
    page.keyboard.press("ArrowRight")
    _expect_slice(page, 5, uuids=uuids)
    page.keyboard.press("End")
    _expect_slice(page, SLICES, uuids=uuids)
    expect(page.locator("#viewer a[rel=next][href]")).to_have_count(0)
    page.keyboard.press("PageUp")
    _expect_slice(page, 2, uuids=uuids)

    page.locator("#viewer .well").hover()
    for turn, number in ((100, 3), (100, 4), (-100, 3), (-100, 2), (-100, 1), (-100, 1)):
        page.mouse.wheel(0, turn)
        _expect_slice(page, number, uuids=uuids)
    assert page.evaluate("scrollY") == 0

    page.locator("#viewer").get_by_role("link", name="Next").click()
    _expect_slice(page, 2, uuids=uuids)
    page.get_by_role("link", name="Slice 10").click()
    _expect_slice(page, 10, uuids=uuids)
    page.reload()
    _expect_slice(page, 10, uuids=uuids)
    page.get_by_role("link", name="Next").click()
    page.get_by_role("button", name="More like this slice").click()
    expect(page.locator("ol.gallery > li")).to_have_count(20)
    asked_with = "SELECT i.uuid::text FROM retrieval_query q JOIN retrieval_medicalimage i ON i.id = q.image_id"
    assert site.value(f"{asked_with} ORDER BY q.id DESC LIMIT 1") == uuids[10]
    expect(page.locator("li[data-rank='1']")).to_contain_text(f"slice 11 of {SLICES}")


def test_a_slice_that_does_not_come_is_not_claimed_to_be_seen(open_page: OpenPage, uuids: list[str]) -> None:
    page = open_page("clinician")
    page.route(f"**/images/{uuids[1]}/preview.png", lambda route: route.abort())
    page.goto(f"/series/{uuids[0]}/")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("alert")).to_contain_text("could not be loaded")
    _expect_slice(page, 1, uuids=uuids)
    page.unroute_all()
    page.keyboard.press("ArrowRight")
    _expect_slice(page, 2, uuids=uuids)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_page_names_the_slice_that_is_seen(site: LiveSite, open_page: OpenPage, uuids: list[str]) -> None:
    relabel = "UPDATE retrieval_medicalimage SET label = %s WHERE uuid = %s"
    site.query(relabel, ("healthy", uuids[1]))
    try:
        page = open_page("clinician")
        page.goto(f"/series/{uuids[0]}/")
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("heading", level=1)).to_have_text("healthy")
        expect(page).to_have_title(re.compile("^healthy · "))
        expect(page.locator("#viewer img")).to_have_attribute("alt", f"healthy, slice 2 of {SLICES}")
        walked = page.title()
        page.wait_for_url(f"**/series/{uuids[1]}/")
        page.reload()
        assert page.title() == walked
    finally:
        site.query(relabel, ("dicom_ct_series", uuids[1]))


def test_without_scripts_there_are_links(open_page: OpenPage, uuids: list[str]) -> None:
    page = open_page("clinician")
    page.route("**/*.js", lambda route: route.abort())
    page.goto(f"/series/{uuids[0]}/")
    expect(page.get_by_role("slider")).to_have_count(0)
    page.get_by_role("link", name="Next").click()
    page.wait_for_url(f"**/series/{uuids[1]}/")
    expect(page.locator("#viewer output")).to_have_text(f"2 of {SLICES}")
    page.get_by_role("link", name="Slice 12").click()
    page.wait_for_url(f"**/series/{uuids[11]}/")


def test_arrow_keys_lead_from_image_to_image(open_page: OpenPage, uuids: list[str]) -> None:
    page = open_page("clinician")
    page.goto(f"/images/{uuids[4]}/")
    expect(page.locator("main")).to_contain_text(f"slice 5 of {SLICES}")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/images/{uuids[5]}/")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**/images/{uuids[4]}/")
    page.get_by_role("link", name="Walk through all slices").click()
    _expect_slice(page, 5, uuids=uuids)
