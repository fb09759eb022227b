"""What is odd about images among their neighbours: near duplicates, label suspects, outliers. NumPy, without a network.

Every image of a dataset is compared with the whole archive, block by block: some 100 MB at a time, however many there
are, and beside them 12 bytes for each image of the dataset and the oddest `MOST` of each kind.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

ROWS_AT_ONCE = 512
COLUMNS_AT_ONCE = 8192
# What is kept of each kind.
MOST = 1000
# Pairs below this similarity are not kept, nor more than so many of an image.
NEAR = 0.9
NEAR_OF_ONE = 5
# Neighbours that vote on a label. Of a rare label as many as there are others of it, and with fewer than three no vote.
VOTERS = 10
FEWEST_VOTERS = 3
MAJORITY = 0.5
# Neighbours at less than this share of the distance to one's own label.
AT_HOME = 0.5
# Softens the votes by exp(similarity / temperature), as in Wu et al., "Unsupervised Feature Learning via
# Non-Parametric Instance Discrimination", CVPR 2018.
TEMPERATURE = 0.07
# An image's place among those of its own label is the distance to the k-th nearest of them.
KTH = 5
# Deviations from the label's median, in units of its scaled MAD (Iglewicz and Hoaglin, "How to Detect and Handle
# Outliers", 1993), which mean something only where a label has so many images.
FAR = 3.5
FEWEST_OF_LABEL = 10
# MAD of a normal distribution times this is its standard deviation.
MAD_TO_SIGMA = 1.4826
# Below it a distance is the rounding of half precision; and where the images of a label are all alike, a fifth more
# is no deviation.
LEAST_DISTANCE = 1e-4
LEAST_SPREAD = 0.2
UNLABELLED = -1
NOBODY = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Crowd:
    """The images that are compared; the first `own` of n are the dataset in question, the others the rest.

    `vectors` (n, width) float16, L2-normalised; they may lie in a file. `series` and `pixels` (n,) int64: images with
    the same number are of one series, or show the same pixels; they are no neighbours of each other. `labels` (own,)
    int64, UNLABELLED where nobody said.
    """

    vectors: np.ndarray
    series: np.ndarray
    pixels: np.ndarray
    labels: np.ndarray

    @property
    def own(self) -> int:
        return len(self.labels)


class Neighbours(NamedTuple):
    """`indices` (rows, k) int64, nearest first, and `similarities` (rows, k) float32; NOBODY and -inf where there are

    fewer than k.
    """

    indices: np.ndarray
    similarities: np.ndarray

    @classmethod
    def nobody(cls, rows: int, *, k: int) -> Self:
        return cls(np.full((rows, k), NOBODY), np.full((rows, k), -np.inf, np.float32))

    def joined_by(self, similarities: np.ndarray, *, first: int) -> Self:
        """The k nearest of these and of the images `first`, `first` + 1 ... with `similarities` (rows, m)."""
        k = min(self.indices.shape[1], similarities.shape[1])
        best = np.argpartition(similarities, -k, axis=1)[:, -k:]
        met = np.take_along_axis(similarities, best, axis=1)
        indices = np.hstack([self.indices, np.where(np.isneginf(met), NOBODY, best + first)])
        values = np.hstack([self.similarities, met])
        # Stable, and those from earlier blocks first: equal similarities have one order.
        order = np.argsort(-values, axis=1, kind="stable")[:, : self.indices.shape[1]]
        return type(self)(np.take_along_axis(indices, order, axis=1), np.take_along_axis(values, order, axis=1))


class Neighbourhood(NamedTuple):
    """Of some images of the dataset: the nearest of the archive, of the dataset's labelled ones, of the own label."""

    anyone: Neighbours
    labelled: Neighbours
    alike: Neighbours


class Pair(NamedTuple):
    """Two indices of the crowd, the first in the dataset, and how similar they are."""

    image: int
    other: int
    similarity: float


class Suspect(NamedTuple):
    """An image whose neighbours vote for another `label`, with which `share`; `other` is the nearest one of that label.

    `nearness`: how far its neighbours are, as a share of how far the nearest of its own label are. It tells a wrong
    label (0.2: its like are elsewhere) from an image between two labels (0.9).
    """

    image: int
    other: int
    label: int
    share: float
    nearness: float


