"""Two model versions side by side on the same test images."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRefresh

from retrieval.models import JobStatus, ModelVersion
from retrieval.services.versions import VersionRefused
from retrieval.views.numbers import number_in
from training.models import TrainingRun
from training.results import class_differences, comparable, figure_differences, image_differences
from training.services.judging import request_evaluation

CHANGED = 12
Versions = list[ModelVersion]


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("training.view_evaluation", raise_exception=True)
def version_compare(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _request_evaluation(request)
    runs = TrainingRun.objects.filter(status=JobStatus.DONE).prefetch_related("datasets")
    run = _chosen_run(request.GET.dict(), runs=list(runs))
    versions = list(ModelVersion.objects.all())
    chosen = _chosen_versions(request.GET.dict(), run=run, versions=versions)
    sides = [_side(version, run=run) for version in chosen]
    is_busy = any(side["is_missing"] and side["newest"] and not side["newest"].is_finished for side in sides)
    context = {
        **{"run": run, "runs": runs, "versions": versions, "sides": sides, "is_busy": is_busy},
        "has_images": run is not None and run.split.exists(),
    }
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "training/_compare_state.html", context) if is_busy else HttpResponseClientRefresh()
    return render(request, "training/compare.html", {**context, **_differences(chosen, run=run)})


def _chosen_run(chosen: Mapping[str, str], *, runs: list[TrainingRun]) -> TrainingRun | None:
    """The run whose test images are asked with: that of the address, else the newest."""
    number = chosen.get("run", "")
    if not number:
        return runs[0] if runs else None
    return next((run for run in runs if str(run.pk) == number), None)


def _chosen_versions(chosen: Mapping[str, str], *, run: TrainingRun | None, versions: Versions) -> Versions:
    """`a` and `b` of the address; where they are missing, the active version and the one that the run made."""
    if run is None:
        return []
    by_number = {str(version.number): version for version in versions}
    after = by_number.get(chosen["b"]) if chosen.get("b") else run.model_version
    before = by_number.get(chosen["a"]) if chosen.get("a") else _counterpart(after, run=run, versions=versions)
    return [version for version in (before, after) if version is not None]


def _counterpart(version: ModelVersion | None, *, run: TrainingRun, versions: Versions) -> ModelVersion | None:
    """The active version, or the newest other one that was judged on the same images."""
    judged = set(run.evaluations.filter(status=JobStatus.DONE).values_list("model_version_id", flat=True))
    others = [each for each in versions if each != version and (each.pk in judged or each.status == "active")]
    return min(others, key=lambda each: each.status != "active", default=None)


def _side(version: ModelVersion, *, run: TrainingRun | None) -> dict[str, Any]:
    """`newest` is the last that was asked for; `is_missing` is whether no judgement is of the images there are now."""
    evaluations = list(version.evaluations.filter(run=run).select_related("run", "model_version"))
    is_missing = not any(each.status == JobStatus.DONE and not each.is_outdated for each in evaluations)
    return {"version": version, "newest": next(iter(evaluations), None), "is_missing": is_missing}


def _differences(versions: Versions, *, run: TrainingRun | None) -> dict[str, Any]:
    """The figures of both, and what changed between them; nothing until both are judged on the same images."""
    if run is None or len(versions) != 2 or versions[0] == versions[1]:
        return {}
    before, after = next(comparable(*versions, run=run), (None, None))
    if before is None or after is None:
        return {}
    images = image_differences(before, after)
    return {
        "before": before,
        "compared": (before, after),
        "figures": figure_differences(before.report, after.report),
        "class_differences": class_differences(before.report, after.report),
        "worse": images.filter(change__lt=0).order_by("change", "image_id")[:CHANGED],
        "worse_count": images.filter(change__lt=0).count(),
        "better": images.filter(change__gt=0).order_by("-change", "image_id")[:CHANGED],
        "better_count": images.filter(change__gt=0).count(),
    }


def _request_evaluation(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("training.add_evaluation"):
        raise PermissionDenied
    run = get_object_or_404(TrainingRun, pk=number_in(request.POST.get("run", "")), status=JobStatus.DONE)
    version = get_object_or_404(ModelVersion, number=number_in(request.POST.get("version", "")))
    try:
        request_evaluation(version=version, run=run)
    except VersionRefused as refused:
        messages.error(request, str(refused))
    chosen = QueryDict(mutable=True)
    chosen.update({"run": str(run.pk), **{name: request.POST.get(name, "") for name in ("a", "b")}})
    return redirect(f"{reverse('version_compare')}?{chosen.urlencode()}")
