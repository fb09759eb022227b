"""Ask, read the answer, read old answers."""

import time
from collections import Counter
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.paginator import Paginator
from django.db.models import Manager, QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from retrieval.forms import EMPTY, AskForm, too_large
from retrieval.imaging import FileRefused
from retrieval.models import Dataset, JobStatus, MedicalImage, ModelVersion, Query
from retrieval.services.searching import (
    TOP_K,
    Neighbour,
    SearchFilter,
    ask_again,
    ask_with_image,
    ask_with_upload,
    find_neighbours,
    is_unlike,
)
from retrieval.services.versions import VersionRetired
from retrieval.views.files import private_image
from retrieval.views.stacks import places

RECENT = 8
PAGE = 50
ACCEPT = ".png,.jpg,.jpeg,.tif,.tiff,.dcm,image/png,image/jpeg,image/tiff,application/dicom"
# A form is a little longer than the file in it.
FORM_OVERHEAD = 2**20
POLL_SECONDS = 0.004
# A free worker takes a query within milliseconds: one that waits longer than this waits for a worker.
WORKER_LATE_SECONDS = 3
# Finding all labels reads the whole archive; a new one may wait this long before it can be chosen.
CHOICES_SECONDS = 60
# Counting reads the whole archive as well; on this page somebody may be watching it grow.
COUNT_SECONDS = 5
NOT_NARROWED = "This answer can't be narrowed any more: the model version that gave it is retired. Search again first."

may_ask = permission_required("retrieval.add_query", raise_exception=True)
may_see_queries = permission_required("retrieval.view_query", raise_exception=True)


@csrf_exempt  # Django's check reads the whole body; the size is refused before that, the rest is checked in _ask.
@require_http_methods(["GET", "HEAD", "POST"])
@may_ask
def ask(request: HttpRequest) -> HttpResponse:
    if int(request.META.get("CONTENT_LENGTH") or 0) > settings.QUERY_MAX_BYTES + FORM_OVERHEAD:
        return HttpResponse(too_large(), status=413, content_type="text/plain")
    return _ask(request)