class Outlier(NamedTuple):
    """An image that is `off` from those of its label (see outliers()), and the nearest of them."""

    image: int
    other: int
    off: float


class Oddities(NamedTuple):
    """The oddest come first. Who is at home with another label is a suspect and no outlier."""

    pairs: list[Pair]
    suspects: list[Suspect]
    outliers: list[Outlier]


def find_oddities(crowd: Crowd, *, on_block: Callable[[int], None]) -> Oddities:
    """Compare every image of the dataset with the crowd. `on_block` is told how many have been."""
    alike = others_alike(crowd)
    distances, nearest = np.empty(crowd.own, np.float32), np.empty(crowd.own, np.int64)
    pairs: list[Pair] = []
    suspected: list[Suspect] = []
    for first in range(0, crowd.own, ROWS_AT_ONCE):
        rows = slice(first, min(first + ROWS_AT_ONCE, crowd.own))
        near = neighbourhood(crowd, rows=rows)
        pairs = best_pairs(pairs + near_pairs(near.anyone, first=first, own=crowd.own))
        suspected += suspects(crowd, near, first=first, alike=alike[rows])
        suspected = sorted(suspected, key=lambda suspect: suspect.nearness)[:MOST]
        distances[rows], nearest[rows] = 1 - near.alike.similarities[:, -1], near.alike.indices[:, 0]
        on_block(rows.stop)
    off = outliers(distances, labels=crowd.labels)
    off[[suspect.image for suspect in suspected if suspect.nearness < AT_HOME]] = np.nan
    far = [Outlier(int(image), int(nearest[image]), float(off[image])) for image in np.flatnonzero(off > FAR)]
    return Oddities(pairs, suspected, sorted(far, key=lambda outlier: -outlier.off)[:MOST])


def neighbourhood(crowd: Crowd, *, rows: slice) -> Neighbourhood:
    """Find the neighbours of some images of the dataset. Memory is bounded by the length of `rows`."""
    queries = crowd.vectors[rows].astype(np.float32)
    count = len(queries)
    anyone = Neighbours.nobody(count, k=NEAR_OF_ONE)
    labelled, alike = Neighbours.nobody(count, k=VOTERS), Neighbours.nobody(count, k=KTH)
    for columns in _columns(crowd):
        first = columns.start
        similarities = queries @ crowd.vectors[columns].astype(np.float32).T
        for shared in (crowd.series, crowd.pixels):
            similarities[shared[rows, None] == shared[None, columns]] = -np.inf
        anyone = anyone.joined_by(similarities, first=first)
        if first < crowd.own:
            # Labels of other datasets are words of their own: they neither vote nor count as the same.
            similarities[:, crowd.labels[columns] == UNLABELLED] = -np.inf
            labelled = labelled.joined_by(similarities, first=first)
            similarities[crowd.labels[rows, None] != crowd.labels[None, columns]] = -np.inf
            alike = alike.joined_by(similarities, first=first)
    return Neighbourhood(anyone, labelled, alike)


def _columns(crowd: Crowd) -> Iterator[slice]:
    """Blocks of the crowd, none of which reaches from the dataset into the rest."""
    for start, stop in ((0, crowd.own), (crowd.own, len(crowd.vectors))):
        for first in range(start, stop, COLUMNS_AT_ONCE):
            yield slice(first, min(first + COLUMNS_AT_ONCE, stop))


def near_pairs(anyone: Neighbours, *, first: int, own: int) -> list[Pair]:
    """Pairs of at least NEAR, the images being `first`, `first` + 1 ...; a pair within the dataset is told once."""
    rows, ranks = np.nonzero(anyone.similarities >= NEAR)
    found = zip(rows + first, anyone.indices[rows, ranks], anyone.similarities[rows, ranks], strict=True)
    # The other one may not have this one among its nearest few: both tell of it, and best_pairs() keeps one.
    return [Pair(*_in_order(int(image), int(other), own=own), float(value)) for image, other, value in found]


def _in_order(image: int, other: int, *, own: int) -> tuple[int, int]:
    return (min(image, other), max(image, other)) if other < own else (image, other)


