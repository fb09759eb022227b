"""Checking the quality of a dataset: duplicates, images that stand apart, and labels that the neighbours do not share.

Duplicates are looked for in the whole archive: a copy in another dataset is one. Labels are words of one dataset, so
suspects and outliers are judged within it. NumPy is imported inside the functions: the web process does without.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Window

from retrieval.models import (
    EMBEDDING_DIMENSION,
    Dataset,
    Embedding,
    ImageChange,
    MedicalImage,
    ModelVersion,
    QualityCheck,
    QualityFinding,
)
from retrieval.services import jobs
from retrieval.services.versions import refuse_retired
from retrieval.storage import NO_SPACE, work_folder

if TYPE_CHECKING:
    from retrieval.network.neighbourhoods import Oddities, Outlier, Pair, Suspect

# Of exact duplicates; of the other kinds see retrieval/network/neighbourhoods.py.
MOST_FINDINGS = 1000
ROWS_READ_AT_ONCE = 2000
BEING_DELETED = "This dataset is being deleted: there is nothing left to check."
LOW_DISK = "The disk is full: the check needs 1 KB for each image of the archive while it runs. Free some space."
Kind = QualityFinding.Kind


class CheckRefused(Exception):
    """The dataset cannot be checked; the message says why, in words for people."""


@transaction.atomic
def request_quality_check(*, dataset: Dataset, user: User) -> QualityCheck:
    """Queue a check, or return the one that is under way. Raises CheckRefused."""
    # Neither does a second check begin meanwhile, nor a deletion.
    locked = Dataset.objects.select_for_update().get(pk=dataset.pk)
    if locked.deletion:
        raise CheckRefused(BEING_DELETED)
    check = locked.quality_checks.unfinished().first()
    if check is None:
        check = QualityCheck.objects.create(dataset=locked, asked_by=user)
        jobs.enqueue(check)
    return check


def check_quality(check: QualityCheck, *, progress: jobs.Progress = jobs.silent) -> None:
    """Do the work of a claimed check. Raises JobFailed, JobCancelled."""
    version = ModelVersion.objects.active()
    images = check.dataset.images.shown().count()
    findings = list(_exact_duplicates(check))
    compared = 0
    if version:
        try:
            with work_folder() as folder:
                gallery = _read_gallery(check.dataset, version=version, folder=folder)
                compared = len(gallery.pks)
                findings += _compare(check, gallery=gallery, progress=progress)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            raise jobs.JobFailed(LOW_DISK) from error
        # Its embeddings may have gone while they were read.
        refuse_retired(version)
    _store(check, findings, model_version=version, images=images, compared=compared)


@transaction.atomic
def _store(check: QualityCheck, findings: list[QualityFinding], **facts: object) -> None:
    """The findings, without those about images that were deleted meanwhile, in the place of those of checks before."""
    named = {pk for each in findings for pk in (each.image_id, each.other_id)}
    rows = MedicalImage.objects.select_for_update(no_key=True).filter(pk__in=named).order_by("pk")
    there = set(rows.values_list("pk", flat=True))
    QualityFinding.objects.filter(quality_check__dataset=check.dataset).delete()
    QualityFinding.objects.bulk_create(
        (each for each in findings if {each.image_id, each.other_id} <= there), batch_size=1000
    )
    jobs.finish(check, **facts)


def _exact_duplicates(check: QualityCheck) -> Iterator[QualityFinding]:
    """Each further image with the same pixels beside the first one, but for frames of one series: those may repeat.

    What there is most often comes last: a black slice, of which every series may have one, is no copy of another.
    """
    shown = MedicalImage.objects.shown()
    twins = shown.filter(pixel_sha256=OuterRef("pixel_sha256")).exclude(pk=OuterRef("pk"))
    own = check.dataset.images.shown().filter(Exists(twins)).values("pixel_sha256")
    rank = 0
    times = Window(Count("pk"), partition_by="pixel_sha256")
    rows = shown.filter(pixel_sha256__in=own).annotate(times=times).order_by("times", "pixel_sha256", "pk")
    in_order = rows.iterator(chunk_size=ROWS_READ_AT_ONCE)
    for _, group in groupby(in_order, key=lambda image: image.pixel_sha256):
        first, *others = sorted(group, key=lambda image: (image.dataset_id != check.dataset_id, image.pk))
        for other in others:
            if _series_of(other) == _series_of(first):
                continue
            rank += 1
            yield QualityFinding(
                quality_check=check, kind=Kind.EXACT, rank=rank, image=first, other=other, value=1, label=first.label
            )
            if rank == MOST_FINDINGS:
                return


def _series_of(image: MedicalImage) -> tuple[int, str]:
    return _series(image.dataset_id, series=image.series_instance_uid, original=image.original_id)


def _series(dataset: int, *, series: str, original: int) -> tuple[int, str]:
    """What belongs together in a dataset: the images of a series, or the frames of a file that names none."""
    return dataset, series or str(original)


@dataclass(kw_only=True)
class _Gallery:
    """The embedded images that are shown, those of the dataset first. Their vectors lie in a file, as float16."""

    vectors: Path
    # Of the dataset's images alone.
    labels: list[str] = field(default_factory=list)
    pks: array[int] = field(default_factory=lambda: array("q"))
    series: array[int] = field(default_factory=lambda: array("q"))
    pixels: array[int] = field(default_factory=lambda: array("q"))


def _read_gallery(dataset: Dataset, *, version: ModelVersion, folder: Path) -> _Gallery:
    """In a file a million vectors, a gigabyte, are read block by block, and the system keeps what fits into memory."""
    gallery = _Gallery(vectors=folder / "vectors")
    shown = Embedding.objects.of(version).filter(image__standing=MedicalImage.Standing.SHOWN).order_by("image_id")
    own = shown.filter(image__dataset=dataset)
    with gallery.vectors.open("wb") as file:
        for row in _rows(own):
            _add(row, to=gallery, file=file)
            gallery.labels.append(row.label)
        for row in _rows(shown.exclude(image__dataset=dataset)):
            _add(row, to=gallery, file=file)
    return gallery


class _Row(NamedTuple):
    vector: list[float]
    pk: int
    label: str
    pixels: str
    dataset: int
    series: str
    original: int


def _rows(embeddings: QuerySet) -> Iterator[_Row]:
    of_image = ("label", "pixel_sha256", "dataset_id", "series_instance_uid", "original_id")
    rows = embeddings.values_list("vector", "image_id", *(f"image__{name}" for name in of_image))
    return map(_Row._make, rows.iterator(chunk_size=ROWS_READ_AT_ONCE))


def _add(row: _Row, *, to: _Gallery, file: BinaryIO) -> None:
    file.write(struct.pack(f"<{EMBEDDING_DIMENSION}e", *row.vector))
    to.pks.append(row.pk)
    to.series.append(_number(*_series(row.dataset, series=row.series, original=row.original)))
    to.pixels.append(_number(row.pixels))


def _number(*parts: object) -> int:
    """Equal for equal parts: eight bytes instead of the words, however many images there are."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _compare(check: QualityCheck, *, gallery: _Gallery, progress: jobs.Progress) -> Iterator[QualityFinding]:
    import numpy as np

    from retrieval.network.neighbourhoods import UNLABELLED, Crowd, find_oddities

    own = len(gallery.labels)
    jobs.beat(check, done=0, total=own)
    if not own:
        return
    names = sorted(set(gallery.labels) - {""})
    codes = {name: code for code, name in enumerate(names)} | {"": UNLABELLED}
    crowd = Crowd(
        vectors=np.memmap(gallery.vectors, dtype="<f2", mode="r", shape=(len(gallery.pks), EMBEDDING_DIMENSION)),
        series=np.asarray(gallery.series),
        pixels=np.asarray(gallery.pixels),
        labels=np.array([codes[label] for label in gallery.labels]),
    )

    def on_block(done: int) -> None:
        jobs.stop_if_cancelled(check)
        jobs.beat(check, done=done)
        progress(done, own)

    oddities = find_oddities(crowd, on_block=on_block)
    yield from _findings(check, oddities, gallery=gallery, names=names)


