"""What a person takes out of their own history."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from retrieval.models import Dataset, JobStatus, MedicalImage, Query, SearchResult
from retrieval.services import jobs
from retrieval.services.searching import answer_query

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
LoggedIn = Callable[..., Client]


def _files(media: Path) -> list[Path]:
    return [path for path in (media / "queries").rglob("*") if path.is_file()]


def test_a_search_goes_with_its_answer_and_its_picture(
    logged_in: LoggedIn,
    archive: Dataset,
    ask: Callable[..., Query],
    answered: Callable[[Query], Query],
    media: Path,
) -> None:
    client = logged_in("clinician")
    kept, query = (answered(ask(client)) for _ in range(2))
    address = f"{query.get_absolute_url()}delete/"
    assert f'href="{address}"' in client.get(query.get_absolute_url()).content.decode()
    page = client.get(address).content.decode()
    assert "Delete this search?" in page
    assert [line.count(">History<") for line in page.splitlines() if 'aria-current="page"' in line] == [1]
    assert Query.objects.count() == 2
    page = client.post(address, follow=True).content.decode()
    assert "The search was deleted." in page
    assert str(query.uuid) not in page
    assert (Query.objects.get(), SearchResult.objects.exclude(query=kept).count()) == (kept, 0)
    assert _files(media) == [Path(kept.preview.path)]
    assert MedicalImage.objects.count() == archive.images.count()
    assert client.get(query.get_absolute_url()).status_code == 404


def test_a_search_may_go_while_a_worker_is_at_it(
    logged_in: LoggedIn, archive: Dataset, ask: Callable[..., Query], media: Path
) -> None:
    client = logged_in("clinician")
    claimed = jobs.claim(Query, ask(client).pk)
    assert claimed is not None
    assert claimed.status == JobStatus.RUNNING
    client.post(f"{claimed.get_absolute_url()}delete/")
    with jobs.working_on(claimed):
        answer_query(claimed)
    assert not Query.objects.exists()
    assert _files(media) == []


def test_a_colleagues_search_cannot_be_deleted(
    logged_in: LoggedIn, archive: Dataset, ask: Callable[..., Query], person: Callable[..., User]
) -> None:
    query = ask(logged_in("clinician"))
    colleague = Client()
    colleague.force_login(person("admin", name="colleague"))
    assert colleague.post(f"{query.get_absolute_url()}delete/").status_code == 404
    assert Query.objects.get() == query
