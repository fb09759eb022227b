"""Putting a model version into service, and what speaks against it, in sentences for people."""

from django.db.models import QuerySet

from retrieval.models import JobStatus, MedicalImage, ModelVersion
from retrieval.services.indexing import create_index_job
from retrieval.services.versions import activate_model_version, roll_back
from training.models import Evaluation, TrainingRun

# P@20 differs by so much from one seed to the next: less is no reason to hesitate.
TOLERANCE = 0.002


def put_into_service(version: ModelVersion) -> ModelVersion | None:
    """Activate it and return the version before. Raises as activate_model_version does."""
    before = activate_model_version(version)
    _have_rest_embedded(version)
    return before


def go_back() -> ModelVersion:
    """Activate the version before and return it. Raises VersionRefused."""
    version = roll_back()
    _have_rest_embedded(version)
    return version


def _have_rest_embedded(version: ModelVersion) -> None:
    """Imports embed for the active version alone: one that was not lacks what came, or was released, meanwhile."""
    if MedicalImage.objects.without_embedding(version).exists():
        create_index_job(version=version, publish=True)


def objections(version: ModelVersion) -> list[str]:
    """What to think about before `version` answers every search; nothing for the active one."""
    active = ModelVersion.objects.active()
    if version == active:
        return []
    return [*_unfindable(version), *_worse(version, than=active)]


def _unfindable(version: ModelVersion) -> list[str]:
    missing = MedicalImage.objects.without_embedding(version).count()
    if not missing:
        return []
    total = MedicalImage.objects.shown().count()
    return [
        f"{missing} of {total} images have no embedding of version {version.number} yet: no search finds them until "
        "they are indexed, which begins with the activation."
    ]


def _worse(version: ModelVersion, *, than: ModelVersion | None) -> list[str]:
    if than is None:
        return []
    pair = common_evaluations(version, than)
    if pair is None:
        return [f"Versions {version.number} and {than.number} were not compared on the same test images."]
    ours, theirs = (evaluation.report["p_at"]["20"] for evaluation in pair)
    if ours >= theirs - TOLERANCE:
        return []
    known = pair[1].report.get("seen_in_training", 0)
    flattered = f" But version {than.number} has learnt from {known} of them, which flatters it." if known else ""
    return [
        f"Version {version.number} is worse on the same {pair[0].report['queries']} test images: P@20 is {ours:.3f}, "
        f"that of version {than.number} {theirs:.3f}.{flattered}"
    ]


def common_evaluations(one: ModelVersion, other: ModelVersion) -> tuple[Evaluation, Evaluation] | None:
    """The newest pair of finished evaluations on the same test images."""
    shared = TrainingRun.objects.filter(pk__in=_runs(one)).filter(pk__in=_runs(other)).order_by("-pk").first()
    if shared is None:
        return None
    finished = shared.evaluations.filter(status=JobStatus.DONE)
    return finished.filter(model_version=one)[0], finished.filter(model_version=other)[0]


def _runs(version: ModelVersion) -> QuerySet:
    return Evaluation.objects.filter(model_version=version, status=JobStatus.DONE, run__isnull=False).values("run")
