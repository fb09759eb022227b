"""The real malformed and hostile files, sent through the search page: each ends as their index says."""

import csv
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from retrieval.models import Dataset, JobStatus, MedicalImage, Query, StoredFile
from retrieval.services.searching import EMPTY_TO_THE_NETWORK

pytestmark = [pytest.mark.real, pytest.mark.django_db]
SECONDS = 10
# Datasets and weights: no questions, whatever is in them.
NOT_ASKED_WITH = (".zip", ".pth", ".safetensors")
SENTENCE = re.compile(r"[A-Z][^\n]*[.]")


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
    if answer.status >= 500 or answer.seconds >= SECONDS:
        return f"status {answer.status} in {answer.seconds:.0f} s"
    if not answer.is_answered and not SENTENCE.fullmatch(answer.reason):
        return f"no sentence: {answer.reason!r}"
    if expected.startswith("accept only if"):
        return ""
    # A picture without anything on it is decoded, and then shows nothing to search with.
    if expected.startswith("accept") and not answer.is_answered and answer.reason != EMPTY_TO_THE_NETWORK:
        return f"not accepted: {answer.reason}"
    return "not refused" if expected.startswith("clear error") and answer.is_answered else ""


def test_bad_files_through_the_search_page(
    real_data: Path,
    archive: Dataset,
    logged_in: Callable[..., Client],
    answered: Callable[[Query], Query],
    media: Path,
) -> None:
    client = logged_in("clinician")
    stored = (MedicalImage.objects.count(), StoredFile.objects.count())
    folder = real_data / "badinputs"
    with (folder / "INDEX.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["file"].endswith(NOT_ASKED_WITH)]
    assert len(rows) > 100
    complaints = {
        row["file"]: complaint
        for row in rows
        if (
            complaint := _complaint(
                _ask(client, folder / row["file"], answered=answered), expected=row["expected_outcome"]
            )
        )
    }
    assert complaints == {}
    assert (MedicalImage.objects.count(), StoredFile.objects.count()) == stored
    # Of an upload nothing stays but the picture of what could be decoded.
    kept = {path.relative_to(media).as_posix() for path in (media / "queries").rglob("*") if path.is_file()}
    assert kept == set(Query.objects.exclude(preview="").values_list("preview", flat=True))
    assert not Query.objects.exclude(upload="").exists()
