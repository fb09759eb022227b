"""The main job in a browser: ask with an image, look at what is similar, go on from there."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect
from pydicom.data import get_testdata_file

from tests.browser.conftest import expect_picture
from tests.live_site import LiveSite

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]
AS_FILE_EVENT = """([type, content, name]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, {type: "image/png"}));
    const options = {bubbles: true, cancelable: true};
    const event = type === "paste"
        ? new ClipboardEvent("paste", {clipboardData: transfer, ...options})
        : new DragEvent(type, {dataTransfer: transfer, ...options});
    document.querySelector("#ask").dispatchEvent(event);
}"""


def _query(site: LiveSite, page: Page) -> tuple[object, ...]:
    """The row behind the open result page: status, number of results, user name."""
    uuid = re.search(r"/queries/([0-9a-f-]{36})/", page.url)
    assert uuid is not None
    [row] = site.query(
        "SELECT q.status, (SELECT count(*) FROM retrieval_searchresult r WHERE r.query_id = q.id), u.username "
        "FROM retrieval_query q JOIN auth_user u ON u.id = q.user_id WHERE q.uuid = %s",
        (uuid[1],),
    )
    return tuple(row)


def _expect_gallery(page: Page) -> None:
    expect(page.locator("ol.gallery > li")).to_have_count(20)
    expect(page.get_by_role("heading", level=1)).to_have_text("20 most similar images")


def test_a_chosen_image_is_answered_with_twenty(site: LiveSite, open_page: OpenPage, picture: Path) -> None:
    page = open_page("clinician")
    page.set_input_files("input[name=image]", picture)
    _expect_gallery(page)
    assert _query(site, page) == ("done", 20, site.logins["clinician"]["username"])
    similarities = [float(text) for text in page.locator(".tile-similarity").all_inner_texts()]
    assert similarities == sorted(similarities, reverse=True)
    page.wait_for_load_state()
    expect_picture(page.locator(".gallery .well img").first)
    expect_picture(page.locator(".query-side img"))
    expect(page.locator(".query-side")).to_contain_text("version 1")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_an_image_may_be_dropped_or_pasted(site: LiveSite, open_page: OpenPage, picture: Path, way: str) -> None:
    page = open_page("clinician")
    content = base64.b64encode(picture.read_bytes()).decode()
    page.evaluate(AS_FILE_EVENT, [way, content, "scan.png"])
    _expect_gallery(page)
    assert _query(site, page)[:2] == ("done", 20)


def test_the_image_is_shown_before_it_is_answered(open_page: OpenPage, picture: Path) -> None:
    page = open_page("clinician")
    # The answer to the upload never comes: what is seen now was shown by the page itself.
    page.route("**/", lambda route: None if route.request.method == "POST" else route.continue_())
    page.set_input_files("input[name=image]", picture)
    expect(page.locator("#ask-picture")).to_be_visible()
    expect_picture(page.locator("#ask-picture"))
    expect(page.locator(".drop-state")).to_contain_text("scan.png")
    expect(page.locator(".drop-state")).to_contain_text("Searching")
    # Read out loud, without the percents.
    expect(page.locator("[role=status]", has_text="Searching")).to_have_text("Searching …")


def test_another_image_takes_the_place_of_one_that_is_being_sent(
    site: LiveSite, open_page: OpenPage, picture: Path
) -> None:
    page = open_page("clinician")
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if route.request.method == "POST" and not held:
            held.append(route)
        else:
            route.continue_()

    page.route("**/", hold_the_first)
    page.set_input_files("input[name=image]", picture)
    expect(page.locator("#ask-state")).to_have_text("Searching …")
    page.evaluate(AS_FILE_EVENT, ["paste", base64.b64encode(picture.read_bytes()).decode(), "other.png"])
    _expect_gallery(page)
    assert _query(site, page)[:2] == ("done", 20)


def test_a_dicom_file_is_searched(site: LiveSite, open_page: OpenPage) -> None:
    page = open_page("clinician")
    page.set_input_files("input[name=image]", str(get_testdata_file("MR_small.dcm", download=False)))
    _expect_gallery(page)
    # The demo archive holds this very file.
    expect(page.locator("li[data-rank='1']")).to_contain_text("dicom_mr")
    expect(page.locator("li[data-rank='1']")).to_contain_text("1.000")


def test_from_an_image_to_more_like_it(site: LiveSite, open_page: OpenPage, picture: Path) -> None:
    page = open_page("staff")
    page.set_input_files("input[name=image]", picture)
    _expect_gallery(page)
    page.click("li[data-rank='3'] a")
    expect(page.get_by_role("button", name="More like this")).to_be_visible()
    image = page.url.rstrip("/").rpartition("/")[2]
    page.get_by_role("button", name="More like this").click()
    _expect_gallery(page)
    page.wait_for_load_state()
    expect_picture(page.locator(".query-side img"))
    assert image in (page.locator("li[data-rank='1'] a").get_attribute("href") or "")
    page.get_by_role("link", name="History").click()
    expect(page.locator("tbody tr").first).to_contain_text("done")


def test_an_answer_can_be_narrowed(open_page: OpenPage, picture: Path) -> None:
    page = open_page("clinician")
    page.set_input_files("input[name=image]", picture)
    _expect_gallery(page)
    page.select_option("#narrow-modality", "MRI")
    page.wait_for_url("**modality=MRI**")
    _expect_gallery(page)
    assert {"MRI" in text for text in page.locator(".gallery .tile").all_inner_texts()} == {True}
    page.go_back()
    _expect_gallery(page)
    expect(page.locator("#narrow-modality")).to_have_value("")
    page.go_forward()
    page.get_by_role("link", name="Show all").click()
    _expect_gallery(page)


def test_arrow_keys_pass_through_choices_without_sending_them(open_page: OpenPage, picture: Path) -> None:
    page = open_page("clinician")
    page.set_input_files("input[name=image]", picture)
    _expect_gallery(page)
    whole, narrow = page.url, page.get_by_role("button", name="Narrow", exact=True)
    expect(narrow).to_be_hidden()
    page.focus("#narrow-modality")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(narrow).to_be_visible()
    assert page.url == whole
    chosen = page.locator("#narrow-modality").input_value()
    assert chosen
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(narrow).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**modality={chosen}**")
    _expect_gallery(page)
    page.focus("#narrow-modality")
    page.keyboard.press("ArrowUp")
    expect(narrow).to_be_visible()
    page.locator("#narrow-modality").dispatch_event("pointerdown")
    page.select_option("#narrow-modality", chosen)
    page.wait_for_url(f"**modality={chosen}**")
    _expect_gallery(page)


def test_the_same_image_can_be_chosen_again_after_going_back(open_page: OpenPage, picture: Path) -> None:
    page = open_page("clinician")
    page.set_input_files("input[name=image]", picture)
    _expect_gallery(page)
    first = page.url
    page.go_back()
    expect(page.locator("#ask")).not_to_have_class(re.compile("is-busy"))
    page.set_input_files("input[name=image]", picture)
    _expect_gallery(page)
    assert page.url != first


def test_what_is_no_image_is_refused_on_the_spot(site: LiveSite, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("clinician")
    before = site.query("SELECT count(*) FROM retrieval_query")
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(b"%PDF-1.7 not an image")
    page.set_input_files("input[name=image]", letter)
    expect(page.locator("#ask-error")).to_contain_text("a PDF document")
    empty = tmp_path / "empty.png"
    empty.touch()
    page.set_input_files("input[name=image]", empty)
    expect(page.locator("#ask-error")).to_contain_text("The file is empty")
    assert site.query("SELECT count(*) FROM retrieval_query") == before


def test_a_damaged_image_is_told_on_its_page(site: LiveSite, open_page: OpenPage, picture: Path) -> None:
    page = open_page("clinician")
    picture.write_bytes(picture.read_bytes()[:3000])
    page.set_input_files("input[name=image]", picture)
    expect(page.get_by_role("heading", level=1)).to_have_text("This image was not searched")
    expect(page.get_by_role("alert")).to_contain_text("damaged or incomplete")
    assert _query(site, page)[:2] == ("failed", 0)


def test_the_keyboard_is_enough(site: LiveSite, open_page: OpenPage, picture: Path) -> None:
    page = open_page("clinician")
    # Awaited from the beginning: Chromium is told to hand file choosers over only once somebody waits for one, and
    # that message may arrive after a key that is pressed right behind it.
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == "image"
        page.keyboard.press("Space")
    chooser.value.set_files(picture)
    _expect_gallery(page)
    page.locator("li[data-rank='1'] a").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="More like this")).to_be_visible()


def test_a_colleagues_answer_is_not_found(open_page: OpenPage, picture: Path) -> None:
    page = open_page("clinician")
    page.set_input_files("input[name=image]", picture)
    _expect_gallery(page)
    colleague = open_page("staff")
    colleague.goto(page.url)
    expect(colleague.get_by_role("heading", level=1)).to_have_text("There is no such page")
