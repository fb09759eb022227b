"""Model versions and index jobs in the administration."""

from collections.abc import Callable

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from retrieval.models import Dataset, IndexBatch, IndexJob, ModelVersion
from retrieval.services.switching import retire_model_version
from retrieval.services.versions import create_model_version


def test_a_version_that_cannot_serve_is_refused_in_words(
    logged_in: Callable[..., Client], active_version: ModelVersion
) -> None:
    other = create_model_version(architecture="narrow", weights="none", seed=1)
    retire_model_version(other)
    chosen = {"action": "activate", "_selected_action": [other.pk]}
    page = logged_in("admin").post("/admin/retrieval/modelversion/", chosen, follow=True)
    assert f"Model version {other.number} is retired" in page.content.decode()
    assert ModelVersion.objects.active() == active_version


def test_more_index_jobs_are_read_with_as_many_queries(
    logged_in: Callable[..., Client], active_version: ModelVersion
) -> None:
    client = logged_in("admin")

    def queries() -> int:
        job = IndexJob.objects.create(model_version=active_version, total=6)
        IndexBatch.objects.create(index_job=job, first_image_id=1, last_image_id=6, status="done", done=5)
        with CaptureQueriesContext(connection) as captured:
            page = client.get("/admin/retrieval/indexjob/").content.decode()
        assert f"index job {job.pk}" in page
        return len(captured)

    queries()
    assert queries() == queries()


def test_what_is_counted_for_a_list_is_counted_once(logged_in: Callable[..., Client], archive: Dataset) -> None:
    client = logged_in("admin")
    for model, counted in (("modelversion", "embedding"), ("dataset", "medicalimage")):
        with CaptureQueriesContext(connection) as captured:
            page = client.get(f"/admin/retrieval/{model}/").content.decode()
        assert ">6<" in "".join(page.split())
        assert len([each for each in captured if f'"retrieval_{counted}"' in each["sql"]]) == 1
