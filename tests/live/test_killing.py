"""Whatever is killed, and whenever: it costs time and nothing else."""

from pathlib import Path

import psutil
import pytest
import redis
from PIL import Image

from tests.live_site import LiveSite, wait_until

# A lease of 15 s, a sweep every 5 s, a worker that starts, and the work itself.
RECOVERY_SECONDS = 90
QUEUE_INDEX_JOB = """
from retrieval.models import ModelVersion
from retrieval.services.indexing import create_index_job
print(create_index_job(version=ModelVersion.objects.get(number={number}), publish=True).pk)
"""
ASK = """
from pathlib import Path
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from retrieval.services.searching import ask_with_upload
upload = ContentFile(Path({path!r}).read_bytes(), name="upload")
print(ask_with_upload(user=User.objects.get(username="clinician"), upload=upload).pk)
"""


class Indexing:
    """An index job of a new model version, at work in the workers."""

    def __init__(self, site: LiveSite, *, seed: int) -> None:
        made = site.manage("create_model_version", "--architecture", "narrow", "--weights", "none", "--seed", seed)
        self.site, self.number = site, made["model_version"]
        self.job = int(site.shell(QUEUE_INDEX_JOB.format(number=self.number)))
        self.total = site.value("SELECT count(*) FROM retrieval_medicalimage")

    def done(self) -> int:
        return self.site.value(
            "SELECT count(*) FROM retrieval_embedding e JOIN retrieval_modelversion v ON v.id = e.model_version_id"
            " WHERE v.number = %s",
            (self.number,),
        )

    def wait_for(self, count: int) -> None:
        wait_until(lambda: self.done() >= count, seconds=RECOVERY_SECONDS, what=f"{count} images are embedded")
        assert self.done() < self.total, "too late to be caught in the middle"

    def wait_for_the_end(self) -> None:
        unfinished = "SELECT count(*) FROM retrieval_indexbatch WHERE index_job_id = %s AND status <> 'done'"
        wait_until(
            lambda: self.site.value(unfinished, (self.job,)) == 0, seconds=RECOVERY_SECONDS, what="all batches are done"
        )

    def assert_whole(self) -> None:
        rows = self.site.query(
            "SELECT i.id, count(e.id) FROM retrieval_medicalimage i"
            " LEFT JOIN (retrieval_embedding e JOIN retrieval_modelversion v ON v.id = e.model_version_id"
            "            AND v.number = %s) ON e.image_id = i.id GROUP BY i.id HAVING count(e.id) <> 1",
            (self.number,),
        )
        assert rows == []
        report = self.site.manage("check_archive")
        assert (report["ok"], report["stalled_jobs"]) == (True, 0)


@pytest.fixture
def large_picture(tmp_path: Path) -> Path:
    """64 megapixels: a second or two of decoding."""
    path = tmp_path / "large.png"
    Image.radial_gradient("L").resize((8000, 8000)).save(path, "PNG", compress_level=1)
    return path


def test_killed_pool_processes_and_an_emptied_queue(site: LiveSite, large_picture: Path) -> None:
    indexing = Indexing(site, seed=101)
    indexing.wait_for(32)
    site.pool("jobs")[0].kill()
    redis.Redis(unix_socket_path=site.redis_socket).flushall()
    query = int(site.shell(ASK.format(path=str(large_picture))))
    row = "SELECT status, attempts FROM retrieval_query WHERE id = %s"
    wait_until(lambda: site.query(row, (query,)) == [("running", 1)], seconds=30, what="the query is worked on")
    site.pool("search")[0].kill()
    wait_until(lambda: site.query(row, (query,)) == [("done", 2)], seconds=RECOVERY_SECONDS, what="it is answered")
    indexing.wait_for_the_end()
    indexing.assert_whole()


def test_a_killed_worker_and_a_killed_queue(site: LiveSite) -> None:
    indexing = Indexing(site, seed=102)
    indexing.wait_for(32)
    worker = site.worker("jobs")
    for process in [worker, *worker.children(recursive=True)]:
        process.kill()
    [server] = site.named("redis-server")
    server.kill()
    indexing.wait_for_the_end()
    indexing.assert_whole()
    assert not psutil.pid_exists(worker.pid)
    assert "Redis had died and was started again." in site.log.read_text()
    wait_until(lambda: site.status_of("/readyz") == 200, seconds=30, what="the site is ready again")
