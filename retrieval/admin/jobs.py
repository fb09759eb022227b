"""Jobs, to be read."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from retrieval.admin.mixins import ReadOnlyMixin
from retrieval.models import DatasetDeletion, ImportJob, IndexJob

OUTCOMES = ("accepted", "duplicates", "refused")


@admin.register(ImportJob)
class ImportJobAdmin(ReadOnlyMixin, ModelAdmin):
    list_display = ("__str__", "source", "dataset", "status", "done", "total", *OUTCOMES, "queued_at", "page")
    list_filter = ("status", "dataset")
    list_select_related = ("dataset",)
    fields = readonly_fields = (
        *("dataset", "source", "source_path", "status", "reason", "done", "total", *OUTCOMES),
        *("queued_at", "started_at", "finished_at", "page"),
    )

    @admin.display(description="Source")
    def source(self, job: ImportJob) -> str:
        return job.named

    @admin.display(description="Progress and files")
    def page(self, job: ImportJob) -> SafeString:
        return format_html('<a href="{}">Its page</a>', job.get_absolute_url())


@admin.register(DatasetDeletion)
class DatasetDeletionAdmin(ReadOnlyMixin, ModelAdmin):
    list_display = ("name", "status", "done", "total", "asked_by", "queued_at", "finished_at")
    list_filter = ("status",)
    list_select_related = ("asked_by",)
    fields = readonly_fields = (*list_display, "reason")


@admin.register(IndexJob)
class IndexJobAdmin(ReadOnlyMixin, ModelAdmin):
    list_display = ("__str__", "model_version", "state", "done", "total", "failed", "created_at")
    list_select_related = ("model_version",)
    fields = readonly_fields = ("model_version", "state", "done", "total", "failed", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[IndexJob]:
        return super().get_queryset(request).with_progress()

    @admin.display(description="State")
    def state(self, job: IndexJob) -> str:
        return str(job.progress["status"])

    @admin.display(description="Done")
    def done(self, job: IndexJob) -> object:
        return job.progress["done"]

    @admin.display(description="Failed")
    def failed(self, job: IndexJob) -> object:
        return job.progress["failed"]
