"""Which model version serves: activate, roll back, retire. Each asks once more where something could be lost."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from retrieval.models import ModelVersion
from retrieval.services.switching import NothingToRollBackTo, SwitchedMeanwhile, version_to_roll_back_to
from retrieval.services.versions import VersionRefused, VersionRetired
from training.results import index_counts
from training.services.activation import give_up, go_back, objections, put_into_service, worse_answers

may_change = permission_required("retrieval.change_modelversion", raise_exception=True)
takes_form = require_http_methods(["GET", "HEAD", "POST"])


@takes_form
@may_change
def version_activate(request: HttpRequest, number: int) -> HttpResponse:
    """At once where nothing speaks against it; else after a page that says what does."""
    version = get_object_or_404(ModelVersion, number=number)
    if version.status == ModelVersion.Status.RETIRED:
        messages.error(request, str(VersionRetired(version)))
        return redirect("training_home")
    # First: where another one is activated while the objections are found, the switch below is refused.
    active = ModelVersion.objects.active()
    reasons = objections(version)
    now, agreed = str(active.number) if active else "", request.POST.get("active")
    is_outdated = agreed not in (None, now) and version != active
    if is_outdated:
        messages.error(request, str(SwitchedMeanwhile()))
    if request.method != "POST" or is_outdated or (reasons and agreed is None):
        context = {"version": version, "objections": reasons, "active": active}
        return render(request, "training/activate.html", context)
    try:
        put_into_service(version, agreed=now)
    except VersionRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, f"Version {version.number} is active: it answers every search from now on.")
    return redirect("training_home")


@takes_form
@may_change
def version_roll_back(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _roll_back(request)
    version = version_to_roll_back_to()
    if version is None:
        messages.error(request, str(NothingToRollBackTo()))
        return redirect("training_home")
    context = {
        "version": version,
        "active": ModelVersion.objects.active(),
        "objections": worse_answers(version),
        **index_counts(version),
    }
    return render(request, "training/roll_back.html", context)


def _roll_back(request: HttpRequest) -> HttpResponse:
    try:
        version = go_back(agreed=(request.POST.get("active", ""), request.POST.get("to", "")))
    except VersionRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, f"Version {version.number} is active again.")
    return redirect("training_home")


@takes_form
@may_change
def version_retire(request: HttpRequest, number: int) -> HttpResponse:
    version = get_object_or_404(ModelVersion, number=number)
    if request.method == "POST":
        try:
            give_up(version)
        except VersionRefused as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, f"Version {version.number} is retired: its embeddings and its file are deleted.")
        return redirect("training_home")
    context = {"version": version, "embedding_count": version.embeddings.count(), "file_size": _file_size(version)}
    return render(request, "training/retire.html", context)


def _file_size(version: ModelVersion) -> int | None:
    try:
        return version.weights.size if version.weights else None
    except FileNotFoundError:
        return None
