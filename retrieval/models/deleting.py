"""Datasets on their way out of the archive."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from retrieval.models.archive import Dataset
from retrieval.models.jobs import UNFINISHED, Job


class DatasetDeletion(Job):
    """Takes a dataset out of the archive, batch by batch: first rows, then their files. `done` counts images.

    `leaving` names the files whose rows went last. It is written in one transaction with the end of those rows, so that
    whoever goes on after a crash knows which files nothing refers to any more.
    """

    task_name: ClassVar[str] = "retrieval.tasks.delete_dataset_task"

    dataset = models.ForeignKey(Dataset, null=True, on_delete=models.SET_NULL, related_name="deletions")
    name = models.CharField(max_length=100, help_text="The dataset's, which is gone afterwards.")
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="dataset_deletions"
    )
    leaving = models.JSONField(default=list, editable=False)

    class Meta(Job.Meta):
        ordering = ["-pk"]
        constraints = [
            *Job.Meta.constraints,
            models.UniqueConstraint(
                fields=["dataset"], condition=Q(status__in=UNFINISHED), name="datasetdeletion_one_unfinished"
            ),
        ]

    def __str__(self) -> str:
        return f"deletion {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("deletion_detail", args=[self.pk])
