"""The administration in a browser: whole, quiet, accessible, narrow enough for a phone, in the site's theme."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Page, Request, Response, expect

from tests.live_site import LiveSite

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]}
# Of Django's own widget for long lists of choices, which labels spans that have no role.
NOT_OURS = ".search-label-icon"
LISTS = (
    *("retrieval/dataset", "retrieval/medicalimage", "retrieval/importjob", "retrieval/indexjob"),
    *("retrieval/datasetdeletion", "retrieval/modelversion", "training/trainingrun", "training/evaluation"),
    *("auth/user", "auth/group", "retrieval/imagechange"),
)


def _addresses(page: Page) -> list[str]:
    """Every list, one row of each that has any, and the pages of our own."""
    found = ["/admin/", "/admin/retrieval/", "/admin/retrieval/dataset/add/", "/admin/password_change/"]
    for name in LISTS:
        page.goto(f"/admin/{name}/")
        rows = page.locator(f"#result_list a[href*='/{name}/'][href*='/change/']")
        found += [f"/admin/{name}/", *([rows.first.get_attribute("href") or ""] if rows.count() else [])]
    dataset = next(
        address for address in found if address.startswith("/admin/retrieval/dataset/") and "change" in address
    )
    return [*found, dataset.replace("/change/", "/upload/"), dataset.replace("/change/", "/history/")]


def _brightness(page: Page) -> int:
    colour = page.evaluate("getComputedStyle(document.getElementById('main')).backgroundColor")
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))


@pytest.mark.parametrize(("theme", "width"), [("dark", 1280), ("light", 390)])
def test_every_page_is_whole_and_quiet(site: LiveSite, open_page: OpenPage, theme: str, width: int) -> None:
    page = open_page("admin", theme=theme, width=width)
    addresses = _addresses(page)
    assert len(addresses) > 15
    said: list[str] = []

    def note_message(message: ConsoleMessage) -> None:
        # Chromium's advice about a form is nothing that went wrong.
        if message.type in ("error", "warning"):
            said.append(message.text)

    def note_answer(answer: Response) -> None:
        if answer.status >= 400:
            said.append(f"{answer.status} {answer.url}")

    def note_request(request: Request) -> None:
        if not request.url.startswith((site.base_url, "blob:", "data:")):
            said.append(f"from elsewhere: {request.url}")

    page.on("console", note_message)
    page.on("response", note_answer)
    page.on("request", note_request)
    for address in addresses:
        page.goto(address)
        page.wait_for_load_state("networkidle")
        assert said == [], address
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        assert (_brightness(page) < 100) == (theme == "dark"), address
        found = Axe().run(page, context={"exclude": [[NOT_OURS]]}, options=RULES)
        assert found.violations_count == 0, f"{address}\n{found.generate_report()}"


def test_one_switch_of_the_theme_serves_both(open_page: OpenPage) -> None:
    page = open_page("admin", theme="dark")
    page.goto("/admin/")
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).not_to_have_class("dark")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_class("dark")
    page.locator("#nav-sidebar div[role=button]").last.press("Enter")
    page.get_by_text("Light", exact=True).click()
    expect(page.locator("html")).not_to_have_class("dark")
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto("/admin/")
    expect(page.locator("html")).to_have_class("dark")


def test_an_action_on_chosen_rows(open_page: OpenPage) -> None:
    page = open_page("admin")
    page.goto("/admin/retrieval/dataset/")
    page.locator("#result_list input.action-select").first.check()
    page.locator("#changelist-actions select").select_option("train")
    page.locator("#changelist-actions button:visible").first.click()
    page.wait_for_url("**/training/start/?dataset=*")
    expect(page.locator("main")).to_contain_text("Train")


def test_the_menu_opens_on_a_phone(open_page: OpenPage) -> None:
    page = open_page("admin", width=390, height=844)
    page.goto("/admin/")
    link = page.locator("#nav-sidebar").get_by_role("link", name="Datasets", exact=True)
    expect(link).not_to_be_visible()
    page.get_by_role("button", name="Menu").click()
    link.click()
    page.wait_for_url("**/admin/retrieval/dataset/")
    expect(link).not_to_be_visible()
