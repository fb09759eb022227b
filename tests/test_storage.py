"""What is left of processes that were killed."""

import os
import time

from pytest_django import Settings

from retrieval.storage import remove_abandoned_uploads


def test_an_upload_that_nobody_writes_any_more_is_removed(settings: Settings) -> None:
    given_up, being_sent = settings.WORK_DIR / "tmp1.upload.dcm", settings.WORK_DIR / "tmp2.upload.dcm"
    for upload in (given_up, being_sent):
        upload.write_bytes(b"an image of a patient")
    long_ago = time.time() - 2 * 3600
    os.utime(given_up, (long_ago, long_ago))
    remove_abandoned_uploads()
    assert not given_up.exists()
    assert being_sent.exists()
