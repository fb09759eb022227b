"""What comes anew every two seconds: the keyboard keeps its place in it, screen readers do not hear it again."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from retrieval.models import Dataset, IndexBatch, IndexJob, ModelVersion
from tests.elements import Elements
from tests.training_rows import add_epoch, make_evaluation, make_run, make_version
from training.models import Evaluation, TrainingRun

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def busy(archive: Dataset, active_version: ModelVersion) -> TrainingRun:
    """A run that works while versions are judged and indexed, and more runs than one page holds."""
    made = make_run(archive)
    version = make_version(number=7, run=made)
    # Version 1 is judged by the images of a run that it is not of.
    make_evaluation(made, version=active_version)
    for status in ("done", "failed", "cancelled") * 7:
        make_run(archive, status=status, epochs=0)
    evaluation = {"model_version": version, "run": made}
    Evaluation.objects.create(**evaluation, status="failed", reason="The weights file is missing.")
    Evaluation.objects.create(**evaluation, status="running", lease_expires_at="2999-01-01T00:00Z")
    job = IndexJob.objects.create(model_version=version, total=6)
    IndexBatch.objects.create(index_job=job, first_image_id=1, last_image_id=6)
    return make_run(archive, status="running", epochs=1, phase="training", done=3, total=6)


def _polled(busy: TrainingRun) -> list[str]:
    made = TrainingRun.objects.earliest("pk").pk
    judging = Evaluation.objects.get(status="running").pk
    run = f"runs/{busy.pk}/?epochs=0"
    return [f"/training/{name}" for name in ("", "?page=2", run, f"evaluations/{judging}/", f"compare/?run={made}")]


def test_what_has_the_focus_is_found_again_in_what_comes_anew(logged_in: LoggedIn, busy: TrainingRun) -> None:
    """htmx gives the focus back to the element of the same id, and to that alone."""
    client = logged_in("staff")
    for address in _polled(busy):
        fragment = client.get(address, headers=HTMX)
        assert "HX-Refresh" not in fragment, address
        focusable = Elements(fragment.content.decode()).focusable()
        assert [each for each in focusable if "id" not in each[1]] == [], address
        assert "hx-get" in fragment.content.decode(), address
        assert Elements(client.get(address).content.decode()).twice() == [], address


def test_what_comes_anew_is_not_read_out_again(logged_in: LoggedIn, busy: TrainingRun) -> None:
    made, version = TrainingRun.objects.earliest("pk"), ModelVersion.objects.get(number=1)
    TrainingRun.objects.filter(pk=busy.pk).update(cancel_requested=True)
    Evaluation.objects.filter(status="running").update(cancel_requested=True)
    # Beside it stands one that failed, while the other side is judged.
    Evaluation.objects.filter(model_version=version).update(status="failed", reason="The weights file is missing.")
    client, heard = logged_in("staff"), ("alert", "status")
    for address in (*_polled(busy), f"/training/compare/?run={made.pk}&a=1&b=7"):
        fragment = client.get(address, headers=HTMX).content.decode()
        assert [each for each in Elements(fragment).all if each[1].get("role") in heard] == [], address


def test_curves_that_come_with_an_epoch_keep_the_focus_too(logged_in: LoggedIn, busy: TrainingRun) -> None:
    add_epoch(busy, epoch=2)
    fragment = logged_in("staff").get(f"/training/runs/{busy.pk}/?epochs=1", headers=HTMX).content.decode()
    assert fragment.count("<summary") == 2
    assert [each for each in Elements(fragment).focusable() if "id" not in each[1]] == []


def _queries(client: Client) -> int:
    with CaptureQueriesContext(connection) as queries:
        client.get("/training/", headers=HTMX)
    return len(queries)


def test_more_versions_and_index_jobs_are_read_with_as_many_queries(
    logged_in: LoggedIn, busy: TrainingRun, active_version: ModelVersion
) -> None:
    client = logged_in("staff")
    client.get("/training/")
    before = _queries(client)
    for number in range(8, 14):
        make_version(number=number)
        IndexBatch.objects.create(
            index_job=IndexJob.objects.create(model_version=active_version, total=6), first_image_id=1, last_image_id=6
        )
    assert _queries(client) == before


def test_embeddings_are_counted_without_being_joined(
    logged_in: LoggedIn, busy: TrainingRun, active_version: ModelVersion
) -> None:
    with CaptureQueriesContext(connection) as queries:
        page = logged_in("staff").get("/training/", headers=HTMX)
    counts = {row["version"].number: row["version"].embedding_count for row in page.context["versions"]}
    assert counts == {1: 6, 7: 0}
    assert [each["sql"] for each in queries if 'JOIN "retrieval_embedding"' in each["sql"]] == []


def test_retired_versions_are_folded_away_and_do_not_come_anew(logged_in: LoggedIn, busy: TrainingRun) -> None:
    for number in (20, 21):
        make_version(number=number, status="retired", weights="")
    client = logged_in("staff")
    fragment, page = client.get("/training/", headers=HTMX), client.get("/training/")
    assert [row["version"].number for row in fragment.context["versions"]] == [7, 1]
    assert "retired" not in fragment.content.decode()
    region, _, folded = page.content.decode().partition("<details")
    assert 'id="training"' in region
    assert "2 retired versions" in folded
    assert folded.index(">21</th>") < folded.index(">20</th>")
    assert Elements(page.content.decode()).twice() == []
