"""The images of a run: which can be read, and which part each takes. Divided once, kept with the run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import QuerySet

from retrieval.models import MedicalImage
from retrieval.services.jobs import JobFailed
from training.models import SplitImage, TrainingRun

if TYPE_CHECKING:
    import numpy as np

_READERS = 2
_ROWS_AT_ONCE = 5000
Part = SplitImage.Part


@dataclass(frozen=True, kw_only=True)
class RunImage:
    pk: int
    path: Path
    label: str


Parts = dict[str, list[RunImage]]


def images_of(run: TrainingRun, *, on_progress: Callable[[int, int], None]) -> Parts:
    """The images of each part, divided now if they were not before. Raises JobFailed."""
    if not run.split.exists():
        _divide(run, on_progress=on_progress)
    parts: Parts = {part: [] for part in Part.values}
    rows = run.split.select_related("image").only("part", "label", "image__preview").order_by("image_id")
    for row in rows.iterator(chunk_size=_ROWS_AT_ONCE):
        parts[row.part].append(RunImage(pk=row.image_id, path=Path(row.image.preview.path), label=row.label))
    return parts


def sample(images: list[RunImage], *, most: int) -> list[RunImage]:
    """At most so many of them, evenly spread, since images that were imported together resemble each other."""
    if len(images) <= most:
        return images
    return [images[number * len(images) // most] for number in range(most)]


def readable_images(
    images: QuerySet[MedicalImage], *, on_progress: Callable[[int, int], None]
) -> tuple[list[MedicalImage], int]:
    """The labelled ones whose previews can be read, and how many cannot."""
    columns = ("label", "preview", "patient_key", "study_instance_uid", "original_id", "pixel_sha256")
    labelled = list(images.exclude(label="").only(*columns).order_by("pk"))
    unreadable = _unreadable([Path(image.preview.path) for image in labelled], on_progress=on_progress)
    return [image for number, image in enumerate(labelled) if number not in unreadable], len(unreadable)


def groups_of(images: list[MedicalImage]) -> list[str]:
    """Images of one group must not be divided: one patient, one study, frames of one file, the same pixels twice."""
    from training.learning.split import linked_groups

    return linked_groups([_keys(image) for image in images])


def _keys(image: MedicalImage) -> list[str]:
    keys = [f"file {image.original_id}", f"pixels {image.pixel_sha256}"]
    keys += [f"patient {image.patient_key}"] if image.patient_key else []
    return keys + ([f"study {image.study_instance_uid}"] if image.study_instance_uid else [])


def _divide(run: TrainingRun, *, on_progress: Callable[[int, int], None]) -> None:
    from training.learning.split import SplitImpossible, stratified_split

    everything = MedicalImage.objects.shown().filter(dataset__in=run.datasets.all())
    images, unreadable = readable_images(everything, on_progress=on_progress)
    try:
        split = stratified_split([image.label for image in images], groups=groups_of(images), seed=run.recipe["seed"])
    except SplitImpossible as error:
        raise JobFailed(str(error)) from error
    numbers: dict[str, np.ndarray] = {
        Part.TRAINING: split.train,
        Part.VALIDATION: split.validation,
        Part.TEST: split.test,
    }
    with transaction.atomic():
        for part, rows in numbers.items():
            SplitImage.objects.bulk_create(
                (SplitImage(run=run, image=images[row], part=part, label=images[row].label) for row in rows),
                batch_size=_ROWS_AT_ONCE,
            )
        run.classes = sorted({image.label for image in images})
        run.left_out = {"unlabelled": everything.filter(label="").count(), "unreadable": unreadable}
        run.save(update_fields=["classes", "left_out"])


def _unreadable(paths: list[Path], *, on_progress: Callable[[int, int], None]) -> set[int]:
    """The numbers of the previews that are missing or damaged: found before the training, not in the middle of it."""
    from retrieval.network.errors import PreviewUnreadable
    from retrieval.network.preprocessing import load_image

    def is_readable(path: Path) -> bool:
        try:
            load_image(path)
        except PreviewUnreadable:
            return False
        return True

    refused = set()
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(paths), _ROWS_AT_ONCE):
            chunk = paths[start : start + _ROWS_AT_ONCE]
            for number, sound in enumerate(pool.map(is_readable, chunk), start=start):
                on_progress(number, len(paths))
                if not sound:
                    refused.add(number)
    return refused
