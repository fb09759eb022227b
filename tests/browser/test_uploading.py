"""Uploading into a new dataset in Django admin: a folder, and what a lost connection costs."""

import base64
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import log_in
from tests.live_site import LiveSite, wait_until
from tests.pictures import drawn_pixels, png

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of images of their own, and a file that is none."""
    folder = tmp_path / "sent"
    for number in range(12):
        path = folder / ("left" if number % 2 else "right") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(drawn_pixels(5000 + number)))
    (folder / "left" / "note.txt").write_text("no image")
    return folder


def new_dataset(page: Page, *, name: str) -> None:
    page.goto("/admin/retrieval/dataset/add/")
    page.fill("input[name=name]", name)
    page.press("input[name=name]", "Enter")
    expect(page.get_by_role("heading", name=f"Upload images into {name}")).to_be_visible()


def counts(site: LiveSite, name: str) -> list[tuple[object, ...]]:
    return site.query(
        "SELECT label, count(*) FROM retrieval_medicalimage i JOIN retrieval_dataset d ON d.id = i.dataset_id "
        "WHERE d.name = %s GROUP BY label ORDER BY label",
        (name,),
    )


def test_a_folder_is_sent_and_imported(site: LiveSite, open_page: OpenPage, folder: Path) -> None:
    page = open_page("staff")
    new_dataset(page, name="Sent")
    page.set_input_files("#upload-choose-folder", folder)
    page.wait_for_url("**/imports/*/")
    wait_until(lambda: counts(site, "Sent") == [("left", 6), ("right", 6)], seconds=60, what="the import")
    expect(page.get_by_role("main")).to_contain_text("left/note.txt")


DROP = """
([name, content]) => {
  const entry = (path, give) => ({ webkitGetAsEntry: () => ({ isFile: true, fullPath: `/${path}`, file: give }) });
  const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
  const items = [
    entry("locked.png", (_, fail) => fail(new DOMException("No.", "NotReadableError"))),
    entry(name, (give) => give(new File([bytes], name))),
  ];
  document.dispatchEvent(Object.assign(new Event("drop"), { dataTransfer: { items: name ? items : [] } }));
}
"""


def test_what_cannot_be_read_does_not_keep_the_rest_of_a_drop(
    site: LiveSite, open_page: OpenPage, picture: Path
) -> None:
    page = open_page("staff")
    new_dataset(page, name="Dropped")
    page.evaluate(DROP, ["", ""])
    expect(page.locator("#upload-told")).to_contain_text("That was no file.")
    page.evaluate(DROP, [picture.name, base64.b64encode(picture.read_bytes()).decode()])
    expect(page.locator("#upload-error")).to_contain_text("locked.png: it could not be read on this computer.")
    page.get_by_role("button", name="Import the one that is here").click()
    page.wait_for_url("**/imports/*/")
    wait_until(lambda: counts(site, "Dropped") == [("", 1)], seconds=60, what="the import")


HOLD = """
() => {
  const file = (give) => { window.letGo = () => give(new File(["held"], "held.png")); };
  const entry = { isFile: true, fullPath: "/held.png", file };
  const items = [{ webkitGetAsEntry: () => entry }];
  document.dispatchEvent(Object.assign(new Event("drop"), { dataTransfer: { items } }));
}
"""


def test_while_a_drop_is_read_nothing_else_is_taken(open_page: OpenPage, picture: Path) -> None:
    page = open_page("staff")
    new_dataset(page, name="Twice")
    page.evaluate(HOLD)
    expect(page.locator("#upload-told")).to_have_text("Reading the folder …")
    page.evaluate(DROP, [picture.name, base64.b64encode(picture.read_bytes()).decode()])
    page.set_input_files("#upload-choose-files", picture)
    page.evaluate("letGo()")
    page.wait_for_url("**/imports/*/")
    expect(page.locator(".files-table tbody tr")).to_contain_text("held.png", timeout=20_000)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Twelve images, and 16 MB that are none, so that it takes four pieces."""
    path = tmp_path / "sent.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for number in range(12):
            packed.writestr(f"left/{number}.png", png(drawn_pixels(6000 + number)))
        packed.writestr("left/noise.bin", os.urandom(16 * 2**20))
    return path


