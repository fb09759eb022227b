"""Training in Django admin: runs and evaluations to read, versions with their figures, datasets to train on."""

from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from retrieval.admin import DatasetAdmin, ReadOnlyMixin
from retrieval.models import Dataset, ModelVersion
from retrieval.services.versions import VersionRefused
from training.forms import described
from training.models import Evaluation, TrainingRun
from training.services.activation import objections, put_into_service
from training.templatetags.figures import NOTHING, figure, rate

admin.site.unregister(Dataset)


@admin.register(Dataset)
class TrainableDatasetAdmin(DatasetAdmin):
    actions = ("train",)

    def has_train_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("training.add_trainingrun")

    @admin.action(description="Train a network on these datasets", permissions=["train"])
    def train(self, request: HttpRequest, datasets: QuerySet[Dataset]) -> HttpResponse:  # noqa: ARG002
        chosen = urlencode([("dataset", pk) for pk in datasets.values_list("pk", flat=True)])
        return redirect(f"{reverse('run_start')}?{chosen}")


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyMixin, ModelAdmin):
    list_display = (
        *("number", "status", "test_accuracy", "p_at_20", "map_at_20", "images_indexed"),
        *("made_by", "architecture", "weights_source", "created_at"),
    )
    list_filter = ("status", "architecture", "weights_source")
    list_select_related = ("training_run",)
    show_full_result_count = False
    actions = ("activate",)
    exclude = ("weights", "metrics", "classes")
    readonly_fields = ("made_by", "class_names", "test_accuracy", "p_at_20", "map_at_20")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelVersion]:
        return super().get_queryset(request).with_embedding_count()  # type: ignore[attr-defined]

    @admin.display(description="Images indexed", ordering="embedding_count")
    def images_indexed(self, version: ModelVersion) -> int:
        return getattr(version, "embedding_count", 0)

    @admin.display(description="Made by")
    def made_by(self, version: ModelVersion) -> SafeString | str:
        run = getattr(version, "training_run", None)
        return _run_link(run) if run else NOTHING

    @admin.display(description="Classes")
    def class_names(self, version: ModelVersion) -> str:
        return ", ".join(version.classes) or NOTHING

    @admin.display(description="Test accuracy")
    def test_accuracy(self, version: ModelVersion) -> str:
        return rate(version.metrics.get("accuracy"))

    @admin.display(description="P@20")
    def p_at_20(self, version: ModelVersion) -> str:
        return figure(version.metrics.get("p_at", {}).get("20"))

    @admin.display(description="Mean AP@20")
    def map_at_20(self, version: ModelVersion) -> str:
        return figure(version.metrics.get("map_at_20"))

    def has_activate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("retrieval.change_modelversion")

    @admin.action(description="Activate: answer every search with this version", permissions=["activate"])
    def activate(self, request: HttpRequest, versions: QuerySet[ModelVersion]) -> HttpResponse | None:
        if versions.count() != 1:
            messages.error(request, "Choose exactly one version.")
            return None
        version = versions.get()
        if version.status != ModelVersion.Status.RETIRED and objections(version):
            return redirect("version_activate", version.number)
        try:
            put_into_service(version)
        except VersionRefused as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, f"Version {version.number} is active.")
        return None


@admin.register(TrainingRun)
class TrainingRunAdmin(ReadOnlyMixin, ModelAdmin):
    list_display = ("__str__", "page", "status", "on_datasets", "version", "started_by", "queued_at", "finished_at")
    list_filter = ("status", "datasets")
    list_select_related = ("created_by", "model_version")
    fields = readonly_fields = (
        *("page", "status", "reason", "on_datasets", "settings", "weights_report", "parameters", "class_names"),
        *("images_left_out", "version", "started_by", "queued_at", "started_at", "finished_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrainingRun]:
        return super().get_queryset(request).prefetch_related("datasets")

    @admin.display(description="Curves and figures")
    def page(self, run: TrainingRun) -> SafeString:
        return _run_link(run)

    @admin.display(description="Datasets")
    def on_datasets(self, run: TrainingRun) -> str:
        return ", ".join(dataset.name for dataset in run.datasets.all())

    @admin.display(description="Settings")
    def settings(self, run: TrainingRun) -> SafeString:
        return format_html_join("", "{}: {}<br>", described(run))

    @admin.display(description="Classes")
    def class_names(self, run: TrainingRun) -> str:
        return ", ".join(run.classes) or NOTHING

    @admin.display(description="Images left out")
    def images_left_out(self, run: TrainingRun) -> str:
        return ", ".join(f"{count} {reason}" for reason, count in run.left_out.items() if count) or NOTHING

    @admin.display(description="Model version", ordering="model_version__number")
    def version(self, run: TrainingRun) -> str:
        return f"version {run.model_version.number}" if run.model_version else NOTHING

    @admin.display(description="Started by", ordering="created_by__username")
    def started_by(self, run: TrainingRun) -> str:
        return run.created_by.get_username() if run.created_by else "a command, or somebody who is gone"


@admin.register(Evaluation)
class EvaluationAdmin(ReadOnlyMixin, ModelAdmin):
    list_display = ("__str__", "page", "model_version", "images", "status", "accuracy", "p_at_20", "map_at_20")
    list_filter = ("status", "model_version")
    list_select_related = ("model_version", "run")
    fields = readonly_fields = (
        *("page", "model_version", "images", "status", "reason", "accuracy", "p_at_20", "map_at_20"),
        *("queued_at", "started_at", "finished_at"),
    )

    @admin.display(description="All figures")
    def page(self, evaluation: Evaluation) -> SafeString:
        return format_html('<a href="{}">Open</a>', reverse("evaluation_detail", args=[evaluation.pk]))

    @admin.display(description="Images")
    def images(self, evaluation: Evaluation) -> SafeString | str:
        return format_html("test images of {}", _run_link(evaluation.run)) if evaluation.run else evaluation.source

    @admin.display(description="Accuracy")
    def accuracy(self, evaluation: Evaluation) -> str:
        return rate(evaluation.report.get("accuracy"))

    @admin.display(description="P@20")
    def p_at_20(self, evaluation: Evaluation) -> str:
        return figure(evaluation.report.get("p_at", {}).get("20"))

    @admin.display(description="Mean AP@20")
    def map_at_20(self, evaluation: Evaluation) -> str:
        return figure(evaluation.report.get("map_at_20"))


def _run_link(run: TrainingRun) -> SafeString:
    return format_html('<a href="{}">training run {}</a>', reverse("run_detail", args=[run.pk]), run.pk)
