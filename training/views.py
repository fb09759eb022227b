"""Model versions, and the index jobs that put them to work."""

from django.contrib.auth.decorators import permission_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from retrieval.models import IndexJob, MedicalImage, ModelVersion

INDEX_JOBS_SHOWN = 10


@require_GET
@permission_required("retrieval.view_modelversion", raise_exception=True)
def training_home(request: HttpRequest) -> HttpResponse:
    context = {
        "versions": ModelVersion.objects.annotate(embedding_count=Count("embeddings")),
        "image_count": MedicalImage.objects.count(),
        "index_jobs": IndexJob.objects.select_related("model_version")[:INDEX_JOBS_SHOWN],
    }
    return render(request, "training/home.html", context)
