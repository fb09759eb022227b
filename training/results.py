"""What the pages read of runs and evaluations. Reports are the JSON that a trainer has written."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from retrieval.models import JobStatus, MedicalImage, ModelVersion
from training.models import EvaluatedImage, Evaluation, SplitImage, TrainingRun

# Shades of the confusion matrix, from 1; 0 is an empty cell.
SHADES = 9
CLASS_SORTS = {
    "label": "label",
    "queries": "queries",
    "accuracy": "accuracy",
    "p": "p_at_20",
    "map": "map_at_20",
}
HARDEST_FIRST = "p"


def newest_figures() -> dict[int, dict[str, Any]]:
    """{primary key of a version: its figures}: on the test images of the run that made it, else on those of the run
    that made the active version, so that the two can be compared, else on those of the newest run."""
    finished = Evaluation.objects.filter(status=JobStatus.DONE, run__isnull=False)
    rows = finished.annotate(
        # A run that made no version is neither, where SQL says NULL, which comes last of all.
        is_own=Coalesce(Q(run__model_version=F("model_version")), Value(value=False)),
        is_of_active=Coalesce(Q(run__model_version__status=ModelVersion.Status.ACTIVE), Value(value=False)),
    ).order_by("is_own", "is_of_active", "pk")
    figures = rows.values(
        "model_version_id",
        "run_id",
        "is_own",
        accuracy=F("report__accuracy"),
        accuracy_by=F("report__accuracy_by"),
        p_at_20=F("report__p_at__20"),
        map_at_20=F("report__map_at_20"),
    )
    return {row["model_version_id"]: dict(row) for row in figures}


def index_counts(version: ModelVersion) -> dict[str, int]:
    """How many images there are, how many the version has embedded, has yet to try, and has tried in vain."""
    images = MedicalImage.objects.all()
    return {
        "image_count": images.shown().count(),
        "indexed_count": version.embeddings.count(),
        "untried_count": images.untried(version).count(),
        "in_vain_count": images.in_vain(version).count(),
    }


def result_of(run: TrainingRun) -> Evaluation | None:
    """How good the version is that the run made, on the run's own test images."""
    return evaluation_of(run.model_version, run=run) if run.model_version else None


def evaluation_of(version: ModelVersion, *, run: TrainingRun) -> Evaluation | None:
    finished = run.evaluations.filter(model_version=version, status=JobStatus.DONE)
    return finished.select_related("model_version", "run").first()


def comparable(
    one: ModelVersion, other: ModelVersion, *, run: TrainingRun | None = None
) -> Iterator[tuple[Evaluation, Evaluation]]:
    """Finished evaluations of both on the same images, the newest pair of each run, or of one; newest run first.

    The same are as many of the run, as many that could be read, since a preview may have been missing for a time, and
    the same that asked: each version leaves out what it sees nothing in. Those in the gallery are counted only.
    """
    finished = Evaluation.objects.filter(status=JobStatus.DONE, run__isnull=False).order_by("run_id", "pk")
    finished = (finished.filter(run=run) if run else finished).select_related("model_version", "run")
    theirs = {_judged_on(each): each for each in finished.filter(model_version=other)}
    pairs = ((each, theirs.get(_judged_on(each))) for each in finished.filter(model_version=one))
    newest = {each.run_id: (each, their) for each, their in pairs if their and _asked(each) == _asked(their)}
    yield from reversed(newest.values())


def _judged_on(evaluation: Evaluation) -> tuple[int | None, ...]:
    """What evaluations on the same images have in common."""
    report = evaluation.report
    return evaluation.run_id, evaluation.image_count, report["queries"], report["gallery"]


def _asked(evaluation: Evaluation) -> set[int]:
    """Primary keys of its test images."""
    return set(evaluation.images.order_by().values_list("image_id", flat=True))


def from_elsewhere(version: ModelVersion) -> list[Evaluation]:
    """The newest finished evaluation of each folder of images that the archive has never seen."""
    rows = version.evaluations.filter(status=JobStatus.DONE, run__isnull=True).order_by("source", "-pk")
    return list(rows.distinct("source"))


def class_rows(report: dict[str, Any], *, sort: str) -> list[dict[str, Any]]:
    """One row a class, in the order of a column of CLASS_SORTS, falling after a minus; without a figure comes last."""
    rows = [
        {"label": label, "taken_for": _mistaken(report, label=label), **own}
        for label, own in report["per_class"].items()
    ]
    column = CLASS_SORTS.get(sort.removeprefix("-"), CLASS_SORTS[HARDEST_FIRST])
    known = [row for row in rows if row[column] is not None]
    unknown = [row for row in rows if row[column] is None]
    return sorted(known, key=lambda row: row[column], reverse=sort.startswith("-")) + unknown


