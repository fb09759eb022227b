"""Judging a version with images that the archive has never seen: a folder, searched for in the whole archive."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.utils import timezone

from retrieval.imaging import ArchiveLimits, Decoder, FileRefused, Member, Rendering, in_order, open_source
from retrieval.models import Embedding, MedicalImage, ModelVersion
from retrieval.models.versions import EmbeddingQuerySet
from retrieval.services import jobs
from retrieval.services.importing import DECODERS
from retrieval.storage import work_folder
from training.learning.metrics import RANKS, Neighbours, judge, unknown_classes
from training.models import Evaluation
from training.services.reading import Reader
from training.services.reasons import spoken_reasons

_AT_ONCE = 64
NOTHING_INDEXED = "Version {number} has no embeddings of labelled images: `manage.py index` makes them."
NOTHING_TO_ASK = (
    "There is nothing to ask with in this folder: {refused} of its files are no readable images, {unlabelled} have no "
    "class, {already_in_archive} are in the archive already. The class is the name of the folder that an image lies "
    "in, or stands in a manifest.csv."
)


@dataclass(frozen=True, kw_only=True)
class _Question:
    """`vector` (512,) float32. The features themselves, eight times as long, are not kept."""

    label: str
    vector: np.ndarray
    classified: str


@dataclass(kw_only=True)
class _LeftOut:
    """Files that ask nothing, by reason."""

    refused: int = 0
    unlabelled: int = 0
    already_in_archive: int = 0


def judge_folder(version: ModelVersion, *, folder: Path, progress: jobs.Progress = jobs.silent) -> Evaluation:
    """Ask with every labelled image of a folder or zip archive, and keep the figures. Raises JobFailed."""
    if not _labelled(version).exists():
        raise jobs.JobFailed(NOTHING_INDEXED.format(number=version.number))
    began, left_out = timezone.now(), _LeftOut()
    with spoken_reasons():
        reader = Reader(version)
        questions = list(_questions(folder, reader=reader, left_out=left_out, progress=progress))
    if not questions:
        raise jobs.JobFailed(NOTHING_TO_ASK.format(**vars(left_out)))
    # Now that they are embedded, which may have taken hours: images may have come and gone.
    report = _report(questions, version=version, gallery=_gallery(version), reader=reader)
    report["left_out"] = vars(left_out)
    return Evaluation.objects.create(
        model_version=version, source=_source(folder), report=report, **jobs.done_since(began)
    )


def _source(folder: Path) -> str:
    """The last two parts of its path: folders of several sites may all be called the same."""
    return f"{folder.parent.name}/{folder.name}".strip("/")[-200:]


def _labelled(version: ModelVersion) -> EmbeddingQuerySet:
    return Embedding.objects.of(version).exclude(image__label="")


def _gallery(version: ModelVersion) -> dict[int, str]:
    """{primary key: label} of all images that can be found and have a label."""
    return dict(_labelled(version).values_list("image_id", "image__label"))


def _questions(folder: Path, *, reader: Reader, left_out: _LeftOut, progress: jobs.Progress) -> Iterator[_Question]:
    waiting: list[tuple[str, Rendering]] = []
    for labelled in _renderings(folder, left_out=left_out, progress=progress):
        waiting.append(labelled)
        if len(waiting) == _AT_ONCE:
            yield from _embedded(waiting, reader=reader, left_out=left_out)
            waiting = []
    yield from _embedded(waiting, reader=reader, left_out=left_out)


def _renderings(folder: Path, *, left_out: _LeftOut, progress: jobs.Progress) -> Iterator[tuple[str, Rendering]]:
    """The images with their labels, rendered as an upload is: from a file of several frames the middle one."""
    try:
        with open_source(folder, limits=ArchiveLimits()) as source, work_folder() as place:

            def rendered(decoder: Decoder, member: Member) -> Rendering | None:
                try:
                    with member.fetch(place) as path:
                        return next(iter(decoder.render(path, frames="middle")))
                except FileRefused:
                    return None

            members = [member for member in source.members if member.described.label]
            left_out.unlabelled = len(source.members) - len(members)
            with closing(in_order(rendered, members, workers=DECODERS)) as renderings:
                for done, (member, rendering) in enumerate(zip(members, renderings, strict=True), start=1):
                    progress(done, len(members))
                    if rendering is None:
                        left_out.refused += 1
                    else:
                        yield member.described.label, rendering
    except FileRefused as refused:
        raise jobs.JobFailed(refused.reason) from refused


def _embedded(waiting: list[tuple[str, Rendering]], *, reader: Reader, left_out: _LeftOut) -> Iterator[_Question]:
    hashes = [rendering.pixel_sha256 for _, rendering in waiting]
    known = set(MedicalImage.objects.filter(pixel_sha256__in=hashes).values_list("pixel_sha256", flat=True))
    new = [(label, rendering.preview) for label, rendering in waiting if rendering.pixel_sha256 not in known]
    seen = reader.see([preview for _, preview in new])
    left_out.already_in_archive += len(waiting) - len(new)
    left_out.refused += len(new) - len(seen.rows)
    classified = reader.classified(seen.dense)
    for row, vector, guess in zip(seen.rows, seen.embeddings, classified, strict=True):
        yield _Question(label=new[row][0], vector=vector, classified=guess)


def _report(
    questions: list[_Question], *, version: ModelVersion, gallery: dict[int, str], reader: Reader
) -> dict[str, Any]:
    """Queries whose class the archive does not have are set apart: nothing right could be found for them."""
    numbers = {pk: number for number, pk in enumerate(gallery)}
    labels = list(gallery.values())
    asked = [question.label for question in questions]
    neighbours = _neighbours(questions, version=version, numbers=numbers)
    similarity = np.array([_similarity(question, version=version) for question in questions], dtype=np.float32)
    unknown = unknown_classes(
        query_labels=asked, gallery_labels=labels, similarity=similarity, usual=version.usual_similarity
    )
    known = np.flatnonzero(unknown.is_known)
    predicted, accuracy_by = reader.predictions(
        [question.classified for question in questions],
        asked_labels=[asked[row] for row in known],
        nearest_labels=[labels[number] for number in neighbours.indices[:, 0]],
    )
    judgement = judge(
        query_labels=[asked[row] for row in known],
        gallery_labels=labels,
        neighbours=neighbours.of(known),
        predicted=[predicted[row] for row in known],
    )
    return judgement.to_dict() | {"accuracy_by": accuracy_by, "unlike": unknown.unlike, "unknown": unknown.per_class}


def _similarity(question: _Question, *, version: ModelVersion) -> float:
    """That of the nearest image of all: one without a label is shown to a searcher too, and tells what is like it."""
    nearest = Embedding.objects.of(version).nearest(question.vector)
    distance = nearest.values_list("distance", flat=True).first()  # type: ignore[misc]
    if distance is None:
        raise jobs.JobFailed(NOTHING_INDEXED.format(number=version.number))
    return 1 - distance


def _neighbours(questions: list[_Question], *, version: ModelVersion, numbers: dict[int, int]) -> Neighbours:
    """By the database's own search, as a clinician's question is answered."""
    answers = [_answer(question, version=version, numbers=numbers) for question in questions]
    # Shorter where there are few, or some were taken away since the gallery was read.
    ranks = min(len(answer) for answer in answers)
    if not ranks:
        raise jobs.JobFailed(NOTHING_INDEXED.format(number=version.number))
    return Neighbours(
        np.array([[number for number, _ in answer[:ranks]] for answer in answers], dtype=np.int64),
        np.array([[1 - distance for _, distance in answer[:ranks]] for answer in answers], dtype=np.float32),
    )


def _answer(question: _Question, *, version: ModelVersion, numbers: dict[int, int]) -> list[tuple[int, float]]:
    """(number, distance) of the nearest of the gallery. What came since that was read is passed over."""
    nearest = _labelled(version).nearest(question.vector).values_list("image_id", "distance")
    asked = RANKS
    while True:
        found = list(nearest[:asked])
        known = [(numbers[pk], distance) for pk, distance in found if pk in numbers]
        if len(known) >= RANKS or len(found) < asked:
            return known[:RANKS]
        asked *= 2
