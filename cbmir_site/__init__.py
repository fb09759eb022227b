"""The site: settings, addresses, the Celery application, and the embedded servers."""

import os

# Before NumPy is imported anywhere. Its threads gain nothing on matrices as small as ours, and while they wait for each
# other they burn the processors that the networks and the decoders need.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from cbmir_site.celery import app as celery_app

__all__ = ["celery_app"]
