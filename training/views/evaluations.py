"""One judgement of a version: its figures, and the test images behind each of them."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods
from django_htmx.http import HttpResponseClientRefresh

from retrieval.models import JobStatus, MedicalImage
from retrieval.services.jobs import cancel
from training.models import EvaluatedImage, Evaluation
from training.results import HARDEST_FIRST, class_rows, confusion_rows, from_elsewhere, strips

HARDEST = 10
NEIGHBOURS = 10
PAGE = 20
# More of them make a matrix that nobody can read.
MOST_IN_MATRIX = 60


@require_GET
@permission_required("training.view_evaluation", raise_exception=True)
def evaluation_detail(request: HttpRequest, pk: int) -> HttpResponse:
    evaluation = get_object_or_404(Evaluation.objects.select_related("run", "model_version"), pk=pk)
    if request.htmx and evaluation.is_finished:  # type: ignore[attr-defined]
        return HttpResponseClientRefresh()
    if evaluation.status != JobStatus.DONE:
        template = "training/_evaluation_state.html" if request.htmx else "training/evaluation_waiting.html"  # type: ignore[attr-defined]
        return render(request, template, {"evaluation": evaluation})
    # Of images from elsewhere the figures alone are kept.
    if evaluation.run and {"label", "predicted"} & set(request.GET):
        return render(request, "training/evaluated_images.html", _images_context(request, evaluation=evaluation))
    return render(request, "training/evaluation_detail.html", result_context(request, evaluation=evaluation))


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("training.change_trainingrun", raise_exception=True)
def evaluation_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """The same right as for a run: it is what keeps the trainer from everybody else's."""
    evaluation = get_object_or_404(Evaluation.objects.select_related("run", "model_version"), pk=pk)
    if request.method != "POST" and not evaluation.is_finished:
        return render(request, "training/evaluation_cancel.html", {"evaluation": evaluation})
    if request.method == "POST":
        cancel(evaluation)
        evaluation.refresh_from_db()
    if evaluation.status not in (JobStatus.CANCELLED, JobStatus.RUNNING):
        messages.info(request, "The judgement had ended before it could be cancelled.")
    return redirect("evaluation_detail", evaluation.pk)


def result_context(request: HttpRequest, *, evaluation: Evaluation) -> dict[str, Any]:
    """What templates/training/_result.html shows."""
    sort = request.GET.get("sort", HARDEST_FIRST)
    report = evaluation.report
    labels = report["confusion_matrix"]["labels"]
    return {
        "evaluation": evaluation,
        "report": report,
        "sort": sort,
        "elsewhere": from_elsewhere(evaluation.model_version) if evaluation.run else [],
        "class_rows": class_rows(report, sort=sort),
        "confusion": confusion_rows(report) if len(labels) <= MOST_IN_MATRIX else [],
        "confusion_labels": labels,
        "shows_rates": request.GET.get("rates") == "1",
        "hardest": strips(_seen(request, evaluation=evaluation)[:HARDEST], user=request.user, most=NEIGHBOURS),
    }


def _seen(request: HttpRequest, *, evaluation: Evaluation) -> QuerySet[EvaluatedImage]:
    """Its test images but for those that were taken out of the archive since, or wait to be looked at."""
    return evaluation.images.filter(image__in=MedicalImage.objects.visible_to(request.user).values("pk"))


def _images_context(request: HttpRequest, *, evaluation: Evaluation) -> dict[str, Any]:
    chosen = {name: request.GET[name] for name in ("label", "predicted") if request.GET.get(name)}
    images = _seen(request, evaluation=evaluation).filter(**chosen)
    page = Paginator(images, PAGE).get_page(request.GET.get("page"))
    return {
        "evaluation": evaluation,
        "page": page,
        "hidden_count": evaluation.images.filter(**chosen).count() - page.paginator.count,
        "strips": strips(page.object_list, user=request.user, most=NEIGHBOURS),
        "labels": evaluation.report["confusion_matrix"]["labels"],
        "label": chosen.get("label", ""),
        "predicted": chosen.get("predicted", ""),
    }
