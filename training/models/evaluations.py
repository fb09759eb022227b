"""How good a model version is: the figures, and what it answered to each test image."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from retrieval.models import Job, JobStatus, MedicalImage, ModelVersion
from training.models.runs import TrainingRun


class Evaluation(Job):
    """One judgement of a version: on the test part of a run, or on a folder of images from elsewhere.

    `report` is what `manage.py evaluate` prints (interface: queries, gallery, accuracy, p_at, map_at_20, per_class,
    confusion_matrix), with `features` (p_at and map_at_20 of the network's dense features, not projected), and
    `unknown` for classes that the gallery does not have. Two evaluations of one run, with the same `image_count`,
    the same queries and as many images in the gallery, compare two versions.
    """

    task_name: ClassVar[str] = "training.tasks.evaluate_task"
    queue: ClassVar[str] = "training"

    model_version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="evaluations")
    run = models.ForeignKey(TrainingRun, null=True, blank=True, on_delete=models.CASCADE, related_name="evaluations")
    source = models.CharField(max_length=200, blank=True, help_text="The name of the folder of queries from elsewhere.")
    report = models.JSONField(default=dict, editable=False)

    class Meta(Job.Meta):
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"evaluation {self.pk}"

    @property
    def image_count(self) -> int:
        """How many images its run had when it was judged. Some may be deleted, none ever come: with the same number it
        had the same images."""
        return max(self._images_known, self._images_left)

    @property
    def is_outdated(self) -> bool:
        """Whether images of its run were deleted since: its figures are of more than there are now."""
        return self.status == JobStatus.DONE and self.run is not None and self._images_known > self._images_left

    @property
    def _images_known(self) -> int:
        # Reports that were made before it was kept have what was read of the images.
        return self.report.get("run_images", self.report["queries"] + self.report["gallery"])

    @property
    def _images_left(self) -> int:
        return self.run.split.count() if self.run else 0


class EvaluatedImage(models.Model):
    """One test image as a query: what the version took it for, and the nearest images of the gallery."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="images")
    image = models.ForeignKey(MedicalImage, on_delete=models.CASCADE, related_name="evaluations")
    label = models.CharField(max_length=100)
    predicted = models.CharField(max_length=100)
    p_at_20 = models.FloatField()
    ap_at_20 = models.FloatField()
    neighbours = ArrayField(models.BigIntegerField(), help_text="Primary keys of the 20 nearest images, nearest first.")

    class Meta:
        ordering = ["ap_at_20", "image_id"]
        constraints = [models.UniqueConstraint(fields=["evaluation", "image"], name="evaluatedimage_once")]
        indexes = [models.Index(fields=["evaluation", "label", "predicted"], name="evaluatedimage_cell")]

    def __str__(self) -> str:
        return f"image {self.image_id} in evaluation {self.evaluation_id}"
