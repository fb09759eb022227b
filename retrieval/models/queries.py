"""What was asked, and what was answered: kept, so that a result page opens again unchanged."""

import uuid
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import models
from django.db.models import OuterRef, Q, Subquery
from django.urls import reverse
from pgvector.django import HalfVectorField

from retrieval.models.archive import MedicalImage
from retrieval.models.jobs import Job, JobQuerySet
from retrieval.models.versions import EMBEDDING_DIMENSION, ModelVersion


class QueryQuerySet(JobQuerySet):
    def visible_to(self, user: User | AnonymousUser) -> Self:
        """Own queries only: what a colleague asks is nobody else's business."""
        return self.filter(user=user) if user.is_authenticated else self.none()

    def with_closest(self) -> Self:
        """Annotate closest_label and closest_distance of the first image of the answer.

        Both are None without one; the label also when the image is gone or not shown any more.
        """
        first = SearchResult.objects.filter(query=OuterRef("pk"), rank=1)
        shown = first.filter(image__standing=MedicalImage.Standing.SHOWN)
        return self.annotate(
            closest_label=Subquery(shown.values("image__label")), closest_distance=Subquery(first.values("distance"))
        )


class Query(Job):
    """One question: an uploaded image, or an image of the archive ("more like this").

    The upload is deleted as soon as its preview exists: nothing of a patient's file is kept that nobody needs. A query
    that failed before that keeps it for a while, to be tried again (retrieval/services/forgetting.py).
    """

    task_name: ClassVar[str] = "retrieval.tasks.search_task"
    queue: ClassVar[str] = "search"

    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="queries")
    upload = models.FileField(max_length=200, blank=True)
    image = models.ForeignKey(
        MedicalImage, null=True, blank=True, on_delete=models.SET_NULL, related_name="queries_from"
    )
    preview = models.FileField(max_length=200, blank=True)
    vector = HalfVectorField(dimensions=EMBEDDING_DIMENSION, null=True)
    model_version = models.ForeignKey(ModelVersion, null=True, on_delete=models.SET_NULL, related_name="queries")
    decode_ms = models.FloatField(null=True)
    embed_ms = models.FloatField(null=True)
    search_ms = models.FloatField(null=True)

    objects = QueryQuerySet.as_manager()  # type: ignore[misc]

    class Meta(Job.Meta):
        ordering = ["-pk"]
        indexes = [*Job.Meta.indexes, models.Index(fields=["user", "-id"], name="query_user_newest")]
        verbose_name_plural = "queries"
        constraints = [
            *Job.Meta.constraints,
            models.CheckConstraint(condition=~Q(status="done") | Q(vector__isnull=False), name="query_done_has_vector"),
        ]

    def __str__(self) -> str:
        return f"query {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("query_detail", args=[self.uuid])

    @property
    def has_picture(self) -> bool:
        """Whether the picture that was asked with can be shown."""
        return bool(self.preview) or (self.image is not None and self.image.is_shown)


class SearchResult(models.Model):
    query = models.ForeignKey(Query, on_delete=models.CASCADE, related_name="results")
    rank = models.PositiveSmallIntegerField()
    # An image may be deleted; the answer keeps its place and says so.
    image = models.ForeignKey(MedicalImage, null=True, on_delete=models.SET_NULL, related_name="search_results")
    distance = models.FloatField(help_text="Cosine distance, 0..2.")

    class Meta:
        ordering = ["rank"]
        constraints = [models.UniqueConstraint(fields=["query", "rank"], name="searchresult_one_a_rank")]

    def __str__(self) -> str:
        return f"result {self.rank} of query {self.query_id}"

    @property
    def similarity(self) -> float:
        return 1 - self.distance
