"""Features -> embedding: minus a mean, times a matrix, L2-normalised.

The matrix holds the principal directions of a sample, completed by random directions orthogonal to them, so that one
formula serves an archive of no images and of a million. Where the classes of the sample are known, directions in which
images of one class differ are shortened first (within-class whitening; Fukunaga, Introduction to Statistical Pattern
Recognition, 1990, chapter 10): what tells classes apart decides which directions are kept, and who is near.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from retrieval.network.errors import DegenerateEmbedding

EMBEDDING_DIMENSION = 512
# Directions of more images are much the same, and memory grows with the square of their number.
ENOUGH_IMAGES = 5_000
# A row shorter than this, where sound ones have length 1, is rounding noise and has no direction of its own.
_SHORTEST = 1e-5
# Directions that hold less than this share of the largest variance are rounding noise of float32 features.
_RANK_TOLERANCE = 1e-10
# What whitening adds to every variance within classes, as a share of their sum; chosen by validation images
# (docs/measurements.md).
_SHRINKAGE = 1e-6
# How much local features differ, as a share of how much dense ones do: enough to tell alike classes apart, not so much
# that images are told by their source (docs/measurements.md). They are shortened to that, to a hundredth at most.
_LOCAL_SHARE = 0.15
_LEAST_LENGTH = 0.01
# No direction is shortened more than to sqrt(_SHRINKAGE) of that, and none grows; a little more is rounding.
_LEAST_STRETCH, _MOST_STRETCH = 0.99e-3 * _LEAST_LENGTH, 1.001


@dataclass(frozen=True, eq=False)
class Projection:
    """`mean` (width,) and `matrix` (width, 512), float32, its singular values between 0.00001 and 1.

    Raises ValueError when the shapes do not agree, a value is not finite, or a direction is lost or grows.
    """

    mean: np.ndarray
    matrix: np.ndarray

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.matrix.shape != (self.mean.size, EMBEDDING_DIMENSION):
            raise ValueError(f"The projection has shapes {self.mean.shape} and {self.matrix.shape}.")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.matrix).all()):
            raise ValueError("The projection holds values that are not finite.")
        matrix = torch.from_numpy(self.matrix).double()
        stretch = torch.linalg.eigvalsh(matrix.T @ matrix).clamp(min=0).sqrt()
        if stretch[0] < _LEAST_STRETCH or stretch[-1] > _MOST_STRETCH:
            raise ValueError("The projection loses directions or stretches them.")

    def project(self, features: np.ndarray) -> np.ndarray:
        """Return the embeddings (n, 512), float32, each of length 1, of features (n, width).

        Raises DegenerateEmbedding with the indices of rows that are zero or not finite; where none are, with those that
        are so after projecting.
        """
        rows = torch.from_numpy(l2_normalised(features) - self.mean)
        return l2_normalised((rows @ torch.from_numpy(self.matrix)).numpy())


def l2_normalised(rows: np.ndarray) -> np.ndarray:
    """Return (n, w) float32, every row scaled to length 1. Raises DegenerateEmbedding for rows that cannot be."""
    rows = np.asarray(rows, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    # Written so that NaN counts as too short.
    degenerate = ~(np.isfinite(lengths) & (lengths > _SHORTEST))
    if degenerate.any():
        raise DegenerateEmbedding(np.flatnonzero(degenerate))
    return rows / lengths[:, None].astype(np.float32)


def fit_projection(
    features: np.ndarray,
    *,
    dense: int | None = None,
    classes: np.ndarray | None = None,
    learnt: np.ndarray | None = None,
    seed: int = 0,
) -> Projection:
    """Return the projection for features (n, width), float32, L2-normalised; n may be 0.

    The columns are the principal directions by falling variance, then random ones drawn from `seed`; they are
    orthonormal unless `classes` (n,), integers, tell what is to be whitened, or features after the first `dense` are
    local ones and count less. `learnt` (n,), bool, are the rows that tell how images of one class differ; all, if it is
    not given. Where the rows do not differ (none, one, or all equal) nothing is subtracted: their mean would erase
    them.
    Raises ValueError for a width below 512 and DegenerateEmbedding for rows without a direction.
    """
    if features.ndim != 2 or features.shape[1] < EMBEDDING_DIMENSION:
        raise ValueError(f"Expected features of at least {EMBEDDING_DIMENSION} columns, got {features.shape}.")
    rows = torch.from_numpy(l2_normalised(features))
    mean = rows.mean(dim=0, dtype=torch.float64).float() if len(rows) else torch.zeros(rows.shape[1])
    known = np.ones(len(rows), bool) if learnt is None or classes is None else learnt
    within = _within(rows[known].double(), classes=None if classes is None else torch.from_numpy(classes[known]))
    lengths = _lengths(within, dense=features.shape[1] if dense is None else dense)
    whiten = _whitening(within * lengths) if classes is not None else None
    if whiten is not None:
        directions = _completed(_principal_directions(whiten((rows - mean) * lengths)), seed=seed)
        directions = whiten(directions.T).T
    else:
        directions = _principal_directions((rows - mean) * lengths)
        if directions.shape[1] == 0:
            mean, directions = torch.zeros_like(mean), _principal_directions(rows * lengths)
        directions = _completed(directions, seed=seed)
    matrix = lengths[:, None] * directions
    return Projection(mean=mean.numpy(), matrix=matrix.float().contiguous().numpy())


def _within(rows: Tensor, *, classes: Tensor | None) -> Tensor:
    """Return how rows (n, width) differ from the mean of their class, or without classes from that of all."""
    if classes is None:
        classes = torch.zeros(len(rows), dtype=torch.int64)
    _, numbers, counts = classes.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), rows.shape[1], dtype=rows.dtype).index_add_(0, numbers, rows)
    return rows - (sums / counts[:, None])[numbers]


def _lengths(within: Tensor, *, dense: int) -> Tensor:
    """Return (width,) float64, what features are multiplied by: 1 for the first `dense`, at most 1 for others."""
    lengths = torch.ones(within.shape[1], dtype=torch.float64)
    spread = within.square().sum(dim=0)
    first, others = spread[:dense].sum(), spread[dense:].sum()
    if others > 0:
        lengths[dense:] = (_LOCAL_SHARE * first / others).sqrt().clamp(_LEAST_LENGTH, 1)
    return lengths


def _principal_directions(rows: Tensor) -> Tensor:
    """Return (width, r) float64 orthonormal directions of (n, width) by falling variance, r <= 512 and <= the rank.

    Through the smaller of the two Gram matrices: as exact as the features are, and quick for few rows and for many.
    """
    count, width = rows.shape
    rows = rows.double()
    by_row = count < width
    variances, vectors = torch.linalg.eigh(rows @ rows.T if by_row else rows.T @ rows)
    variances, vectors = variances.flip(0)[:EMBEDDING_DIMENSION], vectors.flip(1)[:, :EMBEDDING_DIMENSION]
    kept = vectors[:, variances > _smallest_variance(variances, count=count)]
    directions = torch.linalg.qr(rows.T @ kept).Q if by_row else kept
    return _with_fixed_signs(directions)


def _smallest_variance(variances: Tensor, *, count: int) -> float:
    """Below this, a variance is rounding: of the float32 rows themselves, or of their squares in float64."""
    rounding = count * torch.finfo(torch.float32).eps ** 2
    return max(rounding, _RANK_TOLERANCE * float(variances.max())) if len(variances) else rounding


def _with_fixed_signs(directions: Tensor) -> Tensor:
    """An eigenvector's sign is arbitrary: make the largest entry of each positive, so that a re-run gives the same."""
    if directions.shape[1] == 0:
        return directions
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    return directions * largest.sign()