def best_pairs(pairs: list[Pair]) -> list[Pair]:
    """The most similar ones, each once."""
    once = {(pair.image, pair.other): pair for pair in pairs}
    return sorted(once.values(), key=lambda pair: (-pair.similarity, pair.image, pair.other))[:MOST]


def others_alike(crowd: Crowd) -> np.ndarray:
    """How many images that may be neighbours have an image's label, int64 (own,); 0 for an unlabelled one."""
    labels, series, pixels = crowd.labels, crowd.series[: crowd.own], crowd.pixels[: crowd.own]
    # Who shares both series and pixels was taken away twice.
    alike = _count(labels) - _count(labels, series) - _count(labels, pixels) + _count(labels, series, pixels)
    return np.where(labels == UNLABELLED, 0, alike)


def _count(*keys: np.ndarray) -> np.ndarray:
    """How many rows have all of a row's keys, its own one counted."""
    _, group, sizes = np.unique(np.column_stack(keys), axis=0, return_inverse=True, return_counts=True)
    return sizes[group.reshape(-1)]


def suspects(crowd: Crowd, near: Neighbourhood, *, first: int, alike: np.ndarray) -> list[Suspect]:
    """Images whose nearest neighbours vote for another label, with more than half of the weight.

    Editing by nearest neighbours (Wilson, "Asymptotic Properties of Nearest Neighbor Rules Using Edited Data", 1972),
    with local voting on features as in Zhu, Dong and Liu, "Detecting Corrupted Labels Without Training a Model to
    Predict", ICML 2022. `near` is the neighbourhood of the images `first`, `first` + 1 ..., `alike` what others_alike()
    says of them.
    """
    own = crowd.labels[first : first + len(alike)]
    # No more voters than the label has others: the images of a rare label would always be outvoted by a frequent one.
    voters = np.minimum(alike, VOTERS)
    indices, similarities = near.labelled
    votes = np.where(indices == NOBODY, UNLABELLED, crowd.labels[indices])
    is_vote = (indices != NOBODY) & (np.arange(VOTERS) < voters[:, None]) & (voters >= FEWEST_VOTERS)[:, None]
    weights = np.where(is_vote, np.exp(similarities / TEMPERATURE), 0)
    # (rows, voters): the weight of all who vote like this one.
    together = ((votes[:, :, None] == votes[:, None, :]) * weights[:, None, :]).sum(axis=2)
    together[~is_vote | (votes == own[:, None])] = 0
    best = together.argmax(axis=1)
    shares = together.max(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)
    own_distances = _mean(1 - near.alike.similarities, where=near.alike.indices != NOBODY)
    nearness = _mean(1 - similarities, where=is_vote) / np.maximum(own_distances, LEAST_DISTANCE)
    return [
        Suspect(
            image=int(first + row),
            other=int(indices[row, best[row]]),
            label=int(votes[row, best[row]]),
            share=float(shares[row]),
            nearness=float(nearness[row]),
        )
        for row in np.flatnonzero(shares > MAJORITY)
    ]


def _mean(values: np.ndarray, *, where: np.ndarray) -> np.ndarray:
    """Of each row; 0 where nothing is to be counted."""
    return np.where(where, values, 0).sum(axis=1) / np.maximum(where.sum(axis=1), 1)


def outliers(distances: np.ndarray, *, labels: np.ndarray) -> np.ndarray:
    """How far an image stands off from those of its label, float64 (n,): more than FAR is an outlier, NaN not judged.

    `distances` (n,) are those to the KTH nearest of the label (Ramaswamy, Rastogi and Shim, "Efficient Algorithms for
    Mining Outliers from Large Data Sets", 2000), infinite where there are fewer. The figure is the deviation of its
    logarithm from the label's median, in units of the scaled median absolute deviation: such distances are skewed, and
    by themselves would call every twelfth image an outlier.
    """
    off = np.full(len(distances), np.nan)
    for label in np.unique(labels[labels != UNLABELLED]):
        of_label = np.flatnonzero((labels == label) & np.isfinite(distances))
        if len(of_label) < FEWEST_OF_LABEL:
            continue
        own = np.log(np.maximum(distances[of_label], LEAST_DISTANCE))
        median = np.median(own)
        spread = max(MAD_TO_SIGMA * np.median(np.abs(own - median)), LEAST_SPREAD)
        off[of_label] = (own - median) / spread
    return off
