"""Model versions in the administration."""

from collections.abc import Callable

from django.test import Client

from retrieval.models import ModelVersion
from retrieval.services.versions import create_model_version, retire_model_version


def test_a_version_that_cannot_serve_is_refused_in_words(
    logged_in: Callable[..., Client], active_version: ModelVersion
) -> None:
    other = create_model_version(architecture="narrow", weights="none", seed=1)
    retire_model_version(other)
    chosen = {"action": "activate", "_selected_action": [other.pk]}
    page = logged_in("admin").post("/admin/retrieval/modelversion/", chosen, follow=True)
    assert f"Model version {other.number} is retired" in page.content.decode()
    assert ModelVersion.objects.active() == active_version
