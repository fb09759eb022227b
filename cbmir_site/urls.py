from django.conf import settings
from django.contrib import admin
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path

from cbmir_site import health

admin.site.index_title = "Archive, jobs and people"

login = auth.LoginView.as_view(redirect_authenticated_user=True, extra_context={"is_demo": settings.DEMO})

urlpatterns = [
    path("healthz", health.alive),
    path("readyz", health.ready),
    path("login/", login_not_required(login), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("training/", include("training.urls")),
    path("", include("retrieval.urls")),
]
handler400 = "cbmir_site.errors.bad_request"
handler403 = "cbmir_site.errors.permission_denied"
handler404 = "cbmir_site.errors.page_not_found"
handler500 = "cbmir_site.errors.server_error"
