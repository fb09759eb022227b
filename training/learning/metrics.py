"""How good the neighbours and the predictions of a network are. Terms as in docs/glossary.md; k stands beside each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

RANKS = 20
PRECISION_AT = (1, 5, 10, RANKS)
_SIMILARITIES_AT_ONCE = 1 << 25  # 128 MB
# One query in so many finds less than what is usual; of fewer than half as many the lowest says nothing.
_UNUSUAL_ONE_IN = 100


class Neighbours(NamedTuple):
    """`indices` (n, k) int64 in the gallery, nearest first for each query, and their `similarities` (n, k) float32."""

    indices: np.ndarray
    similarities: np.ndarray

    def of(self, queries: np.ndarray) -> Self:
        """Return the neighbours of some queries, told by a mask or by indices."""
        return type(self)(self.indices[queries], self.similarities[queries])


def nearest(queries: np.ndarray, gallery: np.ndarray, *, k: int = RANKS) -> Neighbours:
    """Return the k most similar gallery rows of each query by exact search, fewer where the gallery has fewer.

    Both are (n, w) float32, L2-normalised. Memory stays bounded: some 300 MB beside the arguments. Raises ValueError
    for an empty gallery.
    """
    k = min(k, len(gallery))
    if k < 1:
        raise ValueError("The gallery has no image to compare with.")
    columns = torch.from_numpy(gallery).T
    rows_at_once = max(1, _SIMILARITIES_AT_ONCE // len(gallery))
    indices = np.empty((len(queries), k), dtype=np.int64)
    similarities = np.empty((len(queries), k), dtype=np.float32)
    for start in range(0, len(queries), rows_at_once):
        block = slice(start, start + rows_at_once)
        scores = torch.from_numpy(queries[block]) @ columns
        best = scores.topk(k, dim=1)
        indices[block], similarities[block] = best.indices.numpy(), best.values.numpy()
    return Neighbours(indices, similarities)


def precision_at(relevant: np.ndarray, *, k: int) -> np.ndarray:
    """Return P@k of each query, float64, from `relevant` (n, ranks) bool; of all ranks where there are fewer than k."""
    return relevant[:, :k].mean(axis=1)


def average_precision_at(relevant: np.ndarray, *, relevant_in_gallery: np.ndarray) -> np.ndarray:
    """Return AP@k of each query, float64, with k the number of ranks in `relevant` (n, k) bool.

    AP@k = (1 / min(k, R)) * sum of P@i over the relevant ranks i <= k, with R = `relevant_in_gallery` (n,); 0 if R = 0.
    """
    ranks = np.arange(1, relevant.shape[1] + 1)
    precisions = relevant.cumsum(axis=1) / ranks
    attainable = np.clip(relevant_in_gallery, 1, len(ranks))
    return (precisions * relevant).sum(axis=1) / attainable


def confusion_matrix(true: Sequence[str], predicted: Sequence[str], *, labels: Sequence[str]) -> np.ndarray:
    """Return counts (len(labels), len(labels)) int64: row is the true label, column the predicted one."""
    number = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(counts, ([number[label] for label in true], [number[label] for label in predicted]), 1)
    return counts


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """What the queries say of a model version. Means are None where there are no queries.

    `best_p_at_20` is what a perfect ranking would reach: less than 1 where classes have fewer than 20 images in the
    gallery. `p_at_20` and `ap_at_20` (queries,) tell the hardest queries.
    """

    queries: int
    gallery: int
    accuracy: float | None
    p_at: dict[str, float | None]
    map_at_20: float | None
    best_p_at_20: float | None
    per_class: dict[str, dict[str, Any]]
    labels: list[str]
    counts: np.ndarray
    p_at_20: np.ndarray
    ap_at_20: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Return what `evaluate` prints, ready for JSON."""
        return {
            "queries": self.queries,
            "gallery": self.gallery,
            "accuracy": self.accuracy,
            "p_at": self.p_at,
            "map_at_20": self.map_at_20,
            "best_p_at_20": self.best_p_at_20,
            "per_class": self.per_class,
            "confusion_matrix": {"labels": self.labels, "counts": self.counts.tolist()},
        }


