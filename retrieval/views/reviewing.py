"""Images that nobody else sees until a person has looked at them, and what is decided about any image."""

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from retrieval.imaging.names import printable
from retrieval.models import Dataset, MedicalImage
from retrieval.services.curation import exclude, hold, release, restore, shown_copies
from retrieval.views.numbers import number_in

PAGE = 24
# Slices and frames of one series are decided together.
BY_SERIES = ("dataset", "series_instance_uid", "instance_number", "pk")
VERBS: dict[str, Callable[..., list[MedicalImage]]] = {
    "release": release,
    "exclude": exclude,
    "hold": hold,
    "restore": restore,
}
TAKING_AWAY = ("exclude", "hold")
UNDONE_BY = {"release": "hold", "exclude": "restore"}
SAID = {
    "release": "shown from now on",
    "exclude": "taken out of the archive; the files are kept",
    "hold": "waiting to be looked at again",
    "restore": "put back",
}
NOTHING_CHOSEN = "No image was chosen. Tick some first."
LONGEST_NOTE = 500
DECIDED = "decided"

may_curate = permission_required(["retrieval.view_medicalimage", "retrieval.curate_medicalimage"], raise_exception=True)


@require_GET
@may_curate
def review(request: HttpRequest) -> HttpResponse:
    held = MedicalImage.objects.held()
    waiting = held.order_by("dataset__name").values("dataset_id", "dataset__name").annotate(count=Count("pk"))
    dataset = _chosen_dataset(request)
    chosen = held.filter(dataset=dataset) if dataset else held
    context = {
        "dataset": dataset,
        "waiting": list(waiting),
        "page": Paginator(chosen.select_related("dataset").order_by(*BY_SERIES), PAGE).get_page(
            request.GET.get("page")
        ),
        "decided": request.session.pop(DECIDED, None),
    }
    return render(request, "retrieval/review.html", context)


def _chosen_dataset(request: HttpRequest) -> Dataset | None:
    number = number_in(request.GET.get("dataset", ""))
    return None if number is None else get_object_or_404(Dataset, pk=number)


@require_POST
@may_curate
def review_decide(request: HttpRequest) -> HttpResponse:
    """The field that is named like a verb says of which image; where it is empty, the ticked ones are meant."""
    verb = next((name for name in VERBS if name in request.POST), None)
    if verb is None:
        raise BadRequest
    images = _named_images(request, verb=verb)
    note = printable(request.POST.get("note", "").strip())[:LONGEST_NOTE]
    changed = VERBS[verb](images, user=cast(User, request.user), note=note)
    said = _said(verb, changed=len(changed), asked=len(images)) + _still_shown(verb, images=changed)
    if request.POST.get("back") == "image" and images:
        messages.success(request, said)
        return redirect(images[0])
    request.session[DECIDED] = {
        "said": said,
        "undo": UNDONE_BY.get(verb) if changed else None,
        "images": [str(image.uuid) for image in changed],
    }
    return redirect(_next_address(request))


def _named_images(request: HttpRequest, *, verb: str) -> QuerySet[MedicalImage]:
    named = [request.POST[verb]] if request.POST[verb] else request.POST.getlist("image")
    return MedicalImage.objects.filter(uuid__in=[_uuid(each) for each in named])


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise BadRequest from error


def _said(verb: str, *, changed: int, asked: int) -> str:
    if not asked:
        return NOTHING_CHOSEN
    late = f" {asked - changed} had been decided by somebody else meanwhile." if changed < asked else ""
    return f"{changed} image{'' if changed == 1 else 's'} {'is' if changed == 1 else 'are'} {SAID[verb]}.{late}"


def _still_shown(verb: str, *, images: list[MedicalImage]) -> str:
    if verb not in TAKING_AWAY:
        return ""
    names = sorted(set(shown_copies(images).values_list("dataset__name", flat=True)))
    if not names:
        return ""
    return f" The same file is still shown in {' and in '.join(names)}: decide on it there too."


def _next_address(request: HttpRequest) -> str:
    """The page that was decided on, at the image that comes next."""
    where: dict[str, Any] = {name: request.POST[name] for name in ("dataset", "page") if request.POST.get(name)}
    following = request.POST.get("next", "")
    place = f"#image-{_uuid(following)}" if following else ""
    return reverse("review") + (f"?{urlencode(where)}" if where else "") + place
