"""What a model version says of images: their embeddings, their classes, and from these an answer to each query.

Imports NumPy and PyTorch: only trainers and commands import this module, and late.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.models import ModelVersion
from retrieval.network.embedder import Embedder
from retrieval.network.errors import NetworkError
from retrieval.network.projection import l2_normalised
from retrieval.network.version_file import load_version
from retrieval.services.jobs import JobFailed
from retrieval.services.versions import refuse_retired
from training.learning.judging import compute_features, predicted_classes
from training.learning.metrics import Judgement, Neighbours, judge, nearest, usual_similarity
from training.services.images import RunImage

NOTHING_SEEN = "The network sees nothing in the test images, or none of the images are there any more."
BY_CLASSIFIER, BY_NEIGHBOUR = "classifier", "nearest neighbour"
# Previews whose features are in memory at once.
_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class Answers:
    """`report` is JSON; `images` are the values of one EvaluatedImage for each query."""

    report: dict[str, Any]
    images: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Previews as a version sees them: those that it could read, in order, `rows` (n,) their numbers.

    `dense` (n, dense_width) float32 are the features that its head reads.
    """

    rows: np.ndarray
    dense: np.ndarray
    embeddings: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Read:
    """Images of a run as a version sees them."""

    images: list[RunImage]
    seen: Seen

    @property
    def labels(self) -> list[str]:
        return [image.label for image in self.images]


class Reader:
    """A version, loaded for judging. Raises JobFailed when its file is missing or damaged, or it is retired."""

    def __init__(self, version: ModelVersion) -> None:
        refuse_retired(version)
        try:
            self._loaded = load_version(Path(version.weights.path))
        except (NetworkError, OSError, ValueError) as error:
            raise JobFailed(f"The weights file of model version {version.number} is missing or damaged.") from error
        self._embedder = Embedder.of(self._loaded)
        self.classes = self._loaded.classes

    def read(self, images: list[RunImage], *, on_progress: Callable[[int], None]) -> Read:
        seen = self.see([image.path for image in images], on_progress=on_progress)
        return Read(images=[images[row] for row in seen.rows], seen=seen)

    def see(self, previews: Sequence[bytes | Path], *, on_progress: Callable[[int], None] = lambda _: None) -> Seen:
        # A part at a time: of the local features, which are as many as the dense ones, only the embeddings are kept.
        parts = [
            self._part(previews[start : start + _AT_ONCE], start=start, on_progress=on_progress)
            for start in range(0, max(1, len(previews)), _AT_ONCE)
        ]
        return Seen(
            rows=np.concatenate([part.rows for part in parts]),
            dense=np.concatenate([part.dense for part in parts]),
            embeddings=np.concatenate([part.embeddings for part in parts]),
        )

    def _part(self, previews: Sequence[bytes | Path], *, start: int, on_progress: Callable[[int], None]) -> Seen:
        features = compute_features(self._embedder, previews, on_progress=lambda done: on_progress(start + done))
        return Seen(
            rows=features.rows + start,
            # A copy: a slice would keep the whole.
            dense=features.raw[:, : self._embedder.dense_width].copy(),
            embeddings=self._embedder.project(features.raw),
        )

    def classified(self, dense: np.ndarray) -> list[str]:
        """The class that the network's head sees in each row of features; "" where it has learnt none."""
        if not self.classes:
            return [""] * len(dense)
        return predicted_classes(dense, network=self._loaded.network, classes=self.classes)

    def predictions(
        self, classified: list[str], *, asked_labels: Iterable[str], nearest_labels: list[str]
    ) -> tuple[list[str], str]:
        """The class of each query and who said it: the network's head where it knows all that is asked for.

        Else the nearest image: a head can't be right about classes that it has not learnt.
        """
        if not self.classes or not set(asked_labels) <= set(self.classes):
            return nearest_labels, BY_NEIGHBOUR
        return classified, BY_CLASSIFIER


def answers(reader: Reader, *, asked: Read, kept: Read) -> Answers:
    """Judge the embeddings, and beside them the network's dense features, which are not projected."""
    if not (asked.images and kept.images):
        raise JobFailed(NOTHING_SEEN)
    neighbours = nearest(asked.seen.embeddings, kept.seen.embeddings)
    asked_labels, kept_labels = asked.labels, kept.labels
    nearest_labels = [kept_labels[row] for row in neighbours.indices[:, 0]]
    predicted, accuracy_by = reader.predictions(
        reader.classified(asked.seen.dense), asked_labels=asked_labels, nearest_labels=nearest_labels
    )

    def judged(found: Neighbours) -> Judgement:
        return judge(query_labels=asked_labels, gallery_labels=kept_labels, neighbours=found, predicted=predicted)

    judgement = judged(neighbours)
    unprojected = judged(nearest(l2_normalised(asked.seen.dense), l2_normalised(kept.seen.dense)))
    report = judgement.to_dict() | {
        "accuracy_by": accuracy_by,
        "usual_similarity": usual_similarity(neighbours),
        "features": {"p_at": unprojected.p_at, "map_at_20": unprojected.map_at_20},
    }
    images = [
        {
            "image_id": image.pk,
            "label": image.label,
            "predicted": predicted[row],
            "p_at_20": float(judgement.p_at_20[row]),
            "ap_at_20": float(judgement.ap_at_20[row]),
            "neighbours": [kept.images[index].pk for index in neighbours.indices[row]],
        }
        for row, image in enumerate(asked.images)
    ]
    return Answers(report=report, images=images)
