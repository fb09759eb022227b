"""What comes anew while people wait: the keyboard keeps its place in it, screen readers do not hear it again."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from retrieval.models import Dataset, DatasetDeletion, ImportJob, JobStatus, MedicalImage, QualityCheck, Query
from tests.elements import Elements

pytestmark = pytest.mark.django_db
LoggedIn = Callable[..., Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def polled(logged_in: LoggedIn, archive: Dataset) -> tuple[Client, list[str]]:
    """An administrator, and the pages of what waits for a worker for longer than it should."""
    client = logged_in("admin")
    image = MedicalImage.objects.shown().first()
    query = Query.objects.create(user=client.user, image=image)  # type: ignore[attr-defined]
    job = ImportJob.objects.create(dataset=archive, source_path="somewhere")
    deletion = DatasetDeletion.objects.create(dataset=archive, name=archive.name, total=6)
    QualityCheck.objects.create(dataset=archive)
    long_ago = timezone.now() - timedelta(minutes=5)
    for model in (Query, ImportJob, DatasetDeletion, QualityCheck):
        model.objects.filter(status=JobStatus.QUEUED).update(queued_at=long_ago)
    pages = [each.get_absolute_url() for each in (query, job, deletion)]
    return client, [*pages, f"{archive.get_absolute_url()}quality/"]


def test_what_has_the_focus_is_found_again_in_what_comes_anew(polled: tuple[Client, list[str]]) -> None:
    """htmx gives the focus back to the element of the same id, and to that alone."""
    client, addresses = polled
    for address in addresses:
        fragment = client.get(address, headers=HTMX).content.decode()
        assert "hx-get" in fragment, address
        focusable = Elements(fragment).focusable()
        assert focusable, address
        assert [each for each in focusable if "id" not in each[1]] == [], address
        assert Elements(client.get(address).content.decode()).twice() == [], address


def test_what_comes_anew_is_not_read_out_again(polled: tuple[Client, list[str]]) -> None:
    client, addresses = polled
    for address in addresses:
        fragment = client.get(address, headers=HTMX).content.decode()
        assert "is free" in fragment, address
        assert [each for each in Elements(fragment).all if each[1].get("role") in ("alert", "status")] == [], address