def first_piece(page: Page, archive: Path, *, size: int) -> None:
    """Send the beginning of the archive as the open page would, and no more: its line broke then."""
    path = base64.b64encode(archive.name.encode()).decode()
    headers = {
        "X-CSRFToken": page.locator("#upload input[name=csrfmiddlewaretoken]").input_value(),
        "Content-Type": "application/offset+octet-stream",
        "Upload-Length": str(archive.stat().st_size),
        "Upload-Metadata": f"path {path}",
    }
    address = page.locator("#upload").get_attribute("data-files") or ""
    answer = page.request.post(address, headers=headers, data=archive.read_bytes()[:size])
    assert (answer.status, answer.headers["upload-offset"]) == (201, str(size))


def test_what_is_here_already_is_not_sent_again(site: LiveSite, open_page: OpenPage, archive: Path) -> None:
    page = open_page("staff")
    new_dataset(page, name="Interrupted")
    first_piece(page, archive, size=6_000_000)
    page.reload()
    expect(page.locator("#upload-resumed")).to_contain_text("1 file, 5.7")
    offsets: list[int] = []
    page.on("request", lambda sent: offsets.append(int(sent.headers.get("upload-offset", -1))))
    page.set_input_files("#upload-choose-files", archive)
    page.wait_for_url("**/imports/*/")
    assert min(offset for offset in offsets if offset >= 0) == 6_000_000
    wait_until(lambda: counts(site, "Interrupted") == [("left", 12)], seconds=60, what="the import")


def hold_second_pieces(page: Page) -> None:
    """From now on the line breaks whenever more than the beginning of a file is sent."""
    page.route("**/files/*/", lambda route: route.abort() if route.request.method == "PATCH" else route.continue_())


def test_a_lost_connection_is_waited_for(site: LiveSite, open_page: OpenPage, archive: Path) -> None:
    page = open_page("staff")
    new_dataset(page, name="Lost")
    page.context.set_offline(True)
    page.set_input_files("#upload-choose-files", archive)
    expect(page.locator("#upload-state")).to_contain_text("The connection is gone: waiting for it")
    expect(page.locator("#upload-said")).to_have_text("The connection is gone: waiting for it …")
    hold_second_pieces(page)
    page.context.set_offline(False)
    expect(page.locator("#upload-state")).to_have_text(
        "0 of 1 file, 5.0 MB of 17 MB. The site does not answer: waiting for it …"
    )
    # Read out loud once, without figures that change every second.
    expect(page.locator("[role=status]", has_text="waiting for it")).to_have_text(
        "The site does not answer: waiting for it …"
    )
    page.unroute("**/files/*/")
    page.wait_for_url("**/imports/*/")
    wait_until(lambda: counts(site, "Lost") == [("left", 12)], seconds=60, what="the import")


def test_a_file_that_breaks_midway_is_left_out(
    site: LiveSite, open_page: OpenPage, archive: Path, picture: Path
) -> None:
    page = open_page("staff")
    new_dataset(page, name="Midway")
    full = {"status": 507, "content_type": "text/plain", "body": "The disk of the site is full."}
    page.route(
        "**/files/*/", lambda route: route.fulfill(**full) if route.request.method == "PATCH" else route.continue_()
    )
    page.set_input_files("#upload-choose-files", [archive, picture])
    expect(page.locator("#upload-error")).to_contain_text("sent.zip: The disk of the site is full.")
    # The same file can be chosen once more: a browser tells a change alone.
    expect(page.locator("#upload-choose-files")).to_have_value("")
    page.get_by_role("button", name="Import the one that is here").click()
    page.wait_for_url("**/imports/*/")
    wait_until(lambda: counts(site, "Midway") == [("", 1)], seconds=60, what="the import")


