"""The quality of a dataset: what it consists of, what a check found odd, and what can be done about it."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRefresh

from retrieval.models import Dataset, ImageChange, JobStatus, ModelVersion, QualityCheck, QualityFinding
from retrieval.services import jobs
from retrieval.services.deciding import DecisionRefused, decide, undo
from retrieval.services.quality import CheckRefused, news_since, request_quality_check
from retrieval.views.importing import is_late
from retrieval.views.numbers import number_in

PAGE = 24
CHANGES_SHOWN = 10
# Of near duplicates: what is shown unless the reader says otherwise, and the lowest that is kept.
SIMILARITY = 0.98
LEAST_SIMILARITY = 0.9
UNDO = "quality_undo"
Kind = QualityFinding.Kind

may_curate = permission_required(
    ["retrieval.view_dataset", "retrieval.view_medicalimage", "retrieval.curate_medicalimage"], raise_exception=True
)


@require_GET
@may_curate
def dataset_quality(request: HttpRequest, pk: int) -> HttpResponse:
    dataset = get_object_or_404(Dataset, pk=pk)
    check = dataset.quality_checks.select_related("model_version", "asked_by").first()
    made = dataset.quality_checks.filter(status=JobStatus.DONE).select_related("model_version").first()
    state = {"dataset": dataset, "check": check, "made": made, "is_late": check is not None and is_late(check)}
    if request.htmx:  # type: ignore[attr-defined]
        # What was found is listed with the end of a check: the page is read anew.
        is_over = check is None or check.is_finished
        return HttpResponseClientRefresh() if is_over else render(request, "retrieval/_quality_state.html", state)
    context = {
        **state,
        "news": news_since(made) if made else None,
        **_facts(dataset),
        **(_found(request, check=made) if made else {}),
        "undoable": _undoable(request, dataset=dataset),
        "changes": _changes(dataset)[:CHANGES_SHOWN],
    }
    return render(request, "retrieval/dataset_quality.html", context)


def _facts(dataset: Dataset) -> dict[str, Any]:
    """What the rows say by themselves, without a check."""
    images = dataset.images.shown()
    version = ModelVersion.objects.active()
    fields = {"Label": "label", "Modality": "modality", "Body part": "body_part_examined"}
    return {
        "version": version,
        "image_count": images.count(),
        "embedded_count": images.filter(embeddings__model_version=version).count() if version else 0,
        "held_count": dataset.images.held().count(),
        "excluded_count": dataset.images.filter(standing="excluded").count(),
        "counts": {name: images.counted_by(field) for name, field in fields.items()},
        "sizes": images.sizes(),
        "extremes": images.extremes(),
    }


def _found(request: HttpRequest, *, check: QualityCheck) -> dict[str, Any]:
    similarity = _similarity(request)
    undecided = {
        kind: check.findings.filter(kind=kind, **({"value__gte": similarity} if kind == Kind.NEAR else {})).undecided()
        for kind in Kind
    }
    counts = [(kind, undecided[kind].count()) for kind in Kind]
    first = next((kind for kind, count in counts if count), Kind.EXACT)
    shown = next((kind for kind in Kind if kind == request.GET.get("show")), first)
    findings = undecided[shown].select_related("image__dataset", "other__dataset")
    kept = check.findings.filter(kind=Kind.NEAR).order_by("-rank").first()
    here = request.GET.copy()
    here["show"] = shown
    return {
        "back": here.urlencode(),
        "similarity": similarity,
        "least_kept": kept,
        "kinds": counts,
        "shown": shown,
        "page": Paginator(findings, PAGE).get_page(request.GET.get("page")),
        "labels": check.dataset.images.labels(),
    }


def _similarity(request: HttpRequest) -> float:
    try:
        asked = float(request.GET.get("similarity", SIMILARITY))
    except ValueError:
        return SIMILARITY
    # Not a number is not between them either.
    return asked if LEAST_SIMILARITY <= asked <= 1 else SIMILARITY


def _changes(dataset: Dataset) -> Any:
    return ImageChange.objects.filter(image__dataset=dataset).select_related("image", "changed_by")


def _undoable(request: HttpRequest, *, dataset: Dataset) -> list[int]:
    """The changes of the action that has led to this page."""
    of_dataset, pks = request.session.pop(UNDO, (None, []))
    return pks if of_dataset == dataset.pk else []


@require_POST
@may_curate
def quality_check_start(request: HttpRequest, pk: int) -> HttpResponse:
    dataset = get_object_or_404(Dataset, pk=pk)
    try:
        request_quality_check(dataset=dataset, user=request.user)  # type: ignore[arg-type]
    except CheckRefused as refused:
        messages.error(request, str(refused))
    return redirect("dataset_quality", pk)


@require_POST
@may_curate
def quality_check_cancel(request: HttpRequest, pk: int) -> HttpResponse:  # noqa: ARG001
    for check in get_object_or_404(Dataset, pk=pk).quality_checks.unfinished():
        jobs.cancel(check)
    return redirect("dataset_quality", pk)


@require_POST
@may_curate
def quality_decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Relabel or exclude what is ticked, or the one image whose own button was pressed."""
    dataset = get_object_or_404(Dataset, pk=pk)
    try:
        decision = decide(
            dataset=dataset,
            action=request.POST.get("action", ""),
            ticked=request.POST.getlist("images"),
            label=request.POST.get("label", "").strip(),
            user=request.user,  # type: ignore[arg-type]
        )
    except DecisionRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, decision.words)
        request.session[UNDO] = (dataset.pk, decision.changes)
    return _back(request, dataset=dataset)


@require_POST
@may_curate
def quality_undo(request: HttpRequest, pk: int) -> HttpResponse:
    dataset = get_object_or_404(Dataset, pk=pk)
    numbers = map(number_in, request.POST.getlist("change"))
    wanted = [number for number in numbers if number is not None]
    undone = undo(ImageChange.objects.filter(pk__in=wanted), user=request.user)  # type: ignore[arg-type]
    if undone:
        messages.success(request, f"Undone: {len(undone)} image{'s are' if len(undone) > 1 else ' is'} as before.")
    else:
        messages.error(request, "Nothing was undone: somebody has changed this again since.")
    return _back(request, dataset=dataset)


def _back(request: HttpRequest, *, dataset: Dataset) -> HttpResponseRedirect:
    """To the list, and the page of it, from which the form was sent."""
    query = QueryDict(request.POST.get("back", "")).urlencode()
    address = reverse("dataset_quality", args=[dataset.pk])
    return HttpResponseRedirect(f"{address}?{query}#findings" if query else f"{address}#findings")
