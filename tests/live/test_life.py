"""The site's life as its user sees it: start, trouble on the way, Ctrl-C, and the next start."""

import psutil
import psycopg
import pytest

from tests.live_site import LiveSite, wait_until, words

SIGKILLED = "exited: web (terminated by SIGKILL; not expected)"


NOT_SEARCHABLE = """
    SELECT count(*) FROM retrieval_medicalimage i WHERE NOT EXISTS (
        SELECT FROM retrieval_embedding e JOIN retrieval_modelversion v ON v.id = e.model_version_id
        WHERE e.image_id = i.id AND v.status = 'active')
"""


def _ask(site: LiveSite) -> int:
    """Ask with an image of the archive; the query's primary key."""
    return int(
        site.shell(
            "from django.contrib.auth.models import User\n"
            "from retrieval.models import MedicalImage\n"
            "from retrieval.services.searching import ask_with_image\n"
            "user = User.objects.get(username='clinician')\n"
            "print(ask_with_image(user=user, image=MedicalImage.objects.first()).pk)"
        )
    )


def _is_answered(site: LiveSite, query: int) -> bool:
    return site.value("SELECT status FROM retrieval_query WHERE id = %s", (query,)) == "done"


def test_a_first_start_ends_with_an_archive_that_can_be_searched(site: LiveSite) -> None:
    assert set(site.logins) == {"clinician", "staff", "admin"}
    wait_until(lambda: site.value(NOT_SEARCHABLE) == 0, seconds=60, what="workers have indexed the demo archive")
    report = site.manage("check_archive")
    assert (report["ok"], report["without_embedding"]) == (True, 0)
    assert report["images"] > 360
    query = _ask(site)
    wait_until(lambda: _is_answered(site, query), seconds=10, what="the query is answered")
    assert site.value("SELECT count(*) FROM retrieval_searchresult WHERE query_id = %s", (query,)) == 20


def test_a_port_in_use_is_said_and_nothing_is_started(site: LiveSite) -> None:
    before = _starters(site)
    second = LiveSite(site.data_dir, port=site.port)
    assert second.launch().wait(20) == 1
    assert f"Port {site.port} is in use by another program. Choose another one" in site.log_tail()
    assert _starters(site) == before


def _starters(site: LiveSite) -> set[int]:
    """What starts all others, among which PostgreSQL's own and decoders come and go with the work."""
    lines = {each.pid: " ".join(words(each)) for each in site.processes()}
    return {pid for pid, line in lines.items() if "cbmir_site.run" in line or "supervisord.conf" in line}


def test_a_crashed_web_process_is_named_and_comes_back(site: LiveSite) -> None:
    before = _web_processes(site)
    before[0].kill()
    wait_until(lambda: SIGKILLED in site.log_tail(), seconds=10, what="the log names it")
    # Those that answered before must not be taken for those that came back.
    wait_until(lambda: not set(_web_processes(site)) & set(before), seconds=30, what="the old ones have ended")
    wait_until(lambda: len(_web_processes(site)) == len(before), seconds=30, what="new ones run")
    wait_until(lambda: site.status_of("/healthz") == 200, seconds=30, what="the site answers again")


def _web_processes(site: LiveSite) -> list[psutil.Process]:
    """The master first, then those that it has started."""
    return sorted(
        (each for each in site.processes() if "cbmir_site.wsgi" in words(each)), key=psutil.Process.create_time
    )


def test_workers_go_on_when_the_database_cuts_their_sessions(site: LiveSite) -> None:
    with pytest.raises(psycopg.OperationalError):
        site.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()")
    query = _ask(site)
    wait_until(lambda: _is_answered(site, query), seconds=10, what="the query is answered")
    assert site.status_of("/login/") == 200


def test_ctrl_c_leaves_nothing_and_the_next_start_finds_everything(site: LiveSite) -> None:
    images = site.manage("check_archive")["images"]
    logins, counts = site.logins, site.query("SELECT count(*), max(id) FROM retrieval_query")
    imports = site.value("SELECT count(*) FROM retrieval_importjob")
    site.stop()
    # A command brings the servers for its own time.
    assert site.manage("check_archive")["images"] == images
    assert site.processes() == []
    site.start()
    assert site.logins == logins
    assert site.query("SELECT count(*), max(id) FROM retrieval_query") == counts
    # The demo archive is not imported once more.
    assert site.value("SELECT count(*) FROM retrieval_importjob") == imports
