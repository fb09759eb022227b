"""From a network and previews to what it says of them, before any judgement: features, predictions, embeddings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from retrieval.network.embedder import Embedder
from retrieval.network.vgg import VGG, weighted_layers

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Features:
    """`raw` (n, w) float32 as Embedder.raw_features gives them; `rows` (n,) int64 the numbers of their images.

    Images that cannot be read or that the network sees nothing in are left out.
    """

    raw: np.ndarray
    rows: np.ndarray


def compute_features(
    embedder: Embedder, previews: Sequence[bytes | Path], *, on_progress: Callable[[int], None] = lambda _: None
) -> Features:
    """Return the features of the previews; `on_progress` gets how many are done."""
    found, rows, done = [np.zeros((0, embedder.raw_width), np.float32)], [np.zeros(0, np.int64)], 0
    for vectors, refusals in embedder.raw_features(previews, batch_size=_BATCH):
        sound = np.array([row for row in range(len(vectors)) if row not in refusals], dtype=np.int64)
        found.append(vectors[sound])
        rows.append(sound + done)
        done += len(vectors)
        on_progress(done)
    return Features(raw=np.concatenate(found), rows=np.concatenate(rows))


def predicted_classes(dense: np.ndarray, *, network: VGG, classes: Sequence[str]) -> list[str]:
    """Return the class with the largest logit for dense features (n, dense_width), not normalised."""
    *_, head = weighted_layers(network).values()
    with torch.inference_mode():
        logits = head.cpu()(torch.from_numpy(dense))
    return [classes[number] for number in logits.argmax(dim=1).tolist()]
