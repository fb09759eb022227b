"""The images of a run: which can be read, and which part each takes. Divided once, kept with the run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.db import transaction

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
    rows = run.split.select_related("image").order_by("image_id")
    for row in rows.iterator(chunk_size=_ROWS_AT_ONCE):
        image = row.image
        parts[row.part].append(RunImage(pk=image.pk, path=Path(image.preview.path), label=image.label))
    return parts


def _divide(run: TrainingRun, *, on_progress: Callable[[int, int], None]) -> None:
    from training.learning.split import SplitImpossible, stratified_split

    everything = MedicalImage.objects.filter(dataset__in=run.datasets.all()).order_by("pk")
    labelled = list(everything.exclude(label=""))
    unlabelled = everything.filter(label="").count()
    unreadable = _unreadable([Path(image.preview.path) for image in labelled], on_progress=on_progress)
    images = [image for number, image in enumerate(labelled) if number not in unreadable]
    try:
        split = stratified_split(
            [image.label for image in images],
            groups=[image.patient_key for image in images],
            seed=run.recipe["seed"],
        )
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
                (SplitImage(run=run, image=images[row], part=part) for row in rows), batch_size=_ROWS_AT_ONCE
            )
        run.classes = sorted({image.label for image in images})
        run.left_out = {"unlabelled": unlabelled, "unreadable": len(unreadable)}
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
        for number, sound in enumerate(pool.map(is_readable, paths)):
            on_progress(number, len(paths))
            if not sound:
                refused.add(number)
    return refused
