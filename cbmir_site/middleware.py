"""What no view has to look after itself."""

from collections.abc import Callable

from csp.decorators import csp_update
from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse

from cbmir_site import errors
from retrieval.views.uploading import PIECE

# The largest form of any page but the one that takes images.
FORM_BYTES = 2**20
# How long a browser may send nothing in the middle of a body.
SILENCE_SECONDS = 60
UPLOADS = "/uploads/"
ADMINISTRATION = "/admin/"
Handler = Callable[[HttpRequest], HttpResponse]
View = Callable[..., HttpResponseBase]


def end_silence(get_response: Handler) -> Handler:
    """A computer that leaves its network says no goodbye: waiting for the rest of a body would hold a thread for ever.

    The broken read is Django's UnreadablePostError. The answer is sent without the limit: for Python it would be the
    time for all of a page, however slow the line.
    """

    def handle(request: HttpRequest) -> HttpResponse:
        client = request.META.get("gunicorn.socket")
        if client is None:
            return get_response(request)
        client.settimeout(SILENCE_SECONDS)
        try:
            return get_response(request)
        finally:
            client.settimeout(None)

    return handle


def refuse_nul(get_response: Handler) -> Handler:
    """No address and no cookie of ours holds a NUL, and PostgreSQL takes none: it would look like a fault of the site.

    Forms are for their views: reading one here would read a whole body.
    """

    def handle(request: HttpRequest) -> HttpResponse:
        asked = (word for _, words in request.GET.lists() for word in words)
        # Octal escapes in a cookie have become what they stand for.
        if any("\0" in text for text in (request.path_info, *asked, *request.COOKIES.values())):
            raise BadRequest("NUL in the address or in a cookie")
        return get_response(request)

    return handle


def keep_nothing(get_response: Handler) -> Handler:
    """A browser keeps no page: the next who sits there must not find it by the Back button, logged out or not.

    Views say so where theirs may be kept, and static files never come by here.
    """

    def handle(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response

    return handle


def explain_wrong_method(get_response: Handler) -> Handler:
    """The address of a button, opened as a page: the views that refuse it answer with nothing at all."""

    def handle(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if response.status_code == 405 and request.method == "GET":
            response.content = errors.wrong_method()
        return response

    return handle


def limit_body(get_response: Handler) -> Handler:
    """Django reads a whole body, files and all, before it asks who sends it: nobody must fill the disk that way.

    The page that takes images has a limit of its own, behind its check of rights; so have the pieces of uploads, whose
    type of content Django does not read by itself.
    """

    def handle(request: HttpRequest) -> HttpResponse:
        is_large = int(request.META.get("CONTENT_LENGTH") or 0) > FORM_BYTES
        is_piece = request.path_info.startswith(UPLOADS) and request.content_type == PIECE
        if is_large and request.path_info != reverse("ask") and not is_piece:
            return HttpResponse("This address takes no large files.", status=413, content_type="text/plain")
        return get_response(request)

    return handle


class LoginRequired(LoginRequiredMiddleware):
    """Leads to the login page, but for the script that sends uploads: it would take that page for an answer.

    After the login comes the page that was asked for, or the one on which a button was pressed.
    """

    def handle_no_permission(self, request: HttpRequest, view_func: View) -> HttpResponse:  # type: ignore[override]
        if request.path_info.startswith(UPLOADS):
            return HttpResponse("You are not logged in.", status=401, content_type="text/plain")
        if request.method not in ("GET", "HEAD"):
            return redirect_to_login(errors.page_before(request))
        return super().handle_no_permission(request, view_func)


def loosen_policy(get_response: Handler) -> Handler:
    """The theme of the administration needs more of the Content-Security-Policy than the pages of clinicians."""
    loosened: Handler = csp_update(settings.ADMIN_SECURITY_POLICY)(get_response)  # type: ignore[assignment]

    def handle(request: HttpRequest) -> HttpResponse:
        is_ours = request.path_info.startswith(ADMINISTRATION)
        return (loosened if is_ours else get_response)(request)

    return handle
