"""Deleting a dataset: what will be gone, the name to be typed, and how far it has come."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods
from django_htmx.http import HttpResponseClientRefresh

from retrieval.models import Dataset, DatasetDeletion
from retrieval.services.deleting import DeletionRefused, footprint, last_failure, request_deletion
from retrieval.views.importing import is_late

may_delete = permission_required("retrieval.delete_dataset", raise_exception=True)


@require_http_methods(["GET", "HEAD", "POST"])
@may_delete
def dataset_delete(request: HttpRequest, pk: int) -> HttpResponse:
    dataset = get_object_or_404(Dataset, pk=pk)
    if dataset.deletion:
        return redirect(dataset.deletion)
    is_wrong = request.method == "POST" and request.POST.get("name", "").strip() != dataset.name.strip()
    if request.method != "POST" or is_wrong:
        context = {
            "dataset": dataset,
            "footprint": footprint(dataset),
            "uploads": dataset.uploads.open().select_related("created_by"),
            "last_failure": last_failure(dataset),
            "is_wrong": is_wrong,
        }
        return render(request, "retrieval/dataset_delete.html", context, status=400 if is_wrong else 200)
    try:
        return redirect(request_deletion(dataset=dataset, user=request.user))  # type: ignore[arg-type]
    except DeletionRefused as refused:
        messages.error(request, str(refused))
        return redirect(dataset)


@require_GET
@may_delete
def deletion_detail(request: HttpRequest, pk: int) -> HttpResponse:
    deletion = get_object_or_404(DatasetDeletion.objects.select_related("asked_by", "dataset"), pk=pk)
    is_piece = request.htmx  # type: ignore[attr-defined]
    if is_piece and deletion.is_finished:
        return HttpResponseClientRefresh()
    template = "retrieval/_deletion_state.html" if is_piece else "retrieval/deletion_detail.html"
    return render(request, template, {"deletion": deletion, "is_late": is_late(deletion)})
