"""What a training job tells while it works, and what it is told: its row says how far it is, and whether to go on."""

import logging
import time
from datetime import timedelta

from django.conf import settings
from django.db import Error, connection

from retrieval.models import Job
from retrieval.services import jobs

logger = logging.getLogger(__name__)
TELL_SECONDS = 1.0
TOO_LONG = "It took longer than {hours:g} hours and was ended. Choose fewer images, or allow more time."
# Of the time that is allowed for learning: what was learnt is also fitted, stored and judged.
_WHOLE_SHARE = 2


class Watch:
    """Called often, does something about once a second. Raises JobCancelled, ClaimLost, and JobFailed after twice the
    time that is allowed for learning.

    `before` is what the epochs of earlier attempts have taken. For both limits it counts as if this attempt had taken
    it; what an interruption has lost does not count.
    """

    def __init__(self, job: Job, *, before: timedelta = timedelta(), progress: jobs.Progress = jobs.silent) -> None:
        self._job, self._before, self._progress = job, before, progress
        self._began = time.monotonic()
        self._told = 0.0

    def __call__(self, done: int, total: int, **values: object) -> None:
        now = time.monotonic()
        # The first of a phase is told at once.
        if done and now - self._told < TELL_SECONDS:
            return
        self._told = now
        most = _WHOLE_SHARE * settings.TRAINING_TIME_LIMIT
        if self._elapsed() > most:
            raise jobs.JobFailed(TOO_LONG.format(hours=most / timedelta(hours=1)))
        self._progress(done, total)
        try:
            jobs.stop_if_cancelled(self._job)
            jobs.beat(self._job, done=done, total=total, **values)
        except Error as error:
            # A database that restarts costs no epoch: if it stays away, the claim is lost and said to be.
            logger.warning("progress of %s %s not stored: %s", self._job._meta.model_name, self._job.pk, error)
            connection.close()

    def has_time(self) -> bool:
        """Whether there is time left for learning."""
        return self._elapsed() <= settings.TRAINING_TIME_LIMIT

    def _elapsed(self) -> timedelta:
        return self._before + timedelta(seconds=time.monotonic() - self._began)
