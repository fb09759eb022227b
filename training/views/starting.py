"""The form that starts a training run."""

from typing import cast

from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from retrieval.views.numbers import number_in
from training.forms import RECIPE_WORDS, StartForm, initial_from
from training.learning.recipe import DEFAULT_RECIPE, RECIPES
from training.models import TrainingRun
from training.services.starting import RunRefused, start_run


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("training.add_trainingrun", raise_exception=True)
def run_start(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _page(
            request, form=StartForm(initial=_initial(request)), recipe=request.GET.get("recipe", DEFAULT_RECIPE)
        )
    if request.POST.get("recipe") in RECIPES:
        return _with_recipe(request, name=request.POST["recipe"])
    form = StartForm(request.POST)
    if not form.is_valid():
        return _page(request, form=form, status=400)
    try:
        run = start_run(
            datasets=form.cleaned_data["datasets"],
            recipe=form.recipe(),
            weights=form.cleaned_data["weights"],
            caffe_preprocessing=form.cleaned_data["caffe_preprocessing"],
            user=cast(User, request.user),
        )
    except RunRefused as refused:
        form.add_error(None, str(refused))
        return _page(request, form=form, status=409)
    return redirect("run_detail", run.pk)


def _with_recipe(request: HttpRequest, *, name: str) -> HttpResponse:
    """The form once more, with another recipe and what had been chosen beside it."""
    kept = {field: request.POST.get(field, "") for field in StartForm.beside_recipe}
    form = StartForm(initial={**RECIPES[name], **kept, "datasets": _numbers(request.POST.getlist("datasets"))})
    return _page(request, form=form, recipe=name)


def _page(request: HttpRequest, *, form: StartForm, recipe: str = "", status: int = 200) -> HttpResponse:
    chosen = "" if "run" in request.GET and request.method != "POST" else recipe
    recipes = [(name, words, name == chosen) for name, words in RECIPE_WORDS.items()]
    context = {"form": form, "recipes": recipes, "unfinished": TrainingRun.objects.unfinished().first()}
    return render(request, "training/start.html", context, status=status)


def _initial(request: HttpRequest) -> dict[str, object]:
    """?run=PK: as that run was started. Otherwise ?recipe=NAME and ?dataset=PK, as often as there are datasets."""
    number = number_in(request.GET.get("run", ""))
    if number is not None:
        return initial_from(get_object_or_404(TrainingRun, pk=number))
    recipe = RECIPES.get(request.GET.get("recipe", DEFAULT_RECIPE), {})
    return {**recipe, "datasets": _numbers(request.GET.getlist("dataset"))}


def _numbers(values: list[str]) -> list[str]:
    return [value for value in values if value.isdecimal()]
