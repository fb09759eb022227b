"""A page with charts for the browser tests: the site's addresses and templates, and tables of made-up figures."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path

from cbmir_site import urls

ROWS = """{% for row in rows %}<tr><th scope="row">{{ row.epoch }}</th>
<td class="right">{{ row.first|floatformat:4 }}</td>
<td class="right">{{ row.second|floatformat:4 }}</td></tr>{% endfor %}"""
FIGURE = """<figure class="panel" data-chart="line" data-y="{{ y }}" id="{{ y|lower }}">
  <figcaption>{{ y }} per epoch</figcaption>
  <details><summary>Table</summary><div class="table-scroll" tabindex="0" role="group" aria-label="{{ y }}">
    <table>
      <thead><tr><th scope="col">Epoch</th>
      <th scope="col" class="right"{{ mark }}>Training</th>
      <th scope="col" class="right"{{ mark }}>Validation</th></tr></thead>
      <tbody>{% include rows_template %}</tbody>
    </table>
  </div></details>
</figure>"""
FIGURES = """<div id="run" class="charts">
{% include figure with y="Loss" rows=loss %}{% include figure with y="Accuracy" rows=accuracy mark=" data-percent" %}
</div>"""
PAGE = """{% extends "base.html" %}{% block head %}{% include "_charts.html" %}{% endblock %}
{% block content %}<h1>Charts</h1>
<button hx-get="/charts/figures?epochs=9" hx-target="#run" hx-swap="outerHTML">Figures</button>
<button hx-get="/charts/rows?epochs=12" hx-target="#loss tbody">Rows</button>
{% include figures %}{% endblock %}"""


def _answer(source: str, request: HttpRequest) -> HttpResponse:
    engine = engines["django"]
    templates = {"figures": FIGURES, "figure": FIGURE, "rows_template": ROWS}
    loss, accuracy = _figures(int(request.GET["epochs"]))
    context = {name: engine.from_string(text) for name, text in templates.items()}
    return HttpResponse(
        engine.from_string(source).render({**context, "loss": loss, "accuracy": accuracy, "rows": loss}, request)
    )


def _figures(epochs: int) -> tuple[list[dict], list[dict]]:
    """Curves as training draws them. Nothing was validated in the third epoch."""
    numbers = range(1, epochs + 1)
    loss = [{"epoch": n, "first": 2.1 / n, "second": 2.4 / n + 0.1 if n != 3 else ""} for n in numbers]
    accuracy = [{"epoch": n, "first": 99 - 60 / n, "second": 97 - 70 / n if n != 3 else ""} for n in numbers]
    return loss, accuracy


@login_not_required
def page(request: HttpRequest) -> HttpResponse:
    return _answer(PAGE, request)


@login_not_required
def figures(request: HttpRequest) -> HttpResponse:
    return _answer(FIGURES, request)


@login_not_required
def rows(request: HttpRequest) -> HttpResponse:
    return _answer(ROWS, request)


urlpatterns = [
    path("charts/", page),
    path("charts/figures", figures),
    path("charts/rows", rows),
    *urls.urlpatterns,
]
