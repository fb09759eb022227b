"""Model versions, and the index jobs that put them to work."""

from django.contrib.auth.decorators import permission_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from retrieval.models import IndexJob, MedicalImage, ModelVersion
from retrieval.models.jobs import UNFINISHED

INDEX_JOBS_SHOWN = 10


@require_GET
@permission_required("retrieval.view_modelversion", raise_exception=True)
def training_home(request: HttpRequest) -> HttpResponse:
    index_jobs = list(IndexJob.objects.select_related("model_version")[:INDEX_JOBS_SHOWN])
    context = {
        "versions": ModelVersion.objects.annotate(embedding_count=Count("embeddings")),
        "image_count": MedicalImage.objects.count(),
        "index_jobs": index_jobs,
        "is_busy": any(job.progress["status"] in UNFINISHED for job in index_jobs),
    }
    template = "training/_home.html" if request.htmx else "training/home.html"  # type: ignore[attr-defined]
    return render(request, template, context)
