"""What a person takes out of their own history."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from retrieval.models import Query
from retrieval.views.asking import may_see_queries


@require_http_methods(["GET", "HEAD", "POST"])
@may_see_queries
def query_delete(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Ask once more, then delete the search, its answer and its files. A worker that is at it finds its claim gone."""
    query = get_object_or_404(Query.objects.visible_to(request.user), uuid=uuid)
    if request.method != "POST":
        return render(request, "retrieval/query_delete.html", {"query": query})
    query.delete()
    messages.success(request, "The search was deleted.")
    return redirect("query_list")
