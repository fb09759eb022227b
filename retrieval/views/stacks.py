"""What is walked through together, for pages: a tile for each stack, and where an image stands in its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Count, Q
from django.http import Http404

from retrieval.models import MedicalImage

# Of the other series of a study or patient; how many there are is said beside them.
TILES_SHOWN = 60


@dataclass(frozen=True)
class Tile:
    """A stack, by its middle image: the first and the last of a series often show nothing."""

    image: MedicalImage
    size: int


def tiles(stacks: Iterable[dict[str, Any]]) -> list[Tile]:
    rows = list(stacks)
    images = MedicalImage.objects.select_related("dataset").in_bulk([row["middle"] for row in rows])
    return [Tile(image=images[row["middle"]], size=row["size"]) for row in rows if row["middle"] in images]


@dataclass(frozen=True, kw_only=True)
class Walk:
    """The stack that an image is in, and where the image stands in it, counted from 1."""

    slices: list[MedicalImage]
    place: int

    @property
    def size(self) -> int:
        return len(self.slices)

    @property
    def previous(self) -> MedicalImage | None:
        return self.slices[self.place - 2] if self.place > 1 else None

    @property
    def next(self) -> MedicalImage | None:
        return self.slices[self.place] if self.place < self.size else None


def walk_of(image: MedicalImage, *, user: User | AnonymousUser) -> Walk:
    """Through what `user` may see. The image itself may be one that waits to be looked at.

    Raises Http404 where it went a moment ago.
    """
    stack = MedicalImage.objects.open_to(user).in_stack_of(image)
    slices = list(stack.filter(Q(standing=MedicalImage.Standing.SHOWN) | Q(pk=image.pk)).only("uuid", "label"))
    if image not in slices:
        raise Http404
    return Walk(slices=slices, place=slices.index(image) + 1)


@dataclass(frozen=True, kw_only=True)
class Related:
    """Other series of the image's study, and those of other studies of its patient; the counts are of all there are."""

    series: list[Tile]
    series_count: int
    elsewhere: list[Tile]
    study_count: int


def related_to(image: MedicalImage, *, user: User | AnonymousUser) -> Related:
    visible = MedicalImage.objects.visible_to(user)
    series = visible.elsewhere_in_study_of(image).stacks()
    others = visible.in_other_studies_of_patient_of(image)
    return Related(
        series=tiles(series[:TILES_SHOWN]),
        series_count=series.count(),
        elsewhere=tiles(others.stacks()[:TILES_SHOWN]),
        study_count=others.aggregate(count=Count("study_instance_uid", distinct=True))["count"],
    )


def places(images: Iterable[MedicalImage], *, user: User | AnonymousUser) -> dict[int, str]:
    """By primary key: "slice 12 of 24", for those of the images that are not alone in their stacks."""
    by_pk = {image.pk: image for image in images if image.series_instance_uid or image.frame_count > 1}
    if not by_pk:
        return {}
    return {
        pk: f"{by_pk[pk].part} {place} of {len(stack)}"
        for stack in MedicalImage.objects.visible_to(user).stacks_of(by_pk.values())
        if len(stack) > 1
        for place, pk in enumerate(stack, start=1)
        if pk in by_pk
    }
