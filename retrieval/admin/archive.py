"""Datasets, their images, and what was decided about these."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet, Sum
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from retrieval.admin.mixins import ChangesOnlyMixin, ReadOnlyMixin
from retrieval.imaging.names import printable
from retrieval.models import Dataset, ImageChange, MedicalImage
from retrieval.services.curation import relabel
from retrieval.services.modalities import modality_name
from retrieval.services.uploading import open_upload


@admin.register(Dataset)
class DatasetAdmin(ChangesOnlyMixin, ModelAdmin):
    list_display = ("name", "images", "imports", "is_synthetic", "source", "licence", "created_at")
    list_filter = ("is_synthetic",)
    show_full_result_count = False
    search_fields = ("name", "description", "source")
    readonly_fields = ("created_at", "created_by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Dataset]:
        return super().get_queryset(request).with_total()  # type: ignore[attr-defined]

    def save_model(self, request: HttpRequest, obj: Dataset, form: ModelForm, change: Any) -> None:
        if not change:
            obj.created_by = request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)

    def get_urls(self) -> list[URLPattern]:
        upload = self.admin_site.admin_view(self.upload)
        return [path("<int:pk>/upload/", upload, name="retrieval_dataset_upload"), *super().get_urls()]

    def response_add(self, request: HttpRequest, obj: Dataset, post_url_continue: str | None = None) -> HttpResponse:
        """A new dataset wants images next, unless another button than the first was pressed."""
        if "_save" in request.POST and request.user.has_perm("retrieval.add_importjob"):
            return redirect("admin:retrieval_dataset_upload", obj.pk)
        return super().response_add(request, obj, post_url_continue)

    def upload(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The page that sends files; the pieces go to retrieval/views/uploading.py."""
        if not request.user.has_perm("retrieval.add_importjob"):
            raise PermissionDenied
        dataset = get_object_or_404(Dataset, pk=pk)
        if dataset.deletion:
            return redirect(dataset)
        upload = open_upload(dataset=dataset, user=request.user)  # type: ignore[arg-type]
        here = upload.files.aggregate(count=Count("pk"), bytes=Sum("received"))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Upload images into {dataset.name}",
            "opts": self.opts,
            # For the way back in the head of the page.
            "original": dataset,
            "dataset": dataset,
            "upload": upload,
            "here": here,
            "most_bytes": settings.UPLOAD_MAX_BYTES,
        }
        return render(request, "admin/retrieval/dataset/upload.html", context)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        # Rows alone would go, and one dataset at a time is enough.
        actions.pop("delete_selected", None)
        return actions

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: object = None) -> HttpResponse:  # noqa: ARG002
        """The site's own page takes the files along, with care for those that other datasets share."""
        dataset = self.get_object(request, object_id)
        if dataset is None:
            raise Http404
        return redirect("dataset_delete", dataset.pk)

    @admin.display(description="Images", ordering="total")
    def images(self, dataset: Dataset) -> SafeString:
        address = reverse("admin:retrieval_medicalimage_changelist") + f"?dataset__id__exact={dataset.pk}"
        return format_html('<a href="{}">{}</a>', address, getattr(dataset, "total", 0))

    @admin.display(description="Imports")
    def imports(self, dataset: Dataset) -> SafeString:
        address = reverse("admin:retrieval_importjob_changelist") + f"?dataset__id__exact={dataset.pk}"
        return format_html('<a href="{}">Imports</a>', address)


@admin.register(MedicalImage)
class MedicalImageAdmin(ChangesOnlyMixin, ModelAdmin):
    list_display = ("picture", "label", "modality", "body_part_examined", "dataset", "standing", "size", "created_at")
    list_display_links = ("picture", "label")
    list_filter = ("standing", "dataset", "modality", "label")
    list_select_related = ("dataset",)
    list_per_page = 50
    search_fields = ("uuid", "label", "modality", "body_part_examined", "dataset__name")
    show_full_result_count = False
    fields = (
        "preview_picture",
        "label",
        "modality",
        "body_part_examined",
        "dataset",
        "size",
        "frame",
        "view_position",
        "laterality",
        "photometric_interpretation",
        "uuid",
        "created_at",
        "standing",
        "held_reason",
    )
    readonly_fields = tuple(name for name in fields if name not in ("label", "modality", "body_part_examined"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[MedicalImage]:
        return super().get_queryset(request).open_to(request.user)  # type: ignore[attr-defined]

    def save_model(self, request: HttpRequest, obj: MedicalImage, form: ModelForm, change: Any) -> None:  # noqa: ARG002
        """Only what was changed: somebody else may decide about the image meanwhile. A label has its history."""
        obj.modality = modality_name(printable(obj.modality))
        obj.body_part_examined = printable(obj.body_part_examined)
        obj.save(update_fields=[name for name in form.changed_data if name != "label"])
        if "label" in form.changed_data:
            relabel([obj], label=obj.label, user=request.user)  # type: ignore[arg-type]

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return False

    @admin.display(description="Image")
    def picture(self, image: MedicalImage) -> SafeString:
        address = reverse("image_thumbnail", args=[image.uuid])
        # The picture alone is the link to its row's page.
        name = image.label or "image without a label"
        return format_html('<img class="archive-thumbnail" src="{}" alt="{}" loading="lazy">', address, name)

    @admin.display(description="Image")
    def preview_picture(self, image: MedicalImage) -> SafeString:
        return format_html(
            '<img class="archive-preview" src="{}" alt="{}"><a href="{}">Its page in the archive</a>',
            reverse("image_preview", args=[image.uuid]),
            image.label,
            image.get_absolute_url(),
        )

    @admin.display(description="Size in pixels")
    def size(self, image: MedicalImage) -> str:
        return f"{image.width} × {image.height}"  # noqa: RUF001

    @admin.display(description="Frame")
    def frame(self, image: MedicalImage) -> str:
        return f"{image.frame_number} of {image.frame_count}"


@admin.register(ImageChange)
class ImageChangeAdmin(ReadOnlyMixin, ModelAdmin):
    list_display = ("changed_at", "changed_by", "described", "note", "page")
    list_filter = ("field", "changed_by")
    list_select_related = ("changed_by", "image")
    show_full_result_count = False
    fields = readonly_fields = list_display

    @admin.display(description="Change")
    def described(self, change: ImageChange) -> str:
        return change.described()

    @admin.display(description="Image")
    def page(self, change: ImageChange) -> SafeString:
        return format_html('<a href="{}">Its page in the archive</a>', change.image.get_absolute_url())
