"""Training runs, model versions and index jobs: what there is, and what can be done with it."""

from typing import Any

from django.contrib.auth.decorators import permission_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from retrieval.models import IndexJob, MedicalImage, ModelVersion
from retrieval.models.jobs import UNFINISHED
from retrieval.models.versions import ModelVersionQuerySet
from retrieval.services.switching import version_to_roll_back_to
from training.models import Evaluation, TrainingRun
from training.results import newest_figures

INDEX_JOBS_SHOWN = 10
PAGE = 20


@require_GET
@permission_required(["retrieval.view_modelversion", "training.view_trainingrun"], raise_exception=True)
def training_home(request: HttpRequest) -> HttpResponse:
    runs = TrainingRun.objects.select_related("created_by", "model_version").prefetch_related("datasets", "epochs")
    page = Paginator(runs, PAGE).get_page(request.GET.get("page"))
    unfinished = TrainingRun.objects.unfinished().prefetch_related("epochs").first()
    judgements = list(Evaluation.objects.unfinished().select_related("model_version").order_by("pk"))
    index_jobs = list(IndexJob.objects.with_progress().select_related("model_version")[:INDEX_JOBS_SHOWN])
    versions, figures = ModelVersion.objects.all(), newest_figures()
    context = {
        "unfinished": unfinished,
        "judgements": judgements,
        "page": page,
        "runs": [_run_row(run, figures=figures) for run in page],
        "versions": _version_rows(versions.exclude(status=ModelVersion.Status.RETIRED), figures=figures),
        "retired_count": versions.retired().count(),
        "roll_back_to": version_to_roll_back_to(),
        "image_count": MedicalImage.objects.shown().count(),
        "index_jobs": index_jobs,
        "is_busy": bool(unfinished or judgements) or any(job.progress["status"] in UNFINISHED for job in index_jobs),
    }
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "training/_home.html", context)
    # These only grow in number and change no more: they do not come anew with the rest.
    retired = _version_rows(versions.retired(), figures=figures)
    return render(request, "training/home.html", {**context, "retired": retired})


def _run_row(run: TrainingRun, *, figures: dict[int, dict[str, Any]]) -> dict[str, Any]:
    best = run.best_epoch
    return {
        "run": run,
        "best_accuracy": best.val_accuracy if best else None,
        "figures": figures.get(run.model_version_id or 0),
    }


def _version_rows(versions: ModelVersionQuerySet, *, figures: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    rows = versions.select_related("training_run").with_embedding_count()
    return [{"version": version, "figures": figures.get(version.pk)} for version in rows]