def judge(
    *,
    query_labels: Sequence[str],
    gallery_labels: Sequence[str],
    neighbours: Neighbours,
    predicted: Sequence[str],
) -> Judgement:
    """Judge the first 20 neighbours and the predictions of the queries."""
    true, gallery, guessed = _texts(query_labels), _texts(gallery_labels), _texts(predicted)
    relevant = gallery[neighbours.indices[:, :RANKS]] == true[:, None]
    in_gallery = _occurrences(true, among=gallery)
    correct = guessed == true
    p_at_20 = precision_at(relevant, k=RANKS)
    ap_at_20 = average_precision_at(relevant, relevant_in_gallery=in_gallery)
    figures = {"accuracy": correct, "p_at_20": p_at_20, "map_at_20": ap_at_20}
    labels = sorted({*query_labels, *predicted})
    return Judgement(
        queries=len(true),
        gallery=len(gallery),
        accuracy=_mean(correct),
        p_at={str(k): _mean(precision_at(relevant, k=k)) for k in PRECISION_AT},
        map_at_20=_mean(ap_at_20),
        best_p_at_20=_mean(np.minimum(in_gallery, relevant.shape[1]) / relevant.shape[1]),
        per_class={label: _class_figures(figures, own=true == label) for label in sorted(set(query_labels))},
        labels=labels,
        counts=confusion_matrix(query_labels, predicted, labels=labels),
        p_at_20=p_at_20,
        ap_at_20=ap_at_20,
    )


def _class_figures(figures: dict[str, np.ndarray], *, own: np.ndarray) -> dict[str, Any]:
    return {"queries": int(own.sum())} | {name: _mean(values[own]) for name, values in figures.items()}


def _occurrences(values: np.ndarray, *, among: np.ndarray) -> np.ndarray:
    """Return how often each value stands in the other array."""
    ordered = np.sort(among)
    return np.searchsorted(ordered, values, side="right") - np.searchsorted(ordered, values, side="left")


def _texts(labels: Sequence[str]) -> np.ndarray:
    return np.array(labels, dtype=str)  # an empty list would become numbers


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def usual_similarity(neighbours: Neighbours) -> float | None:
    """Return what 99 of 100 queries find at least: the similarity of the nearest image. None for fewer than 50."""
    similarity = neighbours.similarities[:, 0]
    return float(np.quantile(similarity, 1 / _UNUSUAL_ONE_IN)) if len(similarity) >= _UNUSUAL_ONE_IN / 2 else None


class UnknownClasses(NamedTuple):
    """`is_known` (queries,) bool: the queries to judge. `per_class`: the others by label, ready for JSON.
    `unlike`: the share of the known queries whose nearest image has less than the usual similarity.
    """

    is_known: np.ndarray
    per_class: dict[str, dict[str, Any]]
    unlike: float | None


def unknown_classes(
    *, query_labels: Sequence[str], gallery_labels: Sequence[str], similarity: np.ndarray, usual: float | None = None
) -> UnknownClasses:
    """Set the queries apart whose label the gallery does not have, and tell how well their similarity gives them away.

    `similarity` (queries,) is that of the nearest image of each, which need not be one of the gallery.
    `auroc` is the probability that the nearest image of a known query is more similar than that of a query of this
    class: 1 tells them apart, 0.5 does not. None where there are no known queries. `unlike` is the share whose nearest
    image has less than the `usual` similarity, None where that is not known.
    """
    true = _texts(query_labels)
    is_known = np.isin(true, _texts(sorted(set(gallery_labels))))
    per_class = {}
    for label in sorted(set(query_labels) - set(gallery_labels)):
        own = true == label
        compared = own | is_known
        auroc = float(roc_auc_score(is_known[compared], similarity[compared])) if is_known.any() else None
        per_class[label] = {
            "queries": int(own.sum()),
            "mean_similarity": float(similarity[own].mean()),
            "auroc": auroc,
            "unlike": _share_below(similarity[own], usual=usual),
        }
    return UnknownClasses(is_known, per_class, unlike=_share_below(similarity[is_known], usual=usual))


def _share_below(similarity: np.ndarray, *, usual: float | None) -> float | None:
    return None if usual is None else _mean(similarity < usual)
