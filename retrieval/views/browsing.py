"""Datasets and images."""

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import permission_required
from django.core.paginator import Paginator
from django.db.models import F
from django.db.models.expressions import OrderBy
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET

from retrieval.models import Dataset, ImageChange, MedicalImage, ModelVersion
from retrieval.models.archive import MedicalImageQuerySet
from retrieval.views.files import private_image
from retrieval.views.stacks import related_to, tiles, walk_of

PAGE = 60
IMPORT_JOBS_SHOWN = 10
SORTS = {"name": "name", "images": "image_count", "newest": "newest"}

may_see_datasets = permission_required("retrieval.view_dataset", raise_exception=True)
may_see_images = permission_required("retrieval.view_medicalimage", raise_exception=True)


@require_GET
@may_see_datasets
def dataset_list(request: HttpRequest) -> HttpResponse:
    q = request.GET.get("q", "").strip()
    sort = request.GET.get("sort", "name")
    datasets = (
        Dataset.objects.with_counts(ModelVersion.objects.active())
        .filter(name__icontains=q)
        .prefetch_related("deletions")
    )
    context = {"datasets": datasets.order_by(_ordering(sort)), "q": q, "sort": sort}
    return render(request, "retrieval/dataset_list.html", context)


def _ordering(sort: str) -> OrderBy:
    """By the column that is named, falling after a minus; datasets without a value come last either way."""
    column = F(SORTS.get(sort.removeprefix("-"), "name"))
    return column.desc(nulls_last=True) if sort.startswith("-") else column.asc(nulls_last=True)


@require_GET
@may_see_datasets
def dataset_detail(request: HttpRequest, pk: int) -> HttpResponse:
    version = ModelVersion.objects.active()
    dataset = get_object_or_404(Dataset.objects.with_counts(version), pk=pk)
    label = request.GET.get("label")
    visible = MedicalImage.objects.visible_to(request.user).filter(dataset=dataset)
    images = visible if label is None else visible.filter(label=label)
    page = Paginator(images.stacks(), PAGE).get_page(request.GET.get("page"))
    context = {
        "dataset": dataset,
        "classes": _classes(visible),
        "page": page,
        "tiles": tiles(page),
        "listed_count": images.count(),
        "selected_label": label,
        **_imports(request, dataset=dataset),
    }
    return render(request, "retrieval/dataset_detail.html", context)


def _classes(images: MedicalImageQuerySet) -> list[dict[str, Any]]:
    """One row a class: its label, count, share of all the images, first modality and body part, a sample,

    and the width of its bar in percent of the largest class's.
    """
    counted = list(images.classes())
    samples = dict(MedicalImage.objects.filter(pk__in=[row["sample"] for row in counted]).values_list("pk", "uuid"))
    # The first images of a dataset that is being deleted go between the two.
    rows = [row for row in counted if row["sample"] in samples]
    total = sum(row["count"] for row in rows) or 1
    largest = max((row["count"] for row in rows), default=1)
    return [
        {
            **row,
            "share": row["count"] / total,
            "width": 100 * row["count"] // largest,
            "sample_uuid": samples[row["sample"]],
        }
        for row in rows
    ]


def _imports(request: HttpRequest, *, dataset: Dataset) -> dict[str, Any]:
    """The last imports, and how many there are."""
    if not request.user.has_perm("retrieval.view_importjob"):
        return {}
    return {"import_jobs": dataset.import_jobs.all()[:IMPORT_JOBS_SHOWN], "import_count": dataset.import_jobs.count()}


@require_GET
@may_see_images
def image_detail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    image = _open_image(request, uuid)
    version = ModelVersion.objects.active()
    walk = walk_of(image, user=request.user)
    siblings = MedicalImage.objects.visible_to(request.user).filter(dataset=image.dataset)
    context = {
        "image": image,
        "attributes": image.described(),
        "is_searchable": version is not None and image.embeddings.filter(model_version=version).exists(),
        "walk": walk,
        # An image that is alone in its stack stands among the images of its dataset.
        "previous": walk.previous if walk.size > 1 else siblings.filter(pk__lt=image.pk).order_by("-pk").first(),
        "next": walk.next if walk.size > 1 else siblings.filter(pk__gt=image.pk).order_by("pk").first(),
        "related": related_to(image, user=request.user),
        "changes": _changes(request, image=image),
    }
    return render(request, "retrieval/image_detail.html", context)


def _changes(request: HttpRequest, *, image: MedicalImage) -> list[ImageChange]:
    if not request.user.has_perm("retrieval.curate_medicalimage"):
        return []
    return list(image.changes.select_related("changed_by"))


@require_GET
@may_see_images
def series_detail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """A stack, opened at one of its images."""
    image = _open_image(request, uuid)
    walk = walk_of(image, user=request.user)
    if walk.size == 1:
        return redirect(image)
    context = {
        "image": image,
        "walk": walk,
        "labels": sorted({each.label for each in walk.slices if each.label}),
        "related": related_to(image, user=request.user),
    }
    return render(request, "retrieval/series_detail.html", context)


@require_GET
@may_see_images
def image_preview(request: HttpRequest, uuid: UUID) -> FileResponse:
    image = _open_image(request, uuid)
    return private_image(image.preview, content_type="image/png", may_be_kept=image.is_shown)


@require_GET
@may_see_images
def image_thumbnail(request: HttpRequest, uuid: UUID) -> FileResponse:
    image = _open_image(request, uuid)
    return private_image(image.thumbnail, content_type="image/jpeg", may_be_kept=image.is_shown)


def _open_image(request: HttpRequest, uuid: UUID) -> MedicalImage:
    return get_object_or_404(MedicalImage.objects.open_to(request.user).select_related("dataset"), uuid=uuid)