def _findings(
    check: QualityCheck, oddities: Oddities, *, gallery: _Gallery, names: list[str]
) -> Iterator[QualityFinding]:
    valued: dict[QualityFinding.Kind, Sequence[tuple[Pair | Suspect | Outlier, float, str]]] = {
        # Half precision makes some similarities a little more than 1.
        Kind.NEAR: [(pair, min(pair.similarity, 1.0), "") for pair in oddities.pairs],
        Kind.SUSPECT: [(suspect, suspect.share, names[suspect.label]) for suspect in oddities.suspects],
        Kind.OUTLIER: [(outlier, outlier.off, "") for outlier in oddities.outliers],
    }
    for kind, found in valued.items():
        for rank, (oddity, value, suggested) in enumerate(found, start=1):
            yield QualityFinding(
                quality_check=check,
                kind=kind,
                rank=rank,
                image_id=gallery.pks[oddity.image],
                other_id=gallery.pks[oddity.other],
                value=value,
                label=gallery.labels[oddity.image],
                suggested=suggested,
            )


@dataclass(frozen=True, kw_only=True)
class News:
    """What has happened since a check."""

    other_version: ModelVersion | None
    came: int
    embedded: int
    changed: int

    def __bool__(self) -> bool:
        return bool(self.other_version or self.came or self.embedded or self.changed)


def news_since(check: QualityCheck) -> News:
    version = ModelVersion.objects.active()
    shown = check.dataset.images.shown()
    is_same = version is None or version.pk == check.model_version_id
    embedded = shown.filter(embeddings__model_version=version).count() if version and is_same else 0
    changes = ImageChange.objects.filter(image__dataset=check.dataset, changed_at__gt=check.started_at)
    return News(
        other_version=None if is_same else version,
        came=shown.filter(created_at__gt=check.started_at).count(),
        embedded=max(0, embedded - (check.total or 0)),
        changed=changes.values("image").distinct().count(),
    )
