"""What tests of the services share: an import, an index and a query, done in this process by the workers' own code."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings as site_settings
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db import connection
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cbmir_site import embedded
from retrieval.models import Dataset, ImportJob, IndexJob, ModelVersion, Query
from retrieval.services import importing, jobs
from retrieval.services.importing import import_dataset
from retrieval.services.indexing import create_index_job, work_on_index_job
from retrieval.services.searching import answer_query, ask_with_upload
from tests.services.training import RECIPE
from training.models import TrainingRun
from training.services.starting import start_run

ImportFolder = Callable[..., ImportJob]
Answer = Callable[[Query], Query]


def new_import_job(source: Path, *, dataset: str = "one") -> ImportJob:
    return ImportJob.objects.create(
        dataset=Dataset.objects.get_or_create(name=dataset)[0], source_path=str(source.resolve())
    )


def work_on_import(
    job: ImportJob, *, index_afterwards: bool = False, progress: jobs.Progress = jobs.silent
) -> ImportJob:
    """Claim the job and work on it as a worker does; return it as the database has it afterwards."""
    claimed = jobs.claim(ImportJob, job.pk)
    assert claimed is not None
    with jobs.working_on(claimed):
        import_dataset(claimed, index_afterwards=index_afterwards, progress=progress)
    return ImportJob.objects.get(pk=job.pk)


@pytest.fixture
def one_file_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of an import is a transaction of its own, so that a test can interfere after each."""
    monkeypatch.setattr(importing, "GROUP_FILES", 1)


@pytest.fixture
def import_folder(db: None) -> ImportFolder:
    def run(source: Path, *, dataset: str = "one", progress: jobs.Progress = jobs.silent) -> ImportJob:
        return work_on_import(new_import_job(source, dataset=dataset), progress=progress)

    return run


@pytest.fixture
def index(db: None) -> Callable[[ModelVersion], IndexJob]:
    def run(version: ModelVersion) -> IndexJob:
        job = create_index_job(version=version, publish=False)
        work_on_index_job(job)
        return job

    return run


@pytest.fixture
def asked(person: Callable[..., User]) -> Callable[[bytes], Query]:
    """A query with an upload, not answered yet."""
    users: list[User] = []

    def ask(content: bytes) -> Query:
        users.append(users[0] if users else person("clinician"))
        return ask_with_upload(user=users[0], upload=ContentFile(content, name="upload"))

    return ask


@pytest.fixture
def answer() -> Answer:
    """Let a worker's code answer a query, and return it as the database has it afterwards."""

    def run(query: Query) -> Query:
        claimed = jobs.claim(Query, query.pk)
        assert claimed is not None
        with jobs.working_on(claimed):
            answer_query(claimed)
        return Query.objects.get(pk=query.pk)

    return run


@contextmanager
def small_disk_at(folder: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(media: Path) -> Iterator[Path]:
    """The archive lies on a file system of half a megabyte."""
    with small_disk_at(media) as folder:
        yield folder


@pytest.fixture
def broker() -> Iterator[Redis]:
    """The queues, empty before and after."""
    socket = site_settings.CELERY_BROKER_URL.removeprefix("redis+socket://")
    client = Redis(unix_socket_path=socket, retry=Retry(NoBackoff(), 0))
    client.flushall()
    yield client
    client.flushall()


@pytest.fixture
def broker_away(broker: Redis) -> Iterator[Callable[[], None]]:
    """Redis is stopped; the function starts it again."""
    folder = site_settings.DATA_DIR / "redis"
    broker.shutdown()
    yield lambda: _start(folder)
    _start(folder)


def _start(folder: Path) -> None:
    embedded._start_redis(folder)


@pytest.fixture
def dataset(import_folder: ImportFolder, striped_folder: Path) -> Dataset:
    import_folder(striped_folder, dataset="stripes")
    return Dataset.objects.get(name="stripes")


@pytest.fixture
def start(dataset: Dataset) -> Callable[..., TrainingRun]:
    def run(**choices: object) -> TrainingRun:
        weights = str(choices.pop("weights", "none"))
        return start_run(datasets=[dataset], recipe=RECIPE | choices, weights=weights, publish=False)

    return run


def somebody_waits() -> bool:
    """Whether a transaction waits for another one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])
