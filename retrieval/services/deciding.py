"""What people decide about the findings of a quality check: relabel, exclude, and take that back."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction

from retrieval.models import Dataset, ImageChange, MedicalImage, QualityFinding
from retrieval.services import curation

MOST_CHARACTERS = MedicalImage._meta.get_field("label").max_length or 0
NOTE = "From the data quality page."


class DecisionRefused(Exception):
    """Nothing was changed; the message says why, in words for people."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was done, in words for people, and the primary keys of its ImageChanges."""

    words: str
    changes: list[int]


@transaction.atomic
def decide(*, dataset: Dataset, action: str, ticked: Iterable[str], label: str, user: User) -> Decision:
    """Do `action` to the images whose UUIDs are `ticked`, or to the one that it names itself ("exclude:UUID").

    Actions: exclude; relabel, all as `label`; suggested: relabel each as its neighbours say. Raises DecisionRefused.
    """
    verb, _, alone = action.partition(":")
    images = _shown([alone] if alone else ticked)
    if verb == "exclude":
        changed = curation.exclude(images, user=user, note=NOTE)
        words = f"{_counted(changed)} excluded: no search finds them any more, their files are kept."
    elif verb == "relabel":
        changed = curation.relabel(images, label=_usable(label), user=user, note=NOTE)
        words = _relabelled(changed)
    elif verb == "suggested":
        changed = _relabel_as_suggested(images, dataset=dataset, user=user)
        words = _relabelled(changed)
    else:
        raise DecisionRefused("Nothing was changed: the page asked for something that this site does not know.")
    if not changed:
        raise DecisionRefused("Nothing had to be changed: all of that is so already.")
    return Decision(words=words, changes=_changes_of(changed))


def _shown(uuids: Iterable[str]) -> list[MedicalImage]:
    try:
        wanted = {UUID(uuid) for uuid in uuids}
    except ValueError:
        wanted = set()
    images = list(MedicalImage.objects.shown().filter(uuid__in=wanted))
    if not images:
        raise DecisionRefused("Tick the images first.")
    return images


def _usable(label: str) -> str:
    if not label:
        raise DecisionRefused("Type the label that the ticked images shall have.")
    if len(label) > MOST_CHARACTERS:
        raise DecisionRefused(f"A label has at most {MOST_CHARACTERS} characters.")
    return label


def _counted(images: list[MedicalImage]) -> str:
    return f"{len(images)} image{'s are' if len(images) > 1 else ' is'}"


def _relabelled(images: list[MedicalImage]) -> str:
    return f"{_counted(images)} relabelled as {', '.join(sorted({image.label for image in images}))}."


def _relabel_as_suggested(images: list[MedicalImage], *, dataset: Dataset, user: User) -> list[MedicalImage]:
    # Label by label they would be locked in another order than everybody else's: two could wait for each other.
    rows = MedicalImage.objects.filter(pk__in=[image.pk for image in images])
    list(rows.select_for_update(no_key=True).order_by("pk").values_list("pk"))
    suspects = QualityFinding.objects.filter(
        kind=QualityFinding.Kind.SUSPECT, quality_check__dataset=dataset, image__in=images
    )
    by_label = defaultdict(list)
    for finding in suspects.undecided().select_related("image"):
        by_label[finding.suggested].append(finding.image)
    return [
        image
        for label, those in sorted(by_label.items())
        for image in curation.relabel(those, label=label, user=user, note=NOTE)
    ]


def _changes_of(images: list[MedicalImage]) -> list[int]:
    """The last change of each: it was made in this transaction."""
    last = ImageChange.objects.filter(image__in=images).order_by("image_id", "-pk").distinct("image_id")
    return list(last.values_list("pk", flat=True))


@transaction.atomic
def undo(changes: Iterable[ImageChange], *, user: User) -> list[MedicalImage]:
    """Make the images what they were before; return those that are so now. What was changed again since stays."""
    made = {change.image_id: change for change in changes}
    images = MedicalImage.objects.select_for_update(no_key=True).filter(pk__in=made).order_by("pk")
    by_verb, by_label = defaultdict(list), defaultdict(list)
    for image in images:
        change = made[image.pk]
        if change.field == ImageChange.Field.LABEL and image.label == change.new:
            by_label[change.old].append(image)
        elif change.field == ImageChange.Field.STANDING and image.standing == change.new:
            by_verb[_way_back(change)].append(image)
    undone: list[MedicalImage] = []
    for verb, those in by_verb.items():
        undone += verb(those, user=user, note="Undone.")
    for label, those in sorted(by_label.items()):
        undone += curation.relabel(those, label=label, user=user, note="Undone.")
    return undone


def _way_back(change: ImageChange) -> Callable[..., list[MedicalImage]]:
    """The verb that makes of the image's standing what it was before."""
    if change.new == MedicalImage.Standing.EXCLUDED:
        return curation.restore
    return {
        MedicalImage.Standing.HELD.value: curation.hold,
        MedicalImage.Standing.SHOWN.value: curation.release,
        MedicalImage.Standing.EXCLUDED.value: curation.exclude,
    }[change.old]