def _mistaken(report: dict[str, Any], *, label: str) -> tuple[str, int] | None:
    """The class that images of this one were taken for most often, and how often."""
    labels = report["confusion_matrix"]["labels"]
    counts = report["confusion_matrix"]["counts"][labels.index(label)]
    others = [(other, count) for other, count in zip(labels, counts, strict=True) if other != label and count]
    return max(others, key=lambda pair: pair[1], default=None)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """How many images of a class were taken for another, and which part of the class they are."""

    predicted: str
    count: int
    rate: float
    shade: int
    is_hit: bool


def confusion_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a true class: its label, its total and one Cell for each predicted class."""
    labels, rows = report["confusion_matrix"]["labels"], report["confusion_matrix"]["counts"]
    return [
        {"label": label, "total": sum(counts), "cells": _cells(labels, counts=counts, label=label)}
        for label, counts in zip(labels, rows, strict=True)
    ]


def _cells(labels: Sequence[str], *, counts: Sequence[int], label: str) -> list[Cell]:
    total = sum(counts) or 1
    return [
        Cell(
            predicted=predicted,
            count=count,
            rate=count / total,
            shade=min(SHADES, 1 + SHADES * count // total) if count else 0,
            is_hit=predicted == label,
        )
        for predicted, count in zip(labels, counts, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A test image beside its nearest neighbours, None where one was deleted since or is not shown any more."""

    asked: EvaluatedImage
    image: MedicalImage
    neighbours: list[MedicalImage | None]


def strips(images: Iterable[EvaluatedImage], *, user: User | AnonymousUser, most: int) -> list[Strip]:
    """One strip for each image that `user` may see, with its `most` nearest neighbours."""
    asked = list(images)
    wanted = {pk for each in asked for pk in (each.image_id, *each.neighbours[:most])}
    found = MedicalImage.objects.visible_to(user).in_bulk(wanted)
    return [
        Strip(asked=each, image=found[each.image_id], neighbours=[found.get(pk) for pk in each.neighbours[:most]])
        for each in asked
        if each.image_id in found
    ]


def split_rows(run: TrainingRun) -> list[dict[str, Any]]:
    """One row a class: how many of its images take which part."""
    parts = {part: Count("pk", filter=Q(part=part)) for part in SplitImage.Part.values}
    rows: QuerySet = run.split.order_by().values("label").annotate(**parts, total=Count("pk"))
    return list(rows.order_by("label"))


def split_totals(rows: list[dict[str, Any]]) -> dict[str, int]:
    """The sums of split_rows."""
    return {name: sum(row[name] for row in rows) for name in (*SplitImage.Part.values, "total")}


def figure_differences(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a headline figure of two reports on the same images: its name, before, after, and the change."""
    by = (before.get("accuracy_by"), after.get("accuracy_by"))
    # What a classifier says and what the nearest neighbour has are no two values of one figure.
    accuracy = {"Accuracy": "accuracy"} if by[0] == by[1] else {}
    names = {**accuracy, **{f"P@{k}": k for k in after["p_at"]}, "mAP@20": "map_at_20"}
    return [
        {
            "name": name,
            "is_share": key == "accuracy",
            "before": _figure(before, key),
            "after": _figure(after, key),
            "change": _change(_figure(before, key), _figure(after, key)),
        }
        for name, key in names.items()
    ]


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _figure(report: dict[str, Any], key: str) -> float | None:
    return report["p_at"][key] if key in report["p_at"] else report[key]


def class_differences(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a class of two reports on the same images, what got worse first: P@20 before, after, and the change."""
    rows = [
        {
            "label": label,
            "queries": own["queries"],
            "before": own["p_at_20"],
            "after": after["per_class"][label]["p_at_20"],
            "change": after["per_class"][label]["p_at_20"] - own["p_at_20"],
        }
        for label, own in before["per_class"].items()
        if label in after["per_class"]
    ]
    return sorted(rows, key=lambda row: row["change"])


def image_differences(before: Evaluation, after: Evaluation) -> QuerySet:
    """The test images as `before` answered them, with what `after` says: `now_predicted`, `now_p_at_20`, `change`."""
    now = after.images.filter(image=OuterRef("image"))
    return (
        before.images.annotate(
            now_predicted=Subquery(now.values("predicted")), now_p_at_20=Subquery(now.values("p_at_20"))
        )
        .filter(now_p_at_20__isnull=False, image__standing=MedicalImage.Standing.SHOWN)
        .annotate(change=F("now_p_at_20") - F("p_at_20"))
        .select_related("image")
    )
