"""Uploading into a new dataset in Django admin: a folder, and what a reload and a lost connection cost."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

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


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Twelve images, and 16 MB that are none, so that it takes four pieces."""
    path = tmp_path / "sent.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for number in range(12):
            packed.writestr(f"left/{number}.png", png(drawn_pixels(6000 + number)))
        packed.writestr("left/noise.bin", os.urandom(16 * 2**20))
    return path


def slow_line(page: Page, *, bytes_a_second: int) -> None:
    """Playwright's own interception loses the bodies of files: this is the browser's."""
    session = page.context.new_cdp_session(page)
    speed = {"downloadThroughput": -1, "uploadThroughput": bytes_a_second, "latency": 0}
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", {"offline": False, **speed})


def received(site: LiveSite) -> int:
    return site.value("SELECT coalesce(max(received), 0) FROM retrieval_uploadedfile")


def test_a_reload_costs_the_piece_that_was_under_way(site: LiveSite, open_page: OpenPage, archive: Path) -> None:
    page = open_page("staff")
    new_dataset(page, name="Reloaded")
    slow_line(page, bytes_a_second=4 * 2**20)
    page.set_input_files("#upload-choose-files", archive)
    wait_until(lambda: received(site) >= 5 * 2**20, seconds=30, what="the first piece")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(page.locator("#upload-resumed")).to_contain_text("1 file,")
    offsets: list[int] = []
    page.on("request", lambda sent: offsets.append(int(sent.headers.get("upload-offset", -1))))
    page.set_input_files("#upload-choose-files", archive)
    page.wait_for_url("**/imports/*/")
    assert min(offset for offset in offsets if offset >= 0) >= 5 * 2**20
    wait_until(lambda: counts(site, "Reloaded") == [("left", 12)], seconds=60, what="the import")


def test_a_lost_connection_is_waited_for(site: LiveSite, open_page: OpenPage, archive: Path) -> None:
    page = open_page("staff")
    new_dataset(page, name="Lost")
    slow_line(page, bytes_a_second=4 * 2**20)
    page.set_input_files("#upload-choose-files", archive)
    wait_until(lambda: received(site) >= 5 * 2**20, seconds=30, what="the first piece")
    page.context.set_offline(True)
    page.wait_for_timeout(2000)
    assert "/upload/" in page.url
    page.context.set_offline(False)
    page.wait_for_url("**/imports/*/", timeout=60_000)
    wait_until(lambda: counts(site, "Lost") == [("left", 12)], seconds=60, what="the import")
