"""Putting a model version into service, and what speaks against it, in sentences for people."""

from django.db import transaction

from retrieval.models import MedicalImage, ModelVersion
from retrieval.services.indexing import have_missing_embedded
from retrieval.services.switching import activate_model_version, retire_model_version, roll_back
from retrieval.services.versions import VersionRefused
from training.models import Evaluation, TrainingRun
from training.results import comparable
from training.services.starting import VERSION

# P@20 differs by so much from one seed to the next: less is no reason to hesitate.
TOLERANCE = 0.002
# Names of classes in a sentence.
NAMED = 5


def put_into_service(version: ModelVersion, *, agreed: str | None = None) -> ModelVersion | None:
    """Activate it and return the version before. Raises as activate_model_version does.

    Imports embed for the active version alone: one that was not lacks what came, or was released, meanwhile. To embed
    this is planned in the same step, or nobody would.
    """
    with transaction.atomic():
        before = activate_model_version(version, agreed=agreed)
        have_missing_embedded(version)
    # An import that ended meanwhile has taken the version before for the active one.
    have_missing_embedded(version)
    return before


def go_back(*, agreed: tuple[str, str]) -> ModelVersion:
    """Activate the version before and return it. Raises as roll_back does."""
    with transaction.atomic():
        version = roll_back(agreed=agreed)
        have_missing_embedded(version)
    have_missing_embedded(version)
    return version


class VersionNeeded(VersionRefused):
    def __init__(self, version: ModelVersion, *, run: TrainingRun) -> None:
        super().__init__(
            f"Training run {run.pk} goes on from model version {version.number}, and needs it until it has ended. Wait "
            "for it, or cancel it."
        )


def give_up(version: ModelVersion) -> None:
    """Retire it. Raises as retire_model_version does, and VersionNeeded for one that an unfinished run begins with."""
    run = TrainingRun.objects.unfinished().filter(weights=f"{VERSION}{version.number}").first()
    if run:
        raise VersionNeeded(version, run=run)
    retire_model_version(version)


def objections(version: ModelVersion) -> list[str]:
    """What to think about before `version` answers every search; nothing for the active one."""
    if version == ModelVersion.objects.active():
        return []
    return [*_unindexed(version), *_lost(version), *worse_answers(version)]


def worse_answers(version: ModelVersion) -> list[str]:
    """In what the version is behind the active one, as far as it is known."""
    active = ModelVersion.objects.active()
    if active is None:
        return []
    return [*_unlearnt(version, beside=active), *_worse(version, than=active)]


def _unindexed(version: ModelVersion) -> list[str]:
    missing = MedicalImage.objects.untried(version).count()
    if not missing:
        return []
    total = MedicalImage.objects.shown().count()
    return [
        f"{missing} of {total} images have no embedding of version {version.number} yet: no search finds them until "
        "they are indexed, which begins with the activation."
    ]


def _lost(version: ModelVersion) -> list[str]:
    """What cannot be embedded at all is found by neither version: no reason to stay with the active one."""
    active = ModelVersion.objects.active()
    lost = MedicalImage.objects.in_vain(version).filter(embeddings__model_version=active).count() if active else 0
    if active is None or not lost:
        return []
    return [
        f"{lost} of the images that version {active.number} finds cannot be embedded by version {version.number}: no "
        f"search finds them then. `manage.py index --model-version {version.number}` says why, and tries them again."
    ]


def _unlearnt(version: ModelVersion, *, beside: ModelVersion) -> list[str]:
    """An untrained version has learnt no class at all, and says so itself."""
    if not version.classes:
        return []
    missing = sorted(set(beside.classes) - set(version.classes))
    if not missing:
        return []
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return [
        f"Version {version.number} was not trained on {len(missing)} of the {len(beside.classes)} classes that version "
        f"{beside.number} has learnt: {', '.join(missing[:NAMED])}{more}."
    ]


def _worse(version: ModelVersion, *, than: ModelVersion) -> list[str]:
    pairs = list(comparable(version, than))
    if not pairs:
        return [f"Versions {version.number} and {than.number} were not compared on the same test images."]
    return [sentence for ours, theirs in pairs if (sentence := _said_of(ours, theirs))]


def _said_of(ours: Evaluation, theirs: Evaluation) -> str:
    """How much worse `ours` is, on the same test images; "" where it is not."""
    own, other = (evaluation.report["p_at"]["20"] for evaluation in (ours, theirs))
    if own >= other - TOLERANCE:
        return ""
    number, known = theirs.model_version.number, theirs.report.get("seen_in_training", 0)
    learnt = f" But version {number} has learnt from {known} of them, or from others of their patients"
    flattered = f"{learnt}, which flatters it." if known else ""
    return (
        f"Version {ours.model_version.number} is worse on the same {ours.report['queries']} test images (run "
        f"{ours.run_id}): P@20 is {own:.3f}, that of version {number} {other:.3f}.{flattered}"
    )
