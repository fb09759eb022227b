"""What the site answers when PostgreSQL is away: a page that says so, instead of an error."""

from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

Handler = Callable[[HttpRequest], HttpResponse]


class DatabaseDownMiddleware:
    """Outermost of our own: the session and the user are read below it, and they need the database too."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            return self.get_response(request)
        except (OperationalError, InterfaceError):
            return database_down_page()

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:  # noqa: ARG002
        """Django turns what a view raises into a 500 before `__call__` sees it; this hook comes first."""
        return database_down_page() if isinstance(exception, OperationalError | InterfaceError) else None


def database_down_page() -> HttpResponse:
    return HttpResponse(render_to_string("errors/database_down.html"), status=503, headers={"Retry-After": "10"})
