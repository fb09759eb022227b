"""The images of a run: which can be read, and which part each takes. Divided once, kept with the run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from retrieval.models import MedicalImage
from retrieval.services import jobs
from training.models import SplitImage, TrainingRun

if TYPE_CHECKING:
    import numpy as np

    from training.learning.split import Split

_READERS = 2
_ROWS_AT_ONCE = 5000
LINKED = (
    "Images of one study, series or file, or with the same pixels, count as one patient's. If these are different "
    "people, exclude the images that tie them together."
)
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
        _keep_split(run, on_progress=on_progress)
    parts: Parts = {part: [] for part in Part.values}
    rows = run.split.select_related("image").only("part", "label", "image__preview").order_by("image_id")
    for row in rows.iterator(chunk_size=_ROWS_AT_ONCE):
        parts[row.part].append(RunImage(pk=row.image_id, path=Path(row.image.preview.path), label=row.label))
    return parts


class Divided(NamedTuple):
    """Images, and which of them each part takes."""

    images: list[MedicalImage]
    split: Split


def divide(
    images: QuerySet[MedicalImage], *, seed: int, on_progress: Callable[[int, int], None] = jobs.silent
) -> tuple[Divided, dict[str, int]]:
    """Divide what is labelled and can be read, and count what takes no part, by reason. Raises JobFailed."""
    columns = ("patient_key", "study_instance_uid", "series_instance_uid", "original_id", "frame_count", "pixel_sha256")
    labelled = list(images.exclude(label="").only("label", "preview", *columns).order_by("pk"))
    # What cannot be divided is refused before hours are spent on reading it.
    divided = _divided(labelled, seed=seed)
    unreadable = _unreadable([Path(image.preview.path) for image in labelled], on_progress=on_progress)
    if unreadable:
        divided = _divided([each for number, each in enumerate(labelled) if number not in unreadable], seed=seed)
    return divided, {
        "unlabelled": images.filter(label="").count(),
        "unreadable": len(unreadable),
        "duplicate": len(labelled) - len(unreadable) - len(divided.images),
    }


def _divided(images: list[MedicalImage], *, seed: int) -> Divided:
    from training.learning.split import SplitImpossible, stratified_split

    images = _without_shared(images)
    labels = [image.label for image in images]
    try:
        return Divided(images, stratified_split(labels, groups=_groups(images), seed=seed))
    except SplitImpossible as error:
        reason = str(error)
    try:
        stratified_split(labels, groups=[image.patient_key for image in images], seed=seed)
    except SplitImpossible:
        raise jobs.JobFailed(reason) from None
    raise jobs.JobFailed(f"{reason} {LINKED}")


def _without_shared(images: list[MedicalImage]) -> list[MedicalImage]:
    """Without the copies of images that several patients have: the first of each stays.

    Equal pixels link images of whom nobody knows whose they are, a picture that was exported twice. Patients who are
    known to be different they do not link: a black slice in every series would make all patients one group, directly or
    through copies of nobody's. Left in, the same image could be learnt from and asked with.
    """
    from training.learning.split import linked_groups

    owners: dict[str, str] = {}
    shared = set()
    for image, owner in zip(images, linked_groups([_known_keys(image) for image in images]), strict=True):
        if owner and owners.setdefault(image.pixel_sha256, owner) != owner:
            shared.add(image.pixel_sha256)
    firsts = {image.pixel_sha256: image.pk for image in reversed(images)}
    return [each for each in images if each.pixel_sha256 not in shared or firsts[each.pixel_sha256] == each.pk]


def _groups(images: list[MedicalImage]) -> list[str]:
    """Images of one group must not be divided: of one patient, study, series or file, or the same pixels twice."""
    from training.learning.split import linked_groups

    return linked_groups(
        [[f"file {each.original_id}", f"pixels {each.pixel_sha256}", *_known_keys(each)] for each in images]
    )


def _known_keys(image: MedicalImage) -> list[str]:
    """Whose an image is, as far as anybody says so."""
    keys = {
        "patient": image.patient_key,
        "study": image.study_instance_uid,
        "series": image.series_instance_uid,
        "file": str(image.original_id) if image.frame_count > 1 else "",
    }
    return [f"{kind} {key}" for kind, key in keys.items() if key]


def _keep_split(run: TrainingRun, *, on_progress: Callable[[int, int], None]) -> None:
    everything = MedicalImage.objects.shown().filter(dataset__in=run.datasets.all())
    (images, split), left_out = divide(everything, seed=run.recipe["seed"], on_progress=on_progress)
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
        run.left_out = left_out
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
