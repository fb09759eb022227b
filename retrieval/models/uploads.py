"""Uploads from browsers: what somebody is sending into a dataset, and how much of each file is here."""

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Sum
from django.utils import timezone

from retrieval.models.archive import Dataset

# Somebody is at it still: a piece is on its way for minutes where the line is slow.
ACTIVE = timedelta(minutes=10)


class UploadQuerySet(models.QuerySet["Upload"]):
    def open(self) -> "UploadQuerySet":
        """Unfinished ones with files, each with the `received` bytes of these. A page alone sends none."""
        return self.filter(finished_at=None, file_count__gt=0).annotate(received=Sum("files__received"))

    def active(self) -> "UploadQuerySet":
        """Those of the open ones that something came into within the last minutes."""
        return self.open().filter(changed_at__gt=timezone.now() - ACTIVE)


class Upload(models.Model):
    """Files on their way into one dataset. Its folder and the rows of its files go once they are imported."""

    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="uploads")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # Kept here, since to count the rows for each file that comes takes longer with each.
    file_count = models.PositiveIntegerField(default=0, editable=False)
    size = models.PositiveBigIntegerField(default=0, editable=False, help_text="Bytes of all files, here or to come.")
    note = models.TextField(blank=True, help_text="What of it was not imported and why, in words for people.")

    objects = UploadQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"upload {self.pk}"


class UploadedFile(models.Model):
    """`received` bytes of `size` are on the disk for certain."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="files")
    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    path = models.CharField(max_length=1000, help_text="Below the folder that was chosen.")
    size = models.PositiveBigIntegerField()
    received = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["upload", "path"], name="uploadedfile_once_an_upload")]

    def __str__(self) -> str:
        return f"uploaded file {self.pk}"
