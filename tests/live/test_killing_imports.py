"""A worker that is killed while it imports or deletes: exactly what was sent is there afterwards, or nothing of it."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from retrieval.services.deleting import BATCH_IMAGES
from retrieval.services.storing import FILES_LOCK
from tests.live_site import LiveSite, wait_until
from tests.pictures import drawn_pixels, png

FILES = 2000
IMPORTS = 10
# As often as a job may be interrupted and still come to its end.
KILLS = 2
# A lease of 15 s, a sweep every 5 s, a worker that starts, and the work itself.
RECOVERY_SECONDS = 300
IMPORT = """
from pathlib import Path
from retrieval.models import Dataset
from retrieval.services.importing import create_import_job
dataset, _ = Dataset.objects.get_or_create(name={name!r})
print(create_import_job(dataset=dataset, source=Path({path!r})).pk)
"""
DELETE = """
from django.contrib.auth.models import User
from retrieval.models import Dataset
from retrieval.services.deleting import request_deletion
print(request_deletion(dataset=Dataset.objects.get(name={name!r}), user=User.objects.get(username="admin")).pk)
"""
IMAGES = (
    "SELECT count(*) FROM retrieval_medicalimage i JOIN retrieval_dataset d ON d.id = i.dataset_id WHERE d.name = %s"
)
FATES = "SELECT status, count(*) FROM retrieval_importedfile WHERE job_id = %s GROUP BY status"
IMPORT_ROW = "SELECT status, done, attempts FROM retrieval_importjob WHERE id = %s"
LEASE_ENDS = "UPDATE retrieval_importjob SET lease_expires_at = now() WHERE id = %s AND status = 'running'"
DELETION_ROW = "SELECT status, done, attempts FROM retrieval_datasetdeletion WHERE id = %s"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of small pictures, different ones."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "in" / "drawn").mkdir(parents=True)
    for number in range(FILES):
        picture = png(drawn_pixels(9000 + number, width=64, height=48))
        (folder / "in" / "drawn" / f"{number:04}.png").write_bytes(picture)
    return Path(shutil.make_archive(str(folder / "pictures"), "zip", folder / "in"))


def _kill_worker(site: LiveSite) -> None:
    worker = site.worker("jobs")
    for process in [worker, *worker.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _import(site: LiveSite, *, name: str, source: Path) -> int:
    return int(site.shell(IMPORT.format(name=name, path=str(source))))


def _wait_for_import(site: LiveSite, job: int) -> None:
    unfinished = ("queued", "running")
    wait_until(
        lambda: site.query(IMPORT_ROW, (job,))[0][0] not in unfinished, seconds=RECOVERY_SECONDS, what="it has ended"
    )
    assert site.query(IMPORT_ROW, (job,))[0][0] == "done"


def _wait_for_deletion(site: LiveSite, deletion: int, *, row: tuple[str, int, int]) -> None:
    wait_until(
        lambda: site.query(DELETION_ROW, (deletion,)) == [row], seconds=RECOVERY_SECONDS, what=f"the deletion is {row}"
    )


def _assert_whole(site: LiveSite) -> None:
    report = site.manage("check_archive", status=None)
    found = {name: report[name] for name in ("missing_files", "hash_mismatches", "orphan_files")}
    assert found == {"missing_files": [], "hash_mismatches": [], "orphan_files": []}


def _kill_at(site: LiveSite, *, job: int, attempt: int, point: int) -> None:
    """Kill the worker once this attempt has settled so many files."""

    def is_there() -> bool:
        [(status, done, attempts)] = site.query(IMPORT_ROW, (job,))
        assert status in ("queued", "running"), "too late to be caught in the middle"
        return status == "running" and attempts == attempt and done >= point

    wait_until(is_there, seconds=RECOVERY_SECONDS, what=f"attempt {attempt} has come to file {point}")
    _kill_worker(site)
    assert site.query(IMPORT_ROW, (job,))[0][0] == "running", "too late to be caught in the middle"


@pytest.mark.parametrize("number", range(IMPORTS))
def test_a_killed_import_adds_each_file_once(site: LiveSite, pictures: Path, number: int) -> None:
    name = f"killed {number}"
    job = _import(site, name=name, source=pictures)
    for attempt in range(1, KILLS + 1):
        _kill_at(site, job=job, attempt=attempt, point=random.randrange(FILES * 9 // 10))
        if number:
            # The first import waits for its lease to end; for the others that time has passed.
            site.query(LEASE_ENDS, (job,))
    _wait_for_import(site, job)
    assert site.query(IMPORT_ROW, (job,)) == [("done", FILES, KILLS + 1)]
    assert site.query(FATES, (job,)) == [("stored", FILES)]
    assert site.value(IMAGES, (name,)) == FILES
    _assert_whole(site)
    again = _import(site, name=name, source=pictures)
    _wait_for_import(site, again)
    assert site.query(FATES, (again,)) == [("duplicate", FILES)]
    assert site.value(IMAGES, (name,)) == FILES
    _wait_for_deletion(site, int(site.shell(DELETE.format(name=name))), row=("done", FILES, 1))
    _assert_whole(site)


@contextmanager
def _nobody_removes_files(site: LiveSite) -> Iterator[None]:
    """A deletion stops between its rows and their files for as long as the block runs."""
    with psycopg.connect(site.database_url, autocommit=True) as held:
        held.execute("SELECT pg_advisory_lock(%s)", [FILES_LOCK])
        yield


def test_a_deletion_killed_between_rows_and_files_leaves_nothing(site: LiveSite, pictures: Path) -> None:
    stored = site.value("SELECT count(*) FROM retrieval_storedfile")
    _wait_for_import(site, _import(site, name="doomed", source=pictures))
    with _nobody_removes_files(site):
        deletion = int(site.shell(DELETE.format(name="doomed")))
        _wait_for_deletion(site, deletion, row=("running", BATCH_IMAGES, 1))
        _kill_worker(site)
        assert site.value(IMAGES, ("doomed",)) == FILES - BATCH_IMAGES
        leaving = site.value("SELECT leaving FROM retrieval_datasetdeletion WHERE id = %s", (deletion,))
        files = [site.data_dir / "media" / name for name in leaving]
        assert len(files) == 3 * BATCH_IMAGES
        assert all(file.is_file() for file in files)
        _assert_whole(site)
    _wait_for_deletion(site, deletion, row=("done", FILES, 2))
    assert not any(file.exists() for file in files)
    assert site.value("SELECT count(*) FROM retrieval_storedfile") == stored
    _assert_whole(site)
