"""Both themes, a phone, a screen reader: what can be checked of them by machine."""

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.live_site import LiveSite

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]
LONG_NAME = "CBIS-DDSM_Mammography_Curated_Breast_Imaging_Subset_2024_"
LONG_LABEL = "Squamous_cell_carcinoma_of_the_lung_stage_III_B"


def _addresses(page: Page, picture: Path) -> list[str]:
    """Every kind of page, with something on it."""
    page.set_input_files("input[name=image]", picture)
    page.wait_for_url("**/queries/**")
    expect(page.locator("ol.gallery > li")).to_have_count(20)
    query, image = page.url, page.locator("li[data-rank='1'] a").get_attribute("href") or ""
    page.goto("/datasets/")
    dataset = page.locator("tbody th a").first.get_attribute("href") or ""
    page.goto(dataset)
    series = page.locator(".tile-stack").first.get_attribute("href") or ""
    page.goto(query)
    return ["/", query, "/queries/", image, "/datasets/", dataset, series, "/training/", "/password/", "/no-such-page"]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_no_page_fails_the_accessibility_rules(open_page: OpenPage, picture: Path, theme: str) -> None:
    page = open_page("admin", theme=theme)
    for address in _addresses(page, picture):
        page.goto(address)
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
        assert found.violations_count == 0, f"{address}\n{found.generate_report()}"
    page.goto("/")
    page.route("**/", lambda route: None if route.request.method == "POST" else route.continue_())
    page.set_input_files("input[name=image]", picture)
    expect(page.locator("#ask-state")).to_be_visible()
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]})
    assert found.violations_count == 0, found.generate_report()


def test_a_phone_scrolls_in_one_direction(open_page: OpenPage, picture: Path) -> None:
    page = open_page("admin", width=390, height=844)
    for address in _addresses(page, picture):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, address


def test_long_names_do_not_push_a_page_sideways(site: LiveSite, open_page: OpenPage) -> None:
    short, long = ("DICOM samples", "dicom_ct_series"), (LONG_NAME, LONG_LABEL)
    _rename(site, before=short, after=long)
    try:
        page = open_page("admin", width=390, height=844)
        [image] = site.query("SELECT dataset_id, uuid FROM retrieval_medicalimage WHERE label = %s", (LONG_LABEL,))[:1]
        dataset, review = f"/datasets/{image[0]}/", f"/review/?dataset={image[0]}"
        of_dataset = [dataset, f"{dataset}?label={LONG_LABEL}", f"{dataset}quality/", f"{dataset}delete/"]
        for address in (*of_dataset, review, f"/images/{image[1]}/", f"/series/{image[1]}/", "/training/start/"):
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, address
    finally:
        _rename(site, before=long, after=short)


def _rename(site: LiveSite, *, before: tuple[str, str], after: tuple[str, str]) -> None:
    """Of a dataset its name, and of images in it their label."""
    site.query("UPDATE retrieval_dataset SET name = %s WHERE name = %s", (after[0], before[0]))
    site.query("UPDATE retrieval_medicalimage SET label = %s WHERE label = %s", (after[1], before[1]))


def test_the_way_to_the_password_is_open_on_a_small_phone(site: LiveSite, open_page: OpenPage) -> None:
    page = open_page("clinician", width=360, height=640)
    expect(page.get_by_role("link", name=site.logins["clinician"]["username"])).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_theme_follows_the_system_until_it_is_chosen(open_page: OpenPage) -> None:
    page = open_page("clinician", theme="dark")

    def brightness() -> float:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))

    assert brightness() < 100
    page.emulate_media(color_scheme="light")
    assert brightness() > 600
    page.get_by_role("button", name="Theme").click()
    assert brightness() < 100
    page.reload()
    assert brightness() < 100


def test_untrained_weights_and_synthetic_data_are_said(open_page: OpenPage, picture: Path) -> None:
    page = open_page("clinician")
    expect(page.locator("main")).to_contain_text("Untrained weights")
    expect(page.locator("main")).to_contain_text("synthetic demo data")
    page.set_input_files("input[name=image]", picture)
    page.wait_for_url("**/queries/**")
    expect(page.locator("main")).to_contain_text("Untrained weights")


def test_nothing_is_loaded_from_elsewhere(site: LiveSite, open_page: OpenPage, picture: Path) -> None:
    page = open_page("admin")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for address in (*_addresses(page, picture), "/admin/", "/admin/retrieval/medicalimage/"):
        page.goto(address)
        page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith((site.base_url, "blob:", "data:"))] == []