def test_whoever_is_logged_out_logs_in_and_goes_on(site: LiveSite, open_page: OpenPage, archive: Path) -> None:
    page = open_page("staff")
    new_dataset(page, name="Logged out")
    hold_second_pieces(page)
    page.set_input_files("#upload-choose-files", archive)
    expect(page.locator("#upload-state")).to_contain_text("5.0 MB of 17 MB")
    other = page.context.new_page()
    other.goto("/")
    other.get_by_role("button", name="Log out").click()
    other.wait_for_url("**/login/**")
    page.unroute("**/files/*/")
    expect(page.locator("#upload-told")).to_contain_text("You were logged out", timeout=10_000)
    log_in(other, site=site, role="staff")
    other.close()
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/imports/*/")
    wait_until(lambda: counts(site, "Logged out") == [("left", 12)], seconds=60, what="the import")


def test_an_upload_that_another_window_finishes(
    site: LiveSite, open_page: OpenPage, archive: Path, picture: Path
) -> None:
    page = open_page("staff")
    new_dataset(page, name="Two windows")
    other = page.context.new_page()
    other.goto(page.url)
    first_piece(other, archive, size=6_000_000)
    page.set_input_files("#upload-choose-files", picture)
    expect(page.locator("#upload-error")).to_contain_text("sent.zip: only a part of it is here.")
    other.set_input_files("#upload-choose-files", archive)
    expect(page.locator("#upload-told")).to_contain_text("This upload was finished in another window.")
    other.close()
    page.get_by_role("link", name="See its import").click()
    wait_until(lambda: counts(site, "Two windows") == [("", 1), ("left", 12)], seconds=60, what="both are imported")
    expect(page.get_by_role("heading", name="Two windows")).to_be_visible()


def test_a_dataset_that_is_deleted_meanwhile(site: LiveSite, open_page: OpenPage, archive: Path) -> None:
    page = open_page("staff")
    new_dataset(page, name="Short-lived")
    first_piece(page, archive, size=6_000_000)
    hold_second_pieces(page)
    page.set_input_files("#upload-choose-files", archive)
    expect(page.locator("#upload-state")).to_contain_text("The site does not answer")
    admin = open_page("admin")
    admin.goto((page.locator("#upload").get_attribute("data-dataset") or "") + "delete/")
    expect(admin.get_by_role("main")).to_contain_text("an unfinished upload by staff: 1 file, 5.7")
    site.query("UPDATE retrieval_upload SET changed_at = now() - interval '11 minutes'")
    admin.get_by_label("Type the dataset's name").fill("Short-lived")
    admin.get_by_role("button", name="Delete this dataset").click()
    expect(admin.get_by_role("main")).to_contain_text("The dataset is deleted", timeout=20_000)
    page.unroute("**/files/*/")
    expect(page.locator("#upload-told")).to_contain_text("The dataset was deleted", timeout=10_000)


def test_what_is_missing_is_looked_for_ever_more_seldom(open_page: OpenPage, archive: Path) -> None:
    page = open_page("staff")
    new_dataset(page, name="Left open")
    page.clock.install()
    full = {"status": 507, "content_type": "text/plain", "body": "The disk of the site is full."}
    page.route("**/files/", lambda route: route.fulfill(**full))
    page.set_input_files("#upload-choose-files", archive)
    expect(page.locator("#upload-error")).to_contain_text("sent.zip: The disk of the site is full.")
    address = page.locator("#upload").get_attribute("data-known") or ""
    asked: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url) if sent.url.endswith(address) else None)
    for _ in range(20):
        page.clock.run_for(3_000)
        page.wait_for_timeout(100)
    assert 2 <= len(asked) <= 5
