"""The error pages: what happened, what it means for the data, what to do next. No database: it may be the cause."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from retrieval.storage import NO_SPACE


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    return HttpResponse(render_to_string("errors/400.html"), status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    return HttpResponse(render_to_string("errors/403.html"), status=403)


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
