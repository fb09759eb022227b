"""Quality checks of datasets, and what they found."""

from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from retrieval.models.archive import Dataset, MedicalImage
from retrieval.models.jobs import UNFINISHED, Job
from retrieval.models.versions import ModelVersion


class QualityCheck(Job):
    """Compares a dataset's images with each other and with the archive. `done` counts images of `total` embedded ones.

    An attempt that is interrupted leaves nothing behind: findings are stored in one transaction with its end.
    """

    task_name: ClassVar[str] = "retrieval.tasks.check_quality_task"

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="quality_checks")
    # None: no version was active, and only what needs no embeddings was looked for.
    model_version = models.ForeignKey(
        ModelVersion, null=True, on_delete=models.SET_NULL, related_name="quality_checks", editable=False
    )
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="quality_checks"
    )
    images = models.PositiveIntegerField(default=0, editable=False, help_text="That the dataset showed.")
    compared = models.PositiveIntegerField(default=0, editable=False, help_text="Images of the whole archive.")

    class Meta(Job.Meta):
        ordering = ["-pk"]
        default_permissions = ()
        constraints = [
            *Job.Meta.constraints,
            models.UniqueConstraint(
                fields=["dataset"], condition=Q(status__in=UNFINISHED), name="qualitycheck_one_unfinished"
            ),
        ]

    def __str__(self) -> str:
        return f"quality check {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("dataset_quality", args=[self.dataset_id])


class QualityFindingQuerySet(models.QuerySet):
    def undecided(self) -> Self:
        """Without those that somebody has dealt with: an image is not shown any more, or has another label now."""
        shown = MedicalImage.Standing.SHOWN
        return self.filter(
            Q(kind__in=QualityFinding.PAIRS) | Q(image__label=F("label")),
            ~Q(kind__in=QualityFinding.PAIRS) | Q(other__standing=shown),
            image__standing=shown,
        )


class QualityFinding(models.Model):
    """One oddity. What `value` is depends on the kind; `rank` 1 is the oddest of a kind."""

    class Kind(models.TextChoices):
        EXACT = "exact", "exact duplicates"
        NEAR = "near", "near duplicates"
        SUSPECT = "suspect", "label suspects"
        OUTLIER = "outlier", "outliers"

    # Of these two images are the finding. Of a suspect `other` is the nearest image of the suggested label, of an
    # outlier the nearest of its own.
    PAIRS = (Kind.EXACT, Kind.NEAR)

    quality_check = models.ForeignKey(QualityCheck, on_delete=models.CASCADE, related_name="findings")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    rank = models.PositiveIntegerField()
    image = models.ForeignKey(MedicalImage, on_delete=models.CASCADE, related_name="findings")
    other = models.ForeignKey(MedicalImage, on_delete=models.CASCADE, related_name="findings_beside")
    value = models.FloatField(
        help_text="Similarity of duplicates; of a suspect the share of votes; of an outlier deviations from its label."
    )
    label = models.CharField(max_length=100, blank=True, help_text="Of the image, when it was found.")
    suggested = models.CharField(max_length=100, blank=True, help_text="The label that the neighbours vote for.")

    objects = QualityFindingQuerySet.as_manager()

    class Meta:
        ordering = ["rank"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["quality_check", "kind", "rank"], name="qualityfinding_one_a_rank"),
        ]

    def __str__(self) -> str:
        return f"finding {self.rank} of quality check {self.quality_check_id}"

    @property
    def is_pair(self) -> bool:
        return self.kind in self.PAIRS
