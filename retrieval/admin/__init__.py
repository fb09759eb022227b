"""The archive in Django admin: datasets and labels can be changed, what jobs and workers wrote can be read.

Queries are not here: what a clinician asks is nobody else's business. Model versions are in training/admin.py.
"""

from retrieval.admin import jobs, people
from retrieval.admin.archive import DatasetAdmin
from retrieval.admin.mixins import ReadOnlyMixin

__all__ = ["DatasetAdmin", "ReadOnlyMixin", "jobs", "people"]