def _completed(directions: Tensor, *, seed: int) -> Tensor:
    """Return (width, 512) orthonormal columns: the given ones, then random ones drawn from `seed`."""
    width, have = directions.shape
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(width, EMBEDDING_DIMENSION - have, generator=generator, dtype=torch.float64)
    # Twice is enough (Kahan, Parlett 1980): the second pass removes what rounding left of the first.
    for _ in range(2):
        drawn = torch.linalg.qr(drawn - directions @ (directions.T @ drawn)).Q
    return torch.cat([directions, drawn], dim=1)


def _whitening(within: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Return what shortens rows (n, width) in a direction the more, the more those of `within` differ in it.

    None where it does not differ. Through the smaller of the two Gram matrices, as for principal directions.
    """
    count, width = within.shape
    by_row = count < width
    variances, vectors = torch.linalg.eigh((within @ within.T if by_row else within.T @ within) / max(1, count))
    total = variances.clamp(min=0).sum()
    if total < torch.finfo(torch.float32).eps ** 2:
        return None
    # What is left out hardly differs, and keeps its length.
    kept = variances > _RANK_TOLERANCE * variances.max()
    variances, vectors = variances[kept], vectors[:, kept]
    directions = within.T @ (vectors / (count * variances).sqrt()) if by_row else vectors
    floor = _SHRINKAGE * total
    shortening = 1 - (floor / (variances + floor)).sqrt()

    def whiten(rows: Tensor) -> Tensor:
        return rows - (rows @ directions * shortening) @ directions.T

    return whiten
