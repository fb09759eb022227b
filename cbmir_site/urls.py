from django.conf import settings
from django.contrib import admin
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_not_required
from django.contrib.contenttypes.models import ContentType
from django.contrib.contenttypes.views import shortcut
from django.contrib.messages.views import SuccessMessageMixin
from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import include, path, reverse_lazy

from cbmir_site import health

admin.site.index_title = "Archive, jobs and people"

login = auth.LoginView.as_view(redirect_authenticated_user=True, extra_context={"is_demo": settings.DEMO})


class PasswordChange(SuccessMessageMixin, auth.PasswordChangeView):
    """For everybody: most people do not see the administration, where there is one too."""

    template_name = "registration/password.html"
    success_url = reverse_lazy("password")
    success_message = "Your password is changed."


def search_administration(request: HttpRequest) -> HttpResponse:
    """The theme's own, which takes a page that there is not for a fault of the site."""
    try:
        return admin.site.search(request)  # type: ignore[attr-defined]
    except InvalidPage as error:
        raise Http404 from error


def row_on_site(request: HttpRequest, content_type: str, row: str) -> HttpResponse:
    """Of what is in the administration alone: the addresses of others' queries are nobody's business."""
    try:
        model = ContentType.objects.get(pk=content_type).model_class()
    except (ContentType.DoesNotExist, ValueError) as error:
        raise Http404 from error
    if model is None or not admin.site.is_registered(model):
        raise Http404
    return shortcut(request, content_type, row)


urlpatterns = [
    path("healthz", health.alive),
    path("readyz", health.ready),
    path("login/", login_not_required(login), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("password/", PasswordChange.as_view(), name="password"),
    path("admin/search/", admin.site.admin_view(search_administration)),
    path("admin/r/<path:content_type>/<path:row>/", admin.site.admin_view(row_on_site)),
    path("admin/", admin.site.urls),
    path("training/", include("training.urls")),
    path("", include("retrieval.urls")),
]
handler400 = "cbmir_site.errors.bad_request"
handler403 = "cbmir_site.errors.permission_denied"
handler404 = "cbmir_site.errors.page_not_found"
handler500 = "cbmir_site.errors.server_error"
