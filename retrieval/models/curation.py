"""What people changed about images, kept for as long as the images."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from retrieval.models.archive import MedicalImage


class ImageChange(models.Model):
    """One change of one image. Written in the transaction of the change itself, and never altered."""

    class Field(models.TextChoices):
        STANDING = "standing", "standing"
        LABEL = "label", "label"

    image = models.ForeignKey(MedicalImage, on_delete=models.CASCADE, related_name="changes")
    field = models.CharField(max_length=10, choices=Field.choices)
    old = models.CharField(max_length=100, blank=True)
    new = models.CharField(max_length=100, blank=True)
    note = models.TextField(blank=True)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="image_changes"
    )
    changed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        default_permissions = ("view",)
        constraints = [models.CheckConstraint(condition=~Q(old=F("new")), name="imagechange_changes_something")]

    def __str__(self) -> str:
        return f"change {self.pk} of image {self.image_id}"

    def described(self) -> str:
        """What happened, in words for people."""
        if self.field == self.Field.LABEL:
            return f"label “{self.old or 'none'}” became “{self.new or 'none'}”"
        standings = dict(MedicalImage.Standing.choices)
        return f"{standings.get(self.old, self.old)} → {standings.get(self.new, self.new)}"
