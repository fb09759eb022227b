"""What a visitor sees when a part of the site is away, and that their question is not lost."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.live_site import LiveSite, words
from tests.pictures import png

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]


@contextmanager
def _frozen(processes: list[psutil.Process]) -> Iterator[None]:
    """Stopped in their tracks, as on a machine that is out of breath."""
    assert processes
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def test_without_a_search_worker_the_question_waits(site: LiveSite, open_page: OpenPage, picture: Path) -> None:
    page = open_page("clinician")
    with _frozen([site.worker("search"), *site.pool("search")]):
        page.set_input_files("input[name=image]", picture)
        expect(page.get_by_role("heading", level=1)).to_have_text("Searching …")
        expect(page.locator(".answer").get_by_text("No search worker is free at the moment")).to_be_visible(
            timeout=15_000
        )
        expect(page.locator("#said")).to_contain_text("No search worker is free at the moment")
        expect(page.locator(".tile-waiting")).to_have_count(20)
    expect(page.locator("ol.gallery > li")).to_have_count(20, timeout=30_000)
    assert page.title().startswith("Similar images")


def test_without_the_database_the_image_stays_on_the_page(site: LiveSite, open_page: OpenPage, picture: Path) -> None:
    page = open_page("clinician")
    other = page.context.new_page()
    other.complaints = []  # type: ignore[attr-defined]
    # The process that would start the server again within two seconds.
    with _frozen([each for each in site.processes() if "cbmir_site.run" in words(each)]):
        database = psutil.Process(int((site.data_dir / "postgres" / "postmaster.pid").read_text().split()[0]))
        database.send_signal(signal.SIGINT)
        database.wait(timeout=20)
        answer = other.goto("/datasets/")
        assert answer is not None
        assert answer.status == 503
        expect(other.get_by_role("heading", level=1)).to_have_text("The database does not answer")
        page.set_input_files("input[name=image]", picture)
        expect(page.locator("#ask-state")).to_contain_text("is sent again")
        expect(page.locator("#ask-picture")).to_be_visible()
    expect(page.locator("ol.gallery > li")).to_have_count(20, timeout=40_000)
    assert re.search(r"/queries/[0-9a-f-]{36}/", page.url)


@pytest.mark.parametrize(("side", "timeout"), [(300, 10_000), (2000, 20_000)], ids=["small", "of megabytes"])
def test_a_session_that_ended_leads_to_the_login(open_page: OpenPage, tmp_path: Path, side: int, timeout: int) -> None:
    """With a large image the answer may be lost, since the site does not read the image first: it asks again."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
    (tmp_path / "noise.png").write_bytes(png(noise))
    page = open_page("clinician")
    page.context.clear_cookies()
    page.set_input_files("input[name=image]", tmp_path / "noise.png")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in", timeout=timeout)
