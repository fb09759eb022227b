"""The archive: datasets, the files they came in, and the images in those files."""

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.postgres.aggregates import ArrayAgg
from django.db import models
from django.db.models import Aggregate, Case, Count, Exists, F, Func, Max, Min, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Cast, Coalesce, Concat, Greatest
from django.urls import reverse

from retrieval.models.jobs import JobStatus

if TYPE_CHECKING:
    from retrieval.models.deleting import DatasetDeletion
    from retrieval.models.versions import ModelVersion

# Bounds of the distribution of sizes: pixels of the longer side.
SIDES = (64, 128, 256, 512, 1024, 2048, 4096)


class DatasetQuerySet(models.QuerySet):
    def with_counts(self, version: "ModelVersion | None") -> Self:
        """Annotate image_count, class_count, newest, held_count, and searchable_count: embedded by `version`.

        All but held_count are of the images that are shown. Subqueries, since joins to images and to embeddings at
        once would multiply the rows.
        """
        everything = MedicalImage.objects.filter(dataset=OuterRef("pk")).order_by()
        images = everything.shown()
        searchable = images.filter(embeddings__model_version=version) if version else images.none()
        return self.annotate(
            image_count=_scalar(images, Count("pk")),
            class_count=_scalar(images.exclude(label=""), Count("label", distinct=True)),
            searchable_count=_scalar(searchable, Count("pk")),
            held_count=_scalar(everything.held(), Count("pk")),
            newest=Subquery(images.values("dataset").annotate(value=Max("created_at")).values("value")),
        )

    def with_total(self) -> Self:
        """Annotate total: images, shown or not."""
        return self.annotate(total=_scalar(MedicalImage.objects.filter(dataset=OuterRef("pk")).order_by(), Count("pk")))

    def synthetic_share(self) -> str:
        """Whether "all", "some" or "none" of the datasets that hold images are synthetic demo data."""
        kinds = set(
            self.filter(Exists(MedicalImage.objects.shown().filter(dataset=OuterRef("pk")))).values_list(
                "is_synthetic", flat=True
            )
        )
        return {(True,): "all", (False, True): "some"}.get(tuple(sorted(kinds)), "none")


def _scalar(images: models.QuerySet, count: Count) -> Coalesce:
    """A correlated count that is 0, not NULL, where there is nothing to count."""
    return Coalesce(Subquery(images.values("dataset").annotate(value=count).values("value")), 0)


class Dataset(models.Model):
    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    source = models.CharField(max_length=300, blank=True, help_text="Where the images come from.")
    licence = models.CharField(max_length=300, blank=True)
    is_synthetic = models.BooleanField(default=False, help_text="Drawn by a program: not for clinical use.")
    review_all = models.BooleanField(
        "look at every image before it is shown",
        default=False,
        help_text="For images that may have names or dates drawn into them. Holds for imports from now on.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="datasets"
    )

    objects = DatasetQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("dataset_detail", args=[self.pk])

    @property
    def deletion(self) -> "DatasetDeletion | None":
        """The one that is under way."""
        return next((each for each in self.deletions.all() if not each.is_finished), None)


class StoredFile(models.Model):
    """An original, stored once however many datasets and frames refer to it.

    What came in decides whether a file is known; what is stored of it says nothing of whom it shows, unless the
    installation keeps originals as they are.
    """

    sha256 = models.CharField(max_length=64, unique=True, help_text="Of the file that came in.")
    stored_sha256 = models.CharField(max_length=64, help_text="Of the file as it is stored.")
    is_deidentified = models.BooleanField(help_text="Whether metadata were removed before it was stored.")
    file = models.FileField(max_length=200, unique=True)
    size = models.PositiveBigIntegerField(help_text="Bytes.")

    def __str__(self) -> str:
        return f"file {self.pk}"


# As a series was taken. Images are added in the order of the names of their files, frame after frame: so frames of one
# file stay together where two files have the same number, and files without a number come last, by name.
SLICE_ORDER = ("instance_number", "id")
# Modalities whose images are slices of a body.
SECTIONAL = ("CT", "MRI", "PET")


