"""The site: settings, addresses, the Celery application, and the embedded servers."""

import os

# Before NumPy and PyTorch are imported anywhere. Several processes share the processors here, and threads that wait for
# each other by spinning burn what the others need: two of them indexing side by side got half as far as one alone.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# NumPy's own threads gain nothing on matrices as small as ours.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from cbmir_site.celery import app as celery_app

__all__ = ["celery_app"]
