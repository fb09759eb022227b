"""Model versions switched to and fro, and retired, while clinicians search without pause."""

import itertools
import re
import time
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.cookiejar import CookieJar
from threading import Event
from urllib.parse import urlencode

import pytest

from tests.live_site import LiveSite
from tests.pictures import drawn_pixels, png

SWITCHES = 20
ANSWER_SECONDS = 20
SWITCH = """
import time
from retrieval.models import ModelVersion, Query
from retrieval.services.switching import activate_model_version
versions = [ModelVersion.objects.get(number=number) for number in {numbers}]
answered = Query.objects.filter(status="done").count
for turn in range({switches}):
    activate_model_version(versions[turn % 2])
    wanted, deadline = answered() + 3, time.monotonic() + {seconds}
    while answered() < wanted:
        assert time.monotonic() < deadline, "nobody searches any more"
        time.sleep(0.01)
"""
RETIRE = """
from retrieval.models import ModelVersion
from retrieval.services.switching import activate_model_version, retire_model_version
activate_model_version(ModelVersion.objects.get(number={active}))
for number in {numbers}:
    retire_model_version(ModelVersion.objects.get(number=number))
"""
# Each answer beside what exact search gives for its vector, with the embeddings of its own version or of the other one.
DIFFERENT = """
    SELECT count(*), count(*) FILTER (WHERE answered.found IS DISTINCT FROM exact.found) FROM retrieval_query q
    CROSS JOIN LATERAL (
        SELECT array_agg(r.image_id || ' at ' || round(r.distance::numeric, 6) ORDER BY r.rank) AS found
        FROM retrieval_searchresult r WHERE r.query_id = q.id) answered
    CROSS JOIN LATERAL (
        SELECT array_agg(image_id || ' at ' || round(distance::numeric, 6) ORDER BY distance, image_id) AS found FROM (
            SELECT e.image_id, e.vector <=> q.vector AS distance FROM retrieval_embedding e
            JOIN retrieval_modelversion v ON v.id = e.model_version_id
            WHERE v.number = ANY(%s) AND (e.model_version_id = q.model_version_id) = %s
            ORDER BY distance, e.image_id LIMIT 20) nearest) exact
    WHERE q.id BETWEEN %s AND %s AND q.status = 'done'
"""


class Clinician:
    """A person with a browser of their own. Whatever is not an answer of 20 images raises."""

    def __init__(self, site: LiveSite) -> None:
        self.site = site
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar())).open
        self._send("/login/", site.logins["clinician"] | {"csrfmiddlewaretoken": self._token("/login/")})
        self.token = self._token("/")

    def ask_with(self, content: bytes) -> None:
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{self.token}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="scan.png"\r\n'
            "Content-Type: image/png\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        self._read_answer(*self._post("/", body=body, kind=f"multipart/form-data; boundary={boundary}"))

    def ask_for_more_like(self, image: uuid.UUID) -> None:
        self._read_answer(*self._send(f"/images/{image}/similar/", {"csrfmiddlewaretoken": self.token}))

    def _read_answer(self, address: str, page: str) -> None:
        deadline = time.monotonic() + ANSWER_SECONDS
        while "Searching …" in page and time.monotonic() < deadline:
            page = self._page(address)
        ranks = [int(rank) for rank in re.findall(r'<li data-rank="(\d+)"', page)]
        assert ranks == list(range(1, 21)), page

    def _page(self, address: str) -> str:
        with self._open(address) as answer:
            return answer.read().decode()

    def _token(self, path: str) -> str:
        [token, *_] = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', self._page(self.site.base_url + path))
        return token

    def _send(self, path: str, form: dict[str, str]) -> tuple[str, str]:
        return self._post(path, body=urlencode(form).encode(), kind="application/x-www-form-urlencoded")

    def _post(self, path: str, *, body: bytes, kind: str) -> tuple[str, str]:
        """The address that it leads to, and the page there."""
        request = urllib.request.Request(self.site.base_url + path, data=body, headers={"Content-Type": kind})  # noqa: S310
        with self._open(request) as answer:
            return answer.url, answer.read().decode()


@pytest.fixture
def versions(site: LiveSite) -> list[int]:
    """The numbers of two versions that have embedded the archive."""
    words = ("create_model_version", "--architecture", "narrow", "--weights", "none", "--seed")
    numbers = [site.manage(*words, seed)["model_version"] for seed in (201, 202)]
    for number in numbers:
        site.manage("index", "--model-version", number)
    return numbers


@contextmanager
def _searching(site: LiveSite) -> Iterator[None]:
    """Two clinicians search without pause, one with images of their own, one with images of the archive."""
    stop = Event()
    images = [row[0] for row in site.query("SELECT uuid FROM retrieval_medicalimage ORDER BY id")]

    def search_with_files() -> None:
        clinician = Clinician(site)
        for seed in itertools.takewhile(lambda _: not stop.is_set(), itertools.count(5000)):
            clinician.ask_with(png(drawn_pixels(seed)))

    def search_in_the_archive() -> None:
        clinician = Clinician(site)
        for image in itertools.takewhile(lambda _: not stop.is_set(), itertools.cycle(images)):
            clinician.ask_for_more_like(image)

    with ThreadPoolExecutor(2) as people:
        searching = [people.submit(search_with_files), people.submit(search_in_the_archive)]
        try:
            yield
        finally:
            stop.set()
        for each in searching:
            each.result()


def test_no_search_fails_and_no_answer_mixes_versions(site: LiveSite, versions: list[int]) -> None:
    before = site.value("SELECT number FROM retrieval_modelversion WHERE status = 'active'")
    first = site.value("SELECT coalesce(max(id), 0) + 1 FROM retrieval_query")
    site.manage("activate", versions[0])
    with _searching(site):
        site.shell(SWITCH.format(numbers=versions, switches=SWITCHES, seconds=ANSWER_SECONDS))
        site.manage("activate", versions[0])
        _assert_not_mixed(site, versions=versions, first=first)
        site.shell(RETIRE.format(active=before, numbers=versions))
    outcomes = site.query("SELECT status, attempts FROM retrieval_query WHERE id >= %s GROUP BY 1, 2", (first,))
    assert outcomes == [("done", 1)]
    left = "SELECT count(*) FROM retrieval_embedding e JOIN retrieval_modelversion v ON v.id = model_version_id"
    assert site.value(f"{left} WHERE number = ANY(%s)", (versions,)) == 0
    assert site.manage("check_archive")["ok"] is True


def _assert_not_mixed(site: LiveSite, *, versions: list[int], first: int) -> None:
    last = site.value("SELECT max(id) FROM retrieval_query WHERE status = 'done'")
    [(answers, different)] = site.query(DIFFERENT, (versions, True, first, last))
    assert (answers >= SWITCHES, different) == (True, 0)
    # The comparison tells versions apart: no answer is what the other version would have said to its vector.
    assert site.query(DIFFERENT, (versions, False, first, last)) == [(answers, answers)]
    answered_by = site.query(
        "SELECT v.number, count(*) FROM retrieval_query q JOIN retrieval_modelversion v ON v.id = q.model_version_id"
        " WHERE q.id BETWEEN %s AND %s GROUP BY 1 ORDER BY 1",
        (first, last),
    )
    assert [number for number, _ in answered_by] == versions
    assert min(count for _, count in answered_by) >= SWITCHES / 2
