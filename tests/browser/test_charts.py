"""Charts drawn from tables, under the site's own middleware and with the static files that an installation collects."""

import threading
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer
from django.test.testcases import QuietWSGIRequestHandler
from playwright.sync_api import Browser, Locator, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.urls("tests.browser.chart_page")]
OpenCharts = Callable[..., Page]
# How often each opaque colour occurs in a canvas.
PAINTED = """canvas => {
  const seen = {};
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] < 255) continue;
    const colour = `rgb(${data[i]}, ${data[i + 1]}, ${data[i + 2]})`;
    seen[colour] = (seen[colour] ?? 0) + 1;
  }
  return seen;
}"""
POINTS = "canvas => Chart.getChart(canvas).data.datasets.map(({ data }) => data.map(({ y }) => y))"
ALIVE = "Object.keys(Chart.instances).length"


@pytest.fixture(scope="module")
def address(static_files: None) -> Iterator[str]:
    """Where the pages of tests/browser/chart_page.py answer. WhiteNoise serves the static files, as everywhere."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietWSGIRequestHandler)
    server.set_app(WSGIHandler())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def open_charts(browser: Browser, address: str) -> Iterator[OpenCharts]:
    """Open the page in a window of its own. Nothing that it loads may come from elsewhere, and it may not complain."""
    contexts, complaints = [], []

    def open_page(*, epochs: int = 14, width: int = 1280, theme: str = "dark", scripts: bool = True) -> Page:
        context = browser.new_context(
            base_url=address,
            viewport={"width": width, "height": 900},
            color_scheme=theme,  # type: ignore[arg-type]
            java_script_enabled=scripts,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text))
        page.on("request", lambda request: request.url.startswith(address) or complaints.append(request.url))
        answer = page.goto(f"/charts/?epochs={epochs}")
        assert answer is not None
        policy = answer.headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= set(policy)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def _canvas(page: Page, name: str = "loss") -> Locator:
    return page.locator(f"#{name} canvas")


def _colours(page: Page) -> list[str]:
    return page.locator("#loss .chart-legend svg").evaluate_all("all => all.map(svg => getComputedStyle(svg).stroke)")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_table_becomes_a_chart(open_charts: OpenCharts, theme: str) -> None:
    page = open_charts(theme=theme)
    for name in ("loss", "accuracy"):
        painted = _canvas(page, name).evaluate(PAINTED)
        assert [colour for colour in _colours(page) if painted.get(colour, 0) < 200] == []
    assert len(set(_colours(page))) == 2
    expect(page.locator("#loss .chart-legend li")).to_have_text(["Training", "Validation"])
    label = "Loss per epoch: line chart of Training, Validation by Epoch. The table holds its figures."
    expect(page.get_by_role("img", name=label)).to_be_visible()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_page_passes_the_accessibility_rules(open_charts: OpenCharts, theme: str) -> None:
    page = open_charts(theme=theme)
    page.locator("#loss summary").click()
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
    assert found.violations_count == 0, found.generate_report()


def test_the_axis_is_in_percent_where_the_table_says_so(open_charts: OpenCharts) -> None:
    page = open_charts()
    labels = "canvas => Chart.getChart(canvas).scales.y.getTicks().map(({ label }) => label)"
    assert all(label.endswith("%") for label in _canvas(page, "accuracy").evaluate(labels))
    assert not any(label.endswith("%") for label in _canvas(page, "loss").evaluate(labels))
    titles = "canvas => Object.values(Chart.getChart(canvas).scales).map(({ options }) => options.title.text)"
    assert _canvas(page).evaluate(titles) == ["Epoch", "Loss"]


def test_an_empty_cell_is_a_gap(open_charts: OpenCharts) -> None:
    training, validation = _canvas(open_charts(epochs=4)).evaluate(POINTS)
    assert training == [2.1, 1.05, 0.7, 0.525]
    assert validation == [2.5, 1.3, None, 0.7]


def test_a_run_that_begins_shows_what_there_is(open_charts: OpenCharts) -> None:
    expect(_canvas(open_charts(epochs=0))).to_be_hidden()
    page = open_charts(epochs=1)
    expect(_canvas(page)).to_be_visible()
    labels = "canvas => Chart.getChart(canvas).scales.x.getTicks().map(({ label }) => label)"
    assert set(_canvas(page).evaluate(labels)) == {"1"}


def test_the_table_can_be_read_beside_the_chart(open_charts: OpenCharts) -> None:
    page = open_charts()
    page.locator("#loss summary").click()
    expect(page.locator("#loss").get_by_role("row", name="2 1.0500 1.3000")).to_be_visible()
    expect(_canvas(page)).to_be_visible()


def test_without_scripts_there_is_the_table(open_charts: OpenCharts) -> None:
    page = open_charts(scripts=False)
    page.locator("#loss summary").click()
    expect(page.locator("#loss tbody tr")).to_have_count(14)
    expect(page.locator("#loss tbody tr").last).to_be_visible()


def test_charts_follow_the_theme(open_charts: OpenCharts) -> None:
    page = open_charts(theme="light")
    light = _colours(page)
    page.emulate_media(color_scheme="dark")
    _expect_drawn_in_other_colours(page, light)
    dark = _colours(page)
    # From the system's to dark, which it is already, and on to light.
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Theme").click()
    _expect_drawn_in_other_colours(page, dark)
    assert _colours(page) == light


def _expect_drawn_in_other_colours(page: Page, before: list[str]) -> None:
    """Charts are drawn anew with the next frame."""
    page.wait_for_function(
        f"before => !before.some(colour => ({PAINTED})(document.querySelector('canvas'))[colour])", arg=before
    )
    assert not set(_colours(page)) & set(before)
    assert all(_canvas(page).evaluate(PAINTED)[colour] >= 200 for colour in _colours(page))


def test_new_figures_are_drawn_and_old_ones_forgotten(open_charts: OpenCharts) -> None:
    page = open_charts()
    page.locator("#loss summary").click()
    for _ in range(3):
        before = _canvas(page).element_handle()
        page.get_by_role("button", name="Figures").click()
        page.wait_for_function(
            "old => !old.isConnected && document.querySelectorAll('canvas').length === 2", arg=before
        )
    assert [len(points) for points in _canvas(page).evaluate(POINTS)] == [9, 9]
    assert page.evaluate(ALIVE) == 2
    # The reader was in the middle of this table.
    expect(page.locator("#loss tbody tr").first).to_be_visible()
    expect(page.locator("#accuracy tbody tr").first).to_be_hidden()


def test_new_rows_are_drawn_into_the_chart_that_is_there(open_charts: OpenCharts) -> None:
    page = open_charts(epochs=2)
    before = _canvas(page).element_handle()
    page.get_by_role("button", name="Rows").click()
    page.wait_for_function("canvas => Chart.getChart(canvas).data.datasets[0].data.length === 12", arg=before)
    assert before.evaluate("canvas => canvas.isConnected")
    assert page.evaluate(ALIVE) == 2


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_charts_fit_into_the_window(open_charts: OpenCharts, width: int) -> None:
    page = open_charts(width=1920)
    # Wider first: a canvas that was stretched has to shrink again.
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function("() => document.querySelector('canvas').clientWidth <= document.documentElement.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [locator.bounding_box() or {} for locator in (_canvas(page), page.locator("#loss figcaption"))]
    assert boxes[0]["width"] == pytest.approx(boxes[1]["width"], abs=1)


def test_charts_move_nothing_when_they_appear(open_charts: OpenCharts) -> None:
    """The place of a chart is held before its script has run: measured without it, and with it."""
    page = open_charts()
    drawn = page.locator("#accuracy").bounding_box()
    page.evaluate("document.querySelectorAll('.chart-legend, .chart-canvas').forEach(part => part.remove())")
    assert page.locator("#accuracy").bounding_box() == drawn
