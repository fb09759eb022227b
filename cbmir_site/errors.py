"""The error pages: what happened, what it means for the data, what to do next. No database: it may be the cause."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme

from retrieval.storage import NO_SPACE

# Where somebody may go instead: the first page that they have the right to.
PAGES = (
    ("retrieval.add_query", "ask", "To the search"),
    ("retrieval.view_query", "query_list", "To your searches"),
    ("retrieval.view_dataset", "dataset_list", "To the datasets"),
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    return HttpResponse(render_to_string("errors/400.html"), status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Says who is logged in, and lets them log out: there may be no other page that shows it to them."""
    person = request.user
    pages = [(address, name) for right, address, name in PAGES if person.has_perm(right)]
    if person.is_staff:
        pages.append(("admin:index", "To the administration"))
    context = {"has_rights": bool(person.get_all_permissions()), "page": next(iter(pages), None)}
    return HttpResponse(render_to_string("errors/403.html", context, request=request), status=403)


def form_refused(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Django's check of forms: mostly of a page that was opened before the last login."""
    page = render_to_string("errors/form_refused.html", {"page_before": page_before(request)})
    return HttpResponse(page, status=403)


def wrong_method() -> str:
    return render_to_string("errors/405.html")


def page_before(request: HttpRequest) -> str:
    """The address of the page of ours on which a button was pressed, as far as the browser tells."""
    referer = request.headers.get("Referer", "")
    ours = {request.get_host()}
    return referer if url_has_allowed_host_and_scheme(referer, ours, require_https=request.is_secure()) else "/"


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    return HttpResponse(render_to_string("errors/404.html"), status=404)


def server_error(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Called while the exception is being handled: what is no fault of ours is said, and passes."""
    error = sys.exception()
    if isinstance(error, OperationalError | InterfaceError):
        page = render_to_string("errors/database_down.html")
        return HttpResponse(page, status=503, headers={"Retry-After": "10"})
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return HttpResponse(render_to_string("errors/disk_full.html"), status=507)
    return HttpResponse(render_to_string("errors/500.html"), status=500)
