"""From a network and previews to what it says of them, before any judgement: features, predictions, embeddings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from retrieval.network.embedder import Embedder
from retrieval.network.projection import l2_normalised
from retrieval.network.vgg import VGG, weighted_layers

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Features:
    """`raw` (n, width) float32, what the head reads; `rows` (n,) int64 are the numbers of the images they belong to.

    Images that cannot be read or that the network sees nothing in are left out.
    """

    raw: np.ndarray
    rows: np.ndarray

    @property
    def normalised(self) -> np.ndarray:
        return l2_normalised(self.raw)


def compute_features(
    embedder: Embedder, previews: Sequence[bytes | Path], *, on_progress: Callable[[int], None] = lambda _: None
) -> Features:
    """Return the features of the previews; `on_progress` gets how many are done."""
    found, rows, done = [np.zeros((0, embedder.width), np.float32)], [np.zeros(0, np.int64)], 0
    for vectors, refusals in embedder.raw_features(previews, batch_size=_BATCH):
        sound = np.array([row for row in range(len(vectors)) if row not in refusals], dtype=np.int64)
        found.append(vectors[sound])
        rows.append(sound + done)
        done += len(vectors)
        on_progress(done)
    return Features(raw=np.concatenate(found), rows=np.concatenate(rows))


def predicted_classes(raw: np.ndarray, *, network: VGG, classes: Sequence[str]) -> list[str]:
    """Return the class with the largest logit for features (n, width) that are not normalised."""
    *_, head = weighted_layers(network).values()
    with torch.inference_mode():
        logits = head.cpu()(torch.from_numpy(raw))
    return [classes[number] for number in logits.argmax(dim=1).tolist()]
