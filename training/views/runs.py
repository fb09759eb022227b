"""One training run: live while it works, its judgement when it is done."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods
from django_htmx.http import HttpResponseClientRefresh

from retrieval.models import JobStatus, ModelVersion
from training.forms import described
from training.learning.recipe import Recipe
from training.models import TrainingRun
from training.results import index_counts, result_of, split_rows, split_totals
from training.services.ending import cancel_run
from training.views.evaluations import result_context

# A trainer that is free takes a run within a second.
TRAINER_LATE_SECONDS = 5

may_see_runs = permission_required("training.view_trainingrun", raise_exception=True)


@require_GET
@may_see_runs
def run_detail(request: HttpRequest, pk: int) -> HttpResponse:
    runs = TrainingRun.objects.select_related("created_by", "model_version").prefetch_related("datasets", "epochs")
    run = get_object_or_404(runs, pk=pk)
    if not request.htmx:  # type: ignore[attr-defined]
        return render(request, "training/run_detail.html", _page(request, run=run))
    # The judgement and much else comes with the end of a run, the parts of its images after its beginning: the page is
    # read anew.
    if run.is_finished or ("split" in request.GET and run.split.exists()):
        return HttpResponseClientRefresh()
    context = _live(run)
    # Charts are drawn anew only when there is something new in them.
    context["has_new_epochs"] = request.GET.get("epochs") != str(len(context["epochs"]))
    return render(request, "training/_run_update.html", context)


def _live(run: TrainingRun) -> dict[str, Any]:
    epochs = list(run.epochs.all())
    recipe, final = Recipe.from_dict(run.recipe), run.is_in_final_epochs
    done, most = (run.final_epochs, recipe.final_epochs) if final else (run.learnt_epochs, recipe.epochs)
    return {
        "run": run,
        "recipe": recipe,
        "epochs": epochs,
        "best": run.best_epoch,
        "is_final": final,
        "epoch_now": min(len(done) + 1, most),
        "interruptions": run.attempts - 1,
        "is_late": run.status == JobStatus.QUEUED and run.age_seconds > TRAINER_LATE_SECONDS,
        "stopped_early": run.stopped_early,
    }


def _page(request: HttpRequest, *, run: TrainingRun) -> dict[str, Any]:
    split = split_rows(run)
    result = result_of(run) if run.is_finished else None
    version = run.model_version
    return {
        **_live(run),
        "settings": described(run),
        "split": split,
        "split_totals": split_totals(split),
        "left_out": [(reason, count) for reason, count in run.left_out.items() if count],
        "active": ModelVersion.objects.active(),
        "made": version if version and version.status != ModelVersion.Status.RETIRED else None,
        **(index_counts(version) if version else {}),
        **(result_context(request, evaluation=result) if result else {}),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("training.change_trainingrun", raise_exception=True)
def run_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    run = get_object_or_404(TrainingRun, pk=pk)
    if request.method != "POST" and not run.is_finished:
        return render(request, "training/run_cancel.html", {"run": run, "epoch_count": run.epochs.count()})
    if request.method == "POST":
        cancel_run(run)
    if run.status not in (JobStatus.CANCELLED, JobStatus.RUNNING):
        messages.info(request, "The run had ended before it could be cancelled.")
    return redirect("run_detail", run.pk)
