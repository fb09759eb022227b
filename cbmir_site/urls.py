from django.conf import settings
from django.contrib import admin
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_not_required
from django.contrib.messages.views import SuccessMessageMixin
from django.urls import include, path, reverse_lazy

from cbmir_site import health

admin.site.index_title = "Archive, jobs and people"

login = auth.LoginView.as_view(redirect_authenticated_user=True, extra_context={"is_demo": settings.DEMO})


class PasswordChange(SuccessMessageMixin, auth.PasswordChangeView):
    """For everybody: most people do not see the administration, where there is one too."""

    template_name = "registration/password.html"
    success_url = reverse_lazy("password")
    success_message = "Your password is changed."


urlpatterns = [
    path("healthz", health.alive),
    path("readyz", health.ready),
    path("login/", login_not_required(login), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("password/", PasswordChange.as_view(), name="password"),
    path("admin/", admin.site.urls),
    path("training/", include("training.urls")),
    path("", include("retrieval.urls")),
]
handler400 = "cbmir_site.errors.bad_request"
handler403 = "cbmir_site.errors.permission_denied"
handler404 = "cbmir_site.errors.page_not_found"
handler500 = "cbmir_site.errors.server_error"
