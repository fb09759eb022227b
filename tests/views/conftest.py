"""An archive that can be searched, and queries that are answered in this process by the worker's own code."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import Settings

from retrieval.models import Dataset, ImportJob, IndexBatch, ModelVersion, Query, Upload
from retrieval.services import jobs
from retrieval.services.importing import import_dataset
from retrieval.services.indexing import create_index_job, index_batch
from retrieval.services.searching import answer_query
from retrieval.services.uploading import open_upload
from tests.pictures import drawn_pixels, png
from tests.training_rows import make_evaluation, make_run, make_version
from training.models import Evaluation


@pytest.fixture(autouse=True)
def no_waiting(settings: Settings) -> None:
    """Nobody answers while a page waits: it need not."""
    settings.QUERY_WAIT_SECONDS = 0


@pytest.fixture
def dataset(db: None) -> Dataset:
    """An empty dataset."""
    return Dataset.objects.create(name="New")


@pytest.fixture
def staff(logged_in: Callable[..., Client]) -> Client:
    """A window of somebody of the staff."""
    return logged_in("staff")


@pytest.fixture
def upload(dataset: Dataset, staff: Client) -> Upload:
    """Their open upload into `dataset`."""
    return open_upload(dataset=dataset, user=staff.user)  # type: ignore[attr-defined]


@pytest.fixture
def archive(active_version: ModelVersion, picture_folder: Path) -> Dataset:
    """The six pictures of `picture_folder`, imported and indexed."""
    dataset = Dataset.objects.create(name="Drawn", source="tests", licence="CC0")
    job = jobs.claim(ImportJob, ImportJob.objects.create(dataset=dataset, source_path=str(picture_folder)).pk)
    assert job is not None
    import_dataset(job, index_afterwards=False)
    for batch in create_index_job(version=active_version, publish=False).batches.all():
        claimed = jobs.claim(IndexBatch, batch.pk)
        assert claimed is not None
        index_batch(claimed)
    return dataset


@pytest.fixture
def answered() -> Callable[[Query], Query]:
    """Do what the search worker does with a queued query."""

    def answer(query: Query) -> Query:
        claimed = jobs.claim(Query, query.pk)
        assert claimed is not None
        with jobs.working_on(claimed):
            answer_query(claimed)
        query.refresh_from_db()
        return query

    return answer


@pytest.fixture
def ask() -> Callable[..., Query]:
    """Send a picture as a visitor does, and return the row that it left."""

    def send(client: Client, *, content: bytes = b"", name: str = "scan.png") -> Query:
        image = SimpleUploadedFile(name, content or png(drawn_pixels(1)))
        response = client.post("/", {"image": image})
        assert response.status_code == 302
        query = Query.objects.latest("pk")
        assert response["Location"] == query.get_absolute_url()
        return query

    return send


@pytest.fixture
def judged(archive: Dataset) -> Evaluation:
    """A run that is done: version 7, one of its two test images answered wrongly."""
    run = make_run(archive, epochs=3)
    return make_evaluation(run, version=make_version(number=7, run=run), mistaken=1)
