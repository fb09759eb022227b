"""The real malformed and hostile files, sent through the search page: each ends as their index says."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from retrieval.models import Dataset, JobStatus, MedicalImage, Query, StoredFile
from retrieval.services.searching import EMPTY_TO_THE_NETWORK
from tests.bad_inputs import bad_inputs, complaint

pytestmark = [pytest.mark.real, pytest.mark.django_db]
# Datasets and weights: no questions, whatever is in them.
NOT_ASKED_WITH = (".zip", ".pth", ".safetensors")


@dataclass
class Answer:
    """What a visitor got: an answer, or the sentence that refused the file; and how long it took."""

    status: int
    is_answered: bool
    reason: str
    seconds: float


def _ask(client: Client, path: Path, *, answered: Callable[[Query], Query]) -> Answer:
    began = time.monotonic()
    image = SimpleUploadedFile(path.name, path.read_bytes())
    response = client.post("/", {"image": image}, headers={"HX-Request": "true"})
    if "HX-Redirect" not in response:
        return Answer(response.status_code, False, response.content.decode(), time.monotonic() - began)  # noqa: FBT003
    query = answered(Query.objects.get(uuid=response["HX-Redirect"].split("/")[2]))
    page = client.get(query.get_absolute_url())
    return Answer(page.status_code, query.status == JobStatus.DONE, query.reason, time.monotonic() - began)


def _complaint(answer: Answer, *, expected: str) -> str:
    """Say what is not as the index wants it; "" when all is."""
    if answer.status >= 500:
        return f"status {answer.status}"
    # A picture without anything on it is decoded, and then shows nothing to search with.
    is_taken = answer.is_answered or answer.reason == EMPTY_TO_THE_NETWORK
    refusals = [] if is_taken else [answer.reason]
    return complaint(expected, accepted=is_taken, refusals=refusals, seconds=answer.seconds)


def test_bad_files_through_the_search_page(
    real_data: Path,
    archive: Dataset,
    logged_in: Callable[..., Client],
    answered: Callable[[Query], Query],
    media: Path,
) -> None:
    client = logged_in("clinician")
    stored = (MedicalImage.objects.count(), StoredFile.objects.count())
    complaints = {
        file.name: _complaint(_ask(client, file.path, answered=answered), expected=file.expected)
        for file in bad_inputs(real_data)
        if not file.name.endswith(NOT_ASKED_WITH)
    }
    assert {name: said for name, said in complaints.items() if said} == {}
    assert (MedicalImage.objects.count(), StoredFile.objects.count()) == stored
    # Of an upload nothing stays but the picture of what could be decoded.
    kept = {path.relative_to(media).as_posix() for path in (media / "queries").rglob("*") if path.is_file()}
    assert kept == set(Query.objects.exclude(preview="").values_list("preview", flat=True))
    assert not Query.objects.exclude(upload="").exists()
