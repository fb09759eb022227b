"""/healthz: the process lives. /readyz: the site can answer a query; each missing part is named."""

import logging
import threading
import time
from collections.abc import Callable

from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from cbmir_site.celery import app
from retrieval.models import ModelVersion

logger = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
NEEDED_QUEUES = {"search", "jobs"}


@login_not_required
def alive(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    return HttpResponse("ok", content_type="text/plain")


@login_not_required
def ready(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    parts = _last_look.parts()
    return JsonResponse({"ready": all(parts.values()), **parts}, status=200 if all(parts.values()) else 503)


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except Exception:
        # Whatever is wrong with a part, the probe's answer is that this part is not ready.
        logger.warning("readiness check %s failed", check.__name__, exc_info=True)
        return False


def database() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return True


def queue() -> bool:
    with app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, timeout=1)
    return True


def workers() -> bool:
    return queues_served() >= NEEDED_QUEUES


def queues_served() -> set[str]:
    """The queues that living workers take from; those who do not answer within a second count as gone."""
    replies = app.control.inspect(timeout=1.0).active_queues() or {}
    return {queue["name"] for queues in replies.values() for queue in queues}


def active_model() -> bool:
    return ModelVersion.objects.active() is not None


class _LastLook:
    """What the last look at the parts found. One thread looks at a time, and seldom: a look takes a second, and
    anybody may ask; the others get what is known, so that probes never hold the threads that pages need."""

    def __init__(self) -> None:
        self._looking = threading.Lock()
        self._found: dict[str, bool] = {}
        self._stale_at = 0.0

    def parts(self) -> dict[str, bool]:
        is_fresh = time.monotonic() < self._stale_at
        # Only the very first askers wait for a look that another thread has begun.
        if not is_fresh and self._looking.acquire(blocking=not self._found):
            try:
                self._look()
            finally:
                self._looking.release()
        return self._found

    def _look(self) -> None:
        if time.monotonic() < self._stale_at:
            return
        self._found = {name: _holds(check) for name, check in CHECKS.items()}
        self._stale_at = time.monotonic() + LOOK_SECONDS


_last_look = _LastLook()
CHECKS: dict[str, Callable[[], bool]] = {
    "database": database,
    "queue": queue,
    "workers": workers,
    "active_model": active_model,
}
