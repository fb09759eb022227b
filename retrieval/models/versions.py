"""Model versions and the embeddings that each has made."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Count, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from pgvector.django import CosineDistance, HalfVectorField

if TYPE_CHECKING:
    import numpy as np

EMBEDDING_DIMENSION = 512


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    def active(self) -> "ModelVersion | None":
        return self.filter(status=ModelVersion.Status.ACTIVE).first()

    def last_active_before(self) -> "ModelVersion | None":
        """The one that answered before the active one did, and still can."""
        return (
            self.filter(status=ModelVersion.Status.READY, activated_at__isnull=False).order_by("-activated_at").first()
        )

    def retired(self) -> Self:
        return self.filter(status=ModelVersion.Status.RETIRED)

    def with_embedding_count(self) -> Self:
        """Annotate embedding_count, by the index of versions alone: a join would read each embedding."""
        counted = Embedding.objects.filter(model_version=OuterRef("pk")).values("model_version")
        counts = counted.annotate(count=Count("*")).values("count")
        return self.annotate(embedding_count=Coalesce(Subquery(counts), 0))

    def next_number(self) -> int:
        return (self.aggregate(last=Max("number"))["last"] or 0) + 1


class ModelVersion(models.Model):
    """A network with its weights, preprocessing and projection, all in one safetensors file.

        active <--activate / another one activated--> ready --retire--> retired

    What a retired version made and was made of is gone for good, its embeddings and its file. The row stays: answers
    and figures of old name it.
    """

    class Status(models.TextChoices):
        READY = "ready", "ready"
        ACTIVE = "active", "active"
        RETIRED = "retired", "retired"

    class Weights(models.TextChoices):
        NONE = "none", "untrained"
        IMAGENET = "imagenet", "ImageNet"
        FILE = "file", "from a file"
        TRAINED = "trained", "trained here"

    number = models.PositiveIntegerField(unique=True)
    architecture = models.CharField(max_length=20)
    weights_source = models.CharField(max_length=10, choices=Weights.choices)
    weights_report = models.TextField(blank=True, help_text="What was loaded into the network, and what was not.")
    weights = models.FileField(max_length=200, blank=True)
    weights_sha256 = models.CharField(max_length=64)
    classes = models.JSONField(default=list)
    metrics = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.READY)
    created_at = models.DateTimeField(auto_now_add=True)
    activated_at = models.DateTimeField(null=True, blank=True)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["status"], condition=Q(status="active"), name="modelversion_one_active"),
            models.UniqueConstraint(fields=["weights"], condition=~Q(weights=""), name="modelversion_weights_unique"),
            models.CheckConstraint(
                condition=(Q(status="retired") & Q(weights="")) | (~Q(status="retired") & ~Q(weights="")),
                name="modelversion_weights_until_retired",
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number}"

    @property
    def usual_similarity(self) -> float | None:
        """What 99 of 100 of its test images found at least, as the similarity of the nearest image; None where no test
        has told.
        """
        return self.metrics.get("usual_similarity")

    @property
    def is_untrained(self) -> bool:
        return self.weights_source == self.Weights.NONE


class EmbeddingQuerySet(models.QuerySet):
    def of(self, version: ModelVersion) -> Self:
        return self.filter(model_version=version)

    def nearest(self, vector: "Sequence[float] | np.ndarray") -> Self:
        """Ordered by cosine distance (0..2) to `vector`. Never by 1 - distance: no index would serve it."""
        return self.annotate(distance=CosineDistance("vector", vector)).order_by("distance", "image_id")


class Embedding(models.Model):
    """One image as one model version sees it: L2-normalised, half precision, inline in its row."""

    image = models.ForeignKey("retrieval.MedicalImage", on_delete=models.CASCADE, related_name="embeddings")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="embeddings")
    vector = HalfVectorField(dimensions=EMBEDDING_DIMENSION)

    objects = EmbeddingQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["image", "model_version"], name="embedding_once_a_version"),
        ]

    def __str__(self) -> str:
        return f"embedding {self.pk}"
