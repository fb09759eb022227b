"""A real Chromium on the whole site as `make run` starts it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.browser_setup import chromium
from tests.live_site import LiveSite, wait_until
from tests.pictures import drawn_pixels, png

# Chromium's sandbox wants a user of its own.
ARGUMENTS = ["--disable-gpu", "--disable-background-networking", *(["--no-sandbox"] if os.geteuid() == 0 else [])]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # None: Playwright's own, where the system has no Chromium.
        launched = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser, site: LiveSite) -> Iterator[Callable[..., Page]]:
    """Open a window of its own, logged in as a role. What the page complains about ends up in `page.complaints`."""
    contexts = []

    def open_as(role: str, *, width: int = 1280, height: int = 800, theme: str = "dark") -> Page:
        context = browser.new_context(
            base_url=site.base_url,
            viewport={"width": width, "height": height},
            color_scheme=theme,  # type: ignore[arg-type]
        )
        contexts.append(context)
        page = context.new_page()
        page.complaints = []  # type: ignore[attr-defined]
        page.on("pageerror", lambda error: page.complaints.append(str(error)))  # type: ignore[attr-defined]
        page.on("console", lambda line: _note_violation(page, line.text))
        log_in(page, site=site, role=role)
        return page

    yield open_as
    for context in contexts:
        for page in context.pages:
            assert page.complaints == []  # type: ignore[attr-defined]
        context.close()


def log_in(page: Page, *, site: LiveSite, role: str) -> None:
    page.goto("/login/")
    page.fill("input[name=username]", site.logins[role]["username"])
    page.fill("input[name=password]", site.logins[role]["password"])
    page.click("main button")
    page.wait_for_url(f"{site.base_url}/")


def expect_picture(image: Locator) -> None:
    """Wait until the picture is there: one that is still on its way, and one that is none, is 0 pixels wide."""
    wait_until(lambda: image.evaluate("image => image.naturalWidth") > 0, seconds=10, what="the picture is there")


def _note_violation(page: Page, text: str) -> None:
    if "Content Security Policy" in text:
        page.complaints.append(text)  # type: ignore[attr-defined]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An image to ask with that the archive does not hold."""
    path = tmp_path / "scan.png"
    path.write_bytes(png(drawn_pixels(4321)))
    return path