class MedicalImageQuerySet(models.QuerySet):
    def shown(self) -> Self:
        """What the archive consists of for everybody: listings, counts, searches, training."""
        return self.filter(standing=MedicalImage.Standing.SHOWN)

    def held(self) -> Self:
        return self.filter(standing=MedicalImage.Standing.HELD)

    def visible_to(self, user: User | AnonymousUser) -> Self:
        return self.shown() if user.has_perm("retrieval.view_medicalimage") else self.none()

    def open_to(self, user: User | AnonymousUser) -> Self:
        """What `user` may open one by one: who curates the archive has to look at what nobody else sees."""
        may_see_all = user.has_perms(["retrieval.view_medicalimage", "retrieval.curate_medicalimage"])
        return self if may_see_all else self.visible_to(user)

    def without_embedding(self, version: "ModelVersion") -> Self:
        """Those that should have one: an image that is not shown is not embedded."""
        embeddings = version.embeddings.filter(image=OuterRef("pk"))
        return self.shown().filter(~Exists(embeddings))

    def in_vain(self, version: "ModelVersion") -> Self:
        """Those without an embedding that an index job of the version tried already; the next job tries them again."""
        tried = version.index_jobs.filter(failures__image=OuterRef("pk"))
        return self.without_embedding(version).filter(Exists(tried))

    def untried(self, version: "ModelVersion") -> Self:
        """Those without an embedding that index jobs have yet to come to."""
        tried = version.index_jobs.filter(failures__image=OuterRef("pk"))
        return self.without_embedding(version).filter(~Exists(tried))

    def not_planned(self, version: "ModelVersion") -> Self:
        """Those that no batch of an index job of the version waits for.

        A batch that a worker has taken has made its list of images, and may lack what has come since.
        """
        waiting = version.index_jobs.filter(batches__status=JobStatus.QUEUED).order_by().values("model_version")
        # As one value, in which a key is found as in an index.
        bounds = Func("batches__first_image_id", "batches__last_image_id", Value("[]"), function="int8range")
        ranges = waiting.annotate(ranges=Aggregate(bounds, function="range_agg", output_field=models.TextField()))
        is_planned = Func(
            "pk",
            Subquery(ranges.values("ranges")),
            arg_joiner=" <@ ",
            template="COALESCE(%(expressions)s, FALSE)",
            output_field=models.BooleanField(),
        )
        return self.annotate(is_planned=is_planned).filter(is_planned=False)

    def classes(self) -> models.QuerySet:
        """One dict a label: label, count, modality, body_part and sample (the primary key of one image)."""
        counted = self.shown().order_by().values("label").annotate(count=Count("pk"), sample=Min("pk"))
        return counted.annotate(modality=Min("modality"), body_part=Min("body_part_examined")).order_by("label")

    def counted_by(self, field: str) -> list[dict[str, Any]]:
        """One dict a value of the field, most images first: value, count, share, width (percent of the largest)."""
        counted = list(self.order_by().values(value=F(field)).annotate(count=Count("pk")).order_by("-count", "value"))
        total, largest = sum(row["count"] for row in counted), max((row["count"] for row in counted), default=0)
        return [{**row, "share": row["count"] / total, "width": 100 * row["count"] // largest} for row in counted]

    def sizes(self) -> list[tuple[str, int]]:
        """How many images have their longer side, in pixels, up to each of SIDES, and above the last."""
        bounds = list(zip((0, *SIDES), (*SIDES, None), strict=True))
        names = [f"up to {upper}" if upper else f"above {lower}" for lower, upper in bounds]
        longer = self.order_by().annotate(longer=Greatest("width", "height"))
        filters = [Q(longer__gt=lower, **({"longer__lte": upper} if upper else {})) for lower, upper in bounds]
        counts = longer.aggregate(**{f"of_{n}": Count("pk", filter=each) for n, each in enumerate(filters)})
        return [(name, counts[f"of_{n}"]) for n, name in enumerate(names)]

    def extremes(self) -> dict[str, int | None]:
        """The least and most pixels of a side."""
        return self.aggregate(
            least_width=Min("width"), most_width=Max("width"), least_height=Min("height"), most_height=Max("height")
        )

    def labels(self) -> list[str]:
        return self._distinct("label")

    def stacks(self) -> models.QuerySet:
        """Of one dataset: one dict a stack, with its `size` and `middle`, the primary key of its middle image.

        By label, then as the stacks came. One pass over an index that has all columns it needs.
        """
        in_order = ArrayAgg("pk", order_by=SLICE_ORDER)
        middle = Func(in_order, template="(%(expressions)s)[COUNT(*) / 2 + 1]", output_field=models.BigIntegerField())
        counted = self.order_by().values("stack").annotate(size=Count("pk"), middle=middle)
        return counted.annotate(first_label=Min("label"), first=Min("pk")).order_by("first_label", "first")

    def stacks_of(self, images: Iterable["MedicalImage"]) -> list[list[int]]:
        """The primary keys in each stack that one of the images is in, in the order of slices."""
        wanted = list(images)
        datasets, stacks = {image.dataset_id for image in wanted}, {image.stack for image in wanted}
        # A series may be in several datasets, so more may come than was asked for.
        found = self.order_by().filter(dataset__in=datasets, stack__in=stacks).values("dataset", "stack")
        return list(found.annotate(pks=ArrayAgg("pk", order_by=SLICE_ORDER)).values_list("pks", flat=True))

    def in_stack_of(self, image: "MedicalImage") -> Self:
        """In the order of slices, the image among them."""
        return self.filter(dataset=image.dataset_id, stack=image.stack).order_by(*SLICE_ORDER)

    def elsewhere_in_study_of(self, image: "MedicalImage") -> Self:
        """The other stacks of its study, if it is known to be of one."""
        study = self.filter(dataset=image.dataset_id, study_instance_uid=image.study_instance_uid)
        return study.exclude(study_instance_uid="").exclude(stack=image.stack)

    def in_other_studies_of_patient_of(self, image: "MedicalImage") -> Self:
        patient = self.filter(dataset=image.dataset_id, patient_key=image.patient_key).exclude(patient_key="")
        return patient.exclude(study_instance_uid__in=["", image.study_instance_uid])

    def filter_choices(self) -> dict[str, list[str]]:
        """What a search can be narrowed to."""
        return {
            "datasets": self._distinct("dataset__name"),
            "modalities": self._distinct("modality"),
            "labels": self.labels(),
        }

    def _distinct(self, field: str) -> list[str]:
        return list(self.shown().order_by(field).exclude(**{field: ""}).values_list(field, flat=True).distinct())


def _named(kind: str, number: str) -> Concat:
    return Concat(Value(kind), Cast(number, models.CharField()), output_field=models.CharField())


class MedicalImage(models.Model):
    """One picture: a file, or one frame of a multi-frame file.

    Attributes are named after their DICOM keywords (PS3.6); only this allow-list is kept of a file's metadata.

        held --release--> shown --exclude--> excluded
          ^----hold---------/                  |
          \\---restore (to what it was before)---/

    Only an image that is shown has embeddings. The verbs are in retrieval/services/curation.py.
    """

    class Standing(models.TextChoices):
        SHOWN = "shown", "shown"
        HELD = "held", "waits to be looked at"
        EXCLUDED = "excluded", "taken out of the archive"

    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="images")
    original = models.ForeignKey(StoredFile, on_delete=models.PROTECT, related_name="images")
    import_job = models.ForeignKey(
        "retrieval.ImportJob", null=True, blank=True, on_delete=models.SET_NULL, related_name="images"
    )
    frame_number = models.PositiveIntegerField(default=1, help_text="Counted from 1, as DICOM does.")
    frame_count = models.PositiveIntegerField(default=1)
    preview = models.FileField(max_length=200, unique=True, help_text="What people see and the network reads.")
    thumbnail = models.FileField(max_length=200, unique=True)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    pixel_sha256 = models.CharField(max_length=64)

    label = models.CharField(max_length=100, blank=True)
    modality = models.CharField(max_length=32, blank=True)
    body_part_examined = models.CharField(max_length=64, blank=True)
    view_position = models.CharField(max_length=16, blank=True)
    laterality = models.CharField(max_length=16, blank=True)
    photometric_interpretation = models.CharField(max_length=16, blank=True)
    study_instance_uid = models.CharField(max_length=64, blank=True)
    series_instance_uid = models.CharField(max_length=64, blank=True)
    sop_instance_uid = models.CharField(max_length=64, blank=True)
    instance_number = models.IntegerField(null=True, blank=True)
    patient_key = models.CharField(max_length=64, blank=True, help_text="Keyed hash; never the patient's identifier.")
    # A column of its own, since expressions in an index do not let a query be answered from the index alone.
    stack = models.GeneratedField(
        expression=Case(
            When(~Q(series_instance_uid=""), then=F("series_instance_uid")),
            When(frame_count__gt=1, then=_named("file ", "original_id")),
            default=_named("image ", "id"),
        ),
        output_field=models.CharField(max_length=64, db_collation="C"),
        db_persist=True,
        help_text="What is walked through together, within a dataset: a series, the frames of a file, or one image.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    standing = models.CharField(max_length=10, choices=Standing.choices, default=Standing.SHOWN, editable=False)
    held_reason = models.CharField(
        max_length=300, blank=True, editable=False, help_text="Why a person has to look at it, in words for people."
    )

    objects = MedicalImageQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["dataset", "original", "frame_number"], name="medicalimage_once_a_dataset"),
            models.CheckConstraint(
                condition=~Q(standing="held") | ~Q(held_reason=""), name="medicalimage_held_has_reason"
            ),
        ]
        indexes = [
            models.Index(fields=["dataset", "label"], name="medicalimage_dataset_label"),
            models.Index(fields=["modality"], name="medicalimage_modality"),
            models.Index(fields=["label"], name="medicalimage_label"),
            models.Index(fields=["dataset"], condition=Q(standing="held"), name="medicalimage_held"),
            models.Index(
                fields=["dataset", "stack", *SLICE_ORDER],
                include=["label", "standing"],
                name="medicalimage_stack",
            ),
            models.Index(
                fields=["dataset", "study_instance_uid"],
                condition=~Q(study_instance_uid=""),
                name="medicalimage_study",
            ),
            models.Index(fields=["dataset", "patient_key"], condition=~Q(patient_key=""), name="medicalimage_patient"),
        ]
        permissions = [("curate_medicalimage", "Can see held images, release, exclude and relabel")]

    def __str__(self) -> str:
        return f"image {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("image_detail", args=[self.uuid])

    @property
    def is_shown(self) -> bool:
        return self.standing == self.Standing.SHOWN

    @property
    def part(self) -> str:
        """What it is of its stack, in a word."""
        if self.frame_count > 1:
            return "frame"
        return "slice" if self.modality in SECTIONAL else "image"

    def described(self) -> list[tuple[str, str]]:
        """The attributes that have a value, with their names for people. Neither UIDs nor the patient key."""
        named = {
            "Label": self.label,
            "Modality": self.modality,
            "Body part": self.body_part_examined,
            "View position": self.view_position,
            "Laterality": self.laterality,
            "Photometric interpretation": self.photometric_interpretation,
            "Size": f"{self.width} × {self.height} pixels",  # noqa: RUF001
            "Frame": f"{self.frame_number} of {self.frame_count}" if self.frame_count > 1 else "",
            "Instance number": "" if self.instance_number is None else str(self.instance_number),
        }
        return [(name, value) for name, value in named.items() if value]
