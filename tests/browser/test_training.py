"""The pages of training in a browser, on rows as a trainer writes them: nothing is trained here."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.live_site import LiveSite, wait_until

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]
LONG_NAME = "CBIS-DDSM_Mammography_Curated_Breast_Imaging_Subset_2024_"
Rows = dict[str, int]

MAKE = """
import json
import re
from retrieval.models import Dataset, ModelVersion
from tests.training_rows import make_evaluation, make_run, make_version
from training.models import Evaluation
dataset = Dataset.objects.get(name="Synthetic phantoms")
made = make_run(dataset, epochs=5)
version = make_version(number=90, run=made)
evaluation = make_evaluation(made, version=version, mistaken=12)
make_evaluation(made, version=ModelVersion.objects.active(), mistaken=30)
failed = make_run(dataset, status="failed")
running = make_run(dataset, status="running", epochs=2, phase="training", done=30, total=60)
judging = Evaluation.objects.create(
    run=made, model_version=version, status="running", lease_expires_at=running.lease_expires_at, done=3, total=9
)
pks = {"evaluation": evaluation.pk, "failed": failed.pk, "running": running.pk, "judging": judging.pk}
print(json.dumps({"made": made.pk, **pks}))
"""
REMOVE = """
from retrieval.models import ModelVersion
from training.models import TrainingRun
TrainingRun.objects.all().delete()
version = ModelVersion.objects.get(number=90)
version.weights.delete(save=False)
version.delete()
"""
EPOCHS = "canvas => Chart.getChart(canvas).data.datasets[0].data.length"

LINES = """
words => {
  const range = document.createRange();
  range.selectNodeContents(words);
  return new Set([...range.getClientRects()].map((line) => line.top)).size;
}
"""


@pytest.fixture(scope="module")
def rows(site: LiveSite) -> Iterator[Rows]:
    """Primary keys of runs: `made` has made version 90, which `evaluation` and `judging` judge; `failed`; `running`."""
    yield json.loads(site.shell(MAKE))
    site.shell(REMOVE)


def _addresses(rows: Rows) -> list[str]:
    """Every kind of page, with something on it."""
    pages = [f"runs/{rows[name]}/" for name in ("made", "failed", "running")]
    versions = [f"versions/90/{verb}/" for verb in ("activate", "retire")]
    evaluation = f"evaluations/{rows['evaluation']}/"
    others = ["", "start/", f"runs/{rows['running']}/cancel/", "compare/", evaluation, f"{evaluation}?label=fundus"]
    judging = [f"evaluations/{rows['judging']}/", f"evaluations/{rows['judging']}/cancel/"]
    return [f"/training/{name}" for name in (*pages, *versions, *others, *judging)]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_no_page_of_training_fails_the_accessibility_rules(open_page: OpenPage, rows: Rows, theme: str) -> None:
    page = open_page("staff", theme=theme)
    for address in _addresses(rows):
        page.goto(address)
        page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
        assert found.violations_count == 0, f"{address}\n{found.generate_report()}"


def test_a_phone_scrolls_training_in_one_direction(open_page: OpenPage, site: LiveSite, rows: Rows) -> None:
    rename = "UPDATE retrieval_dataset SET name = %s WHERE name = %s"
    site.query(rename, (LONG_NAME, "Synthetic phantoms"))
    try:
        page = open_page("staff", width=390, height=844)
        for address in (*_addresses(rows), f"/training/evaluations/{rows['evaluation']}/?label={LONG_NAME}"):
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, address
    finally:
        site.query(rename, ("Synthetic phantoms", LONG_NAME))


def test_settings_are_read_on_a_phone(open_page: OpenPage, rows: Rows) -> None:
    page = open_page("staff", width=390, height=844)
    page.goto(f"/training/runs/{rows['made']}/")
    names, values = page.locator("dl.facts dt"), page.locator("dl.facts dd")
    widths = [each.first.evaluate("each => each.clientWidth") for each in (names, values)]
    assert widths[1] > widths[0]


def test_the_recipes_share_the_width_of_a_phone(open_page: OpenPage) -> None:
    page = open_page("staff", width=390, height=844)
    page.goto("/training/start/")
    options, recipes = page.locator(".recipes .switch > *").all(), page.locator(".recipes")
    assert [option.evaluate(LINES) for option in options] == [1, 1]
    boxes = [each.bounding_box() for each in (*options, recipes)]
    before, after, around = [(box["x"], box["width"]) for box in boxes if box]
    assert before[0] - around[0] < 2
    assert sum(around) - sum(after) < 2


def test_keyboard_and_tables_keep_their_place_while_the_page_comes_anew(open_page: OpenPage, rows: Rows) -> None:
    page = open_page("staff", width=390, height=844)
    page.goto("/training/")
    table = page.locator(".table-scroll").first
    table.evaluate("table => table.scrollTo(80, 0)")
    running = page.get_by_role("link", name=f"Training run {rows['running']}")
    running.focus()
    region = page.locator("#training")
    region.evaluate("region => { region.isTheFirst = true; }")
    wait_until(lambda: region.evaluate("region => !region.isTheFirst"), seconds=15, what="the page has come anew")
    expect(running).to_be_focused()
    assert table.evaluate("table => table.scrollLeft") == 80


def test_a_site_that_does_not_answer_is_told_until_it_does(open_page: OpenPage, rows: Rows) -> None:
    page = open_page("staff")
    page.goto("/training/")
    page.route("**/training/", lambda route: route.fulfill(status=503))
    told = page.get_by_role("alert")
    expect(told).to_contain_text("The site does not answer.", timeout=10_000)
    page.unroute("**/training/")
    # Sooner than the page would by itself.
    page.evaluate("htmx.ajax('GET', '/training/', '#training')")
    expect(told).to_be_hidden()


def test_a_run_is_watched_and_cancelled(open_page: OpenPage, site: LiveSite, rows: Rows) -> None:
    page = open_page("staff")
    page.goto(f"/training/runs/{rows['running']}/")
    state, chart = page.locator("#run-state"), page.locator("#loss canvas")
    expect(state).to_contain_text("epoch 3 of at most 20")
    assert chart.evaluate(EPOCHS) == 2
    page.locator("#loss summary").click()
    site.query(
        "INSERT INTO training_epochmetrics"
        " (run_id, epoch, train_loss, train_accuracy, val_loss, val_accuracy, learning_rate, seconds)"
        " VALUES (%s, 3, 0.5, 0.8, 0.6, 0.7, 0.01, 120)",
        (rows["running"],),
    )
    # Everything comes by itself: the window is not read anew, the table stays open.
    page.evaluate("window.isTheSame = true")
    expect(state).to_contain_text("epoch 4 of at most 20", timeout=15_000)
    expect(page.locator("#loss tbody tr")).to_have_count(3)
    expect(page.locator("#loss tbody")).to_be_visible()
    wait_until(lambda: chart.evaluate(EPOCHS) == 3, seconds=5, what="the chart has the third epoch")
    assert page.evaluate("window.isTheSame") is True
    page.get_by_role("link", name="Cancel …").click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(state).to_contain_text("It is being cancelled")
    asked = site.value("SELECT cancel_requested FROM training_trainingrun WHERE id = %s", (rows["running"],))
    assert asked is True
    # What the trainer then does.
    site.query("UPDATE training_trainingrun SET status = 'cancelled' WHERE id = %s", (rows["running"],))
    expect(state).to_contain_text("The run was cancelled.", timeout=15_000)
    expect(page.locator("#run-state[hx-get]")).to_have_count(0)


def test_from_a_figure_to_its_images(open_page: OpenPage, rows: Rows) -> None:
    page = open_page("staff")
    page.goto(f"/training/runs/{rows['made']}/")
    wrong = page.locator(".confusion td:not(.hit) a").first
    count = int(wrong.inner_text())
    row = wrong.locator("xpath=ancestor::tr/th").inner_text()
    wrong.click()
    expect(page.locator("h1")).to_contain_text(f"{row} taken for")
    expect(page.locator(".strip")).to_have_count(count)
    strip = page.locator(".strip").first
    expect(strip.locator(".neighbours > li")).to_have_count(2)
    expect(strip.locator(".neighbours .other")).to_have_count(2)
    page.select_option("#narrow-predicted", "")
    expect(page.locator("h1")).to_have_text(row)
    page.go_back()
    page.go_back()
    page.get_by_role("link", name="Rates").click()
    hit = page.locator(".confusion .hit a").first
    right, total = re.findall(r"\d+", (hit.get_attribute("title") or "").rpartition(":")[2])
    assert 0 < int(right) < int(total)
    expect(hit).to_have_text(str(round(100 * int(right) / int(total))))


def test_a_version_is_activated_after_its_objections(open_page: OpenPage, site: LiveSite, rows: Rows) -> None:
    active = "SELECT number FROM retrieval_modelversion WHERE status = 'active'"
    former = site.value(active)
    page = open_page("staff")
    page.goto("/training/")
    page.get_by_role("button", name="Activate version 90").click()
    expect(page.locator(".objections")).to_contain_text("no search finds them until they are indexed")
    page.get_by_role("link", name=f"Keep version {former}").click()
    assert site.value(active) == former
    page.get_by_role("button", name="Activate version 90").click()
    page.get_by_role("button", name="Activate anyway").click()
    expect(page.locator(".notice-success")).to_contain_text("Version 90 is active")
    assert site.value(active) == 90
    page.get_by_role("link", name=f"Roll back to version {former}").click()
    page.get_by_role("button", name="Roll back").click()
    expect(page.locator(".notice-success")).to_contain_text(f"Version {former} is active again")
    assert site.value(active) == former


def test_a_form_that_is_wrong_says_where(open_page: OpenPage, site: LiveSite, rows: Rows) -> None:
    runs = "SELECT count(*) FROM training_trainingrun"
    before = site.value(runs)
    page = open_page("staff")
    page.goto(f"/training/start/?run={rows['failed']}")
    expect(page.get_by_label("Synthetic phantoms")).to_be_checked()
    page.get_by_label("Synthetic phantoms").uncheck()
    page.get_by_text("More settings").click()
    expect(page.get_by_label("Patience")).to_have_value("4")
    page.get_by_label("Epochs at most").fill("0")
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("#id_datasets_error")).to_have_text("Choose at least one dataset.")
    expect(page.get_by_label("Epochs at most")).to_have_accessible_description(
        "An epoch shows every training image once. A number from 1 to 1,000."
    )
    expect(page.get_by_label("Patience")).to_have_value("4")
    assert site.value(runs) == before
