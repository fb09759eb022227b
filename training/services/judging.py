"""Judging a model version on the test part of a run: every test image asks, all others of the run are the gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from retrieval.models import JobStatus, MedicalImage, ModelVersion
from retrieval.services import jobs
from retrieval.services.sampling import sample
from retrieval.services.versions import refuse_retired
from training.models import EvaluatedImage, Evaluation, SplitImage, TrainingRun
from training.services.images import Parts, RunImage, images_of
from training.services.reasons import IMAGE_GONE, spoken_reasons
from training.services.starting import VERSION
from training.services.watching import Watch

if TYPE_CHECKING:
    from training.services.reading import Answers

Part = SplitImage.Part
# Of more images than these a sample is judged: time and memory stay bounded, and the report says of how many.
MOST_QUERIES = 5_000
MOST_GALLERY = 50_000
# What is known of a version wherever it is named; the whole report is that of its evaluation.
SUMMARY = ("queries", "gallery", "accuracy", "accuracy_by", "p_at", "map_at_20", "usual_similarity")


def request_evaluation(*, version: ModelVersion, run: TrainingRun) -> Evaluation:
    """Have the trainer judge a version on a run's test images; what is asked for already is not asked for again, unless
    images of the run were deleted since.

    Raises VersionRetired.
    """
    refuse_retired(version)
    with transaction.atomic():
        # Two presses make one evaluation.
        TrainingRun.objects.select_for_update().get(pk=run.pk)
        given_up = (JobStatus.FAILED, JobStatus.CANCELLED)
        asked_for = run.evaluations.filter(model_version=version).exclude(status__in=given_up)
        evaluation = next((each for each in asked_for if not each.is_outdated), None)
        if evaluation is None:
            evaluation = Evaluation.objects.create(model_version=version, run=run)
            jobs.enqueue(evaluation)
    return evaluation


def evaluate_version(evaluation: Evaluation, *, progress: jobs.Progress = jobs.silent) -> None:
    """Do the work of a claimed evaluation. Raises JobFailed, JobCancelled."""
    if evaluation.run is None:
        raise jobs.JobFailed("Images from a folder are judged by `manage.py evaluate --queries FOLDER`.")
    if not evaluation.run.split.exists():
        raise jobs.JobFailed("The images of this run are no longer there.")
    watch = Watch(evaluation, progress=progress)
    with spoken_reasons():
        parts = images_of(evaluation.run, on_progress=watch)
        answers = _answers(evaluation.model_version, parts=parts, watch=watch)
    with transaction.atomic():
        _refuse_gone(evaluation.run, answers=answers)
        _add_images(evaluation, answers=answers)
        jobs.finish(evaluation, report=answers.report)
        if evaluation.run.model_version == evaluation.model_version:
            keep_figures(evaluation.model_version, report=answers.report)


def judge_in_run(run: TrainingRun, *, version: ModelVersion, parts: Parts, watch: Watch) -> Evaluation:
    """Judge a version as a part of the run itself, unless an attempt before this one has done so."""
    done = run.evaluations.filter(model_version=version, status=JobStatus.DONE).first()
    if done:
        return done
    began = timezone.now()
    answers = _answers(version, parts=parts, watch=watch)
    with transaction.atomic():
        evaluation = Evaluation.objects.create(
            model_version=version, run=run, report=answers.report, **jobs.done_since(began)
        )
        _add_images(evaluation, answers=answers)
    return evaluation


def keep_figures(version: ModelVersion, *, report: dict[str, Any]) -> None:
    """The version's figures are those of the test images of the run that made it."""
    # A judgement from before an update lacks what came with it.
    version.metrics = {name: report.get(name) for name in SUMMARY}
    version.save(update_fields=["metrics"])


def _answers(version: ModelVersion, *, parts: Parts, watch: Watch) -> Answers:
    from training.services.reading import Reader, answers

    tested, others = parts[Part.TEST], parts[Part.TRAINING] + parts[Part.VALIDATION]
    queries, gallery = sample(tested, most=MOST_QUERIES), sample(others, most=MOST_GALLERY)
    total = len(queries) + len(gallery)
    reader = Reader(version)
    asked = reader.read(queries, on_progress=lambda done: watch(done, total))
    kept = reader.read(gallery, on_progress=lambda done: watch(len(queries) + done, total))
    found = answers(reader, asked=asked, kept=kept)
    found.report["run_images"] = len(tested) + len(others)
    if total < len(tested) + len(others):
        found.report["sampled_from"] = {"queries": len(tested), "gallery": len(others)}
    found.report["seen_in_training"] = _seen(version, images=queries)
    return found


def _seen(version: ModelVersion, *, images: list[RunImage]) -> int:
    """How many of the images the version has learnt from, itself or through what it was trained further from.

    The same pixels in another dataset count, and so do other images of the same patient where the patient is known.
    """
    learnt = SplitImage.objects.filter(run__in=_teachers(version)).exclude(part=Part.TEST)
    asked = MedicalImage.objects.order_by().filter(pk__in=[image.pk for image in images])
    # One query for each key: the database joins by a hash, which it does not where either key may fit.
    same_pixels, same_patient = (
        asked.exclude(**{key: ""}).filter(**{f"{key}__in": learnt.values(f"image__{key}")}).values("pk")
        for key in ("pixel_sha256", "patient_key")
    )
    return same_pixels.union(same_patient).count()


def _teachers(version: ModelVersion) -> list[int]:
    """The runs whose images are in the version's weights."""
    runs: list[int] = []
    run = TrainingRun.objects.filter(model_version=version).first()
    while run and run.pk not in runs:
        runs.append(run.pk)
        number = run.weights.removeprefix(VERSION) if run.weights.startswith(VERSION) else ""
        run = TrainingRun.objects.filter(model_version__number=number).first() if number.isdigit() else None
    return runs


def _refuse_gone(run: TrainingRun, *, answers: Answers) -> None:
    """Raise JobFailed where images were deleted since it began: nobody knows which of them were read before.

    No dataset of an unfinished run is deleted, but its images are judged again long after.
    """
    asked = [values["image_id"] for values in answers.images]
    # A deletion that is at them now waits, and takes along what is stored here.
    list(MedicalImage.objects.select_for_update(no_key=True).filter(pk__in=asked).order_by("pk").values_list("pk"))
    if run.split.count() < answers.report["run_images"]:
        raise jobs.JobFailed(IMAGE_GONE)


def _add_images(evaluation: Evaluation, *, answers: Answers) -> None:
    # An attempt before this one may have been interrupted.
    evaluation.images.all().delete()
    EvaluatedImage.objects.bulk_create(
        (EvaluatedImage(evaluation=evaluation, **values) for values in answers.images), batch_size=1000
    )