@csrf_protect
def _ask(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return render(request, "retrieval/ask.html", _ask_context(request, form=AskForm()))
    form = AskForm(request.POST, request.FILES)
    if not form.is_valid():
        return _refused(request, form=form)
    query = ask_with_upload(user=_person(request), upload=form.cleaned_data["image"])
    # The page sends the image itself, to show its progress, and then goes where the answer will be.
    return HttpResponseClientRedirect(query.get_absolute_url()) if _is_partial(request) else redirect(query)


def _refused(request: HttpRequest, *, form: AskForm) -> HttpResponse:
    if _is_partial(request):
        reasons = " ".join(str(error) for error in form.errors["image"])
        return HttpResponse(reasons, status=form.http_status, content_type="text/plain; charset=utf-8")
    return render(request, "retrieval/ask.html", _ask_context(request, form=form), status=form.http_status)


def _is_partial(request: HttpRequest) -> bool:
    """Whether a script of an open page asks, and not a browser for a whole page."""
    return bool(cast(HtmxDetails, request.htmx))  # type: ignore[attr-defined]


def _person(request: HttpRequest) -> User:
    """Who asks. The permission that guards the view has turned everybody else away."""
    return cast(User, request.user)


def _ask_context(request: HttpRequest, *, form: AskForm) -> dict[str, Any]:
    version = ModelVersion.objects.active()
    return {
        "form": form,
        "recent": list(Query.objects.visible_to(request.user).select_related("image", "model_version")[:RECENT]),
        "image_count": _count(MedicalImage.objects.shown(), name="image_count"),
        "searchable_count": _count(version.embeddings, name=f"searchable_count_{version.pk}") if version else 0,
        "version": version,
        "accept": ACCEPT,
        "max_bytes": settings.QUERY_MAX_BYTES,
        "max_megabytes": settings.QUERY_MAX_BYTES // 2**20,
        "too_large": too_large(),
        "empty": EMPTY,
        "synthetic_share": Dataset.objects.synthetic_share(),
    }


def _count(rows: QuerySet | Manager, *, name: str) -> int:
    return cast(int, cache.get_or_set(name, rows.count, COUNT_SECONDS))


@require_GET
@may_see_queries
def query_list(request: HttpRequest) -> HttpResponse:
    queries = Query.objects.visible_to(request.user).with_closest().select_related("image", "model_version")
    page = Paginator(queries, PAGE).get_page(request.GET.get("page"))
    return render(request, "retrieval/query_list.html", {"page": page})


@require_GET
@may_see_queries
def query_detail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    active = ModelVersion.objects.active()
    query = _own_query(request, uuid)
    # What nobody works on is not waited for: that would keep a thread of the few from others.
    if not _waiting_for(query, active=active):
        _wait_for(query)
    narrowed = SearchFilter(**{name: request.GET.get(name, "") for name in ("dataset", "modality", "label")})
    try:
        neighbours = _answer(query, narrowed=narrowed)
    except VersionRetired:
        messages.error(request, NOT_NARROWED)
        return redirect(query)
    shown = [found.image for found in neighbours if found.image and found.image.is_shown]
    context = {
        "query": query,
        "neighbours": neighbours,
        "places": places(shown, user=request.user),
        "label_counts": Counter(image.label for image in shown).most_common(),
        "placeholders": range(TOP_K),
        "narrowed": narrowed,
        "is_narrowed": bool(narrowed.conditions()),
        "choices": _choices() if query.status == JobStatus.DONE else {},
        "waiting_for": _waiting_for(query, active=active),
        "is_unlike": is_unlike(neighbours, version=query.model_version, narrowed=narrowed),
        "is_outdated": query.status == JobStatus.DONE and active is not None and active != query.model_version,
        "can_retry": (query.status == JobStatus.FAILED and bool(query.upload)) or query.has_picture,
    }
    template = "retrieval/answer_update.html" if _is_partial(request) else "retrieval/query_detail.html"
    return render(request, template, context)


def _choices() -> dict[str, list[str]]:
    return cast(dict, cache.get_or_set("filter_choices", MedicalImage.objects.filter_choices, CHOICES_SECONDS))


def _own_query(request: HttpRequest, uuid: UUID) -> Query:
    queries = Query.objects.visible_to(request.user).select_related("image__dataset", "model_version")
    return get_object_or_404(queries, uuid=uuid)


def _wait_for(query: Query) -> None:
    """Give the worker a moment, so that most readers see one page change; the page itself goes on asking."""
    deadline = time.monotonic() + settings.QUERY_WAIT_SECONDS
    while not query.is_finished and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        query.refresh_from_db(fields=["status"])
    if query.is_finished:
        query.refresh_from_db()


def _waiting_for(query: Query, *, active: ModelVersion | None) -> str:
    """What an unfinished query waits for: "model", "worker", or "" when it is being worked on."""
    if query.is_finished:
        return ""
    if active is None:
        return "model"
    return "worker" if query.status == JobStatus.QUEUED and query.age_seconds > WORKER_LATE_SECONDS else ""


def _answer(query: Query, *, narrowed: SearchFilter) -> list[Neighbour]:
    """The stored answer; a narrower one is computed from the stored vector, with the version that made it."""
    if query.status != JobStatus.DONE:
        return []
    if narrowed.conditions() and query.model_version and query.vector:
        return find_neighbours(query.vector, version=query.model_version, narrowed=narrowed, asked_pk=query.image_id)
    results = query.results.select_related("image__dataset")
    return [Neighbour(rank=found.rank, image=found.image, distance=found.distance) for found in results]


@require_GET
@may_see_queries
def query_preview(request: HttpRequest, uuid: UUID) -> FileResponse:
    query = _own_query(request, uuid)
    if not query.image:
        return private_image(query.preview, content_type="image/png", may_be_kept=False)
    # "More like this": the picture is that of an image of the archive, for those who may see it.
    image = get_object_or_404(MedicalImage.objects.visible_to(request.user), pk=query.image.pk)
    return private_image(image.preview, content_type="image/png", may_be_kept=False)


@require_POST
@may_ask
def query_again(request: HttpRequest, uuid: UUID) -> HttpResponse:
    query = _own_query(request, uuid)
    try:
        return redirect(ask_again(query))
    except FileRefused as refused:
        messages.error(request, refused.reason)
        return redirect(query)


@require_POST
@may_ask
def image_similar(request: HttpRequest, uuid: UUID) -> HttpResponse:
    image = get_object_or_404(MedicalImage.objects.visible_to(request.user), uuid=uuid)
    try:
        return redirect(ask_with_image(user=_person(request), image=image))
    except FileRefused as refused:
        messages.error(request, refused.reason)
        return redirect("ask")
