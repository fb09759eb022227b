"""Features keep their neighbourhoods when they become embeddings, for archives of any size."""

import numpy as np
import pytest

from retrieval.network.errors import DegenerateEmbedding
from retrieval.network.projection import Projection, fit_projection, l2_normalised

WIDTH = 600


def drawn_features(count: int, *, seed: int = 0) -> np.ndarray:
    """Non-negative like features after a ReLU, of 20 overlapping kinds, L2-normalised."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(20, WIDTH))
    rows = centres[rng.integers(0, 20, count)] + 0.5 * rng.normal(size=(count, WIDTH))
    return l2_normalised(np.maximum(rows, 0)) if count else np.zeros((0, WIDTH), np.float32)


@pytest.mark.parametrize("count", [0, 1, 2, 100, 2000])
def test_a_projection_is_orthonormal_and_gives_unit_vectors(count: int) -> None:
    projection = fit_projection(drawn_features(count))
    gram = projection.matrix.T.astype(np.float64) @ projection.matrix
    assert np.abs(gram - np.eye(512)).max() < 1e-5
    embeddings = projection.project(drawn_features(50, seed=9))
    assert embeddings.shape == (50, 512)
    assert embeddings.dtype == np.float32
    assert np.abs(np.linalg.norm(embeddings, axis=1) - 1).max() < 1e-5


def test_the_first_columns_are_the_principal_directions() -> None:
    features = drawn_features(2000)
    projection = fit_projection(features)
    centred = features - features.mean(axis=0)
    variances = np.square(centred @ projection.matrix).sum(axis=0)
    expected = np.square(np.linalg.svd(centred, compute_uv=False)[:512])
    assert np.allclose(variances, expected, rtol=1e-3)
    assert np.abs(projection.mean - features.mean(axis=0)).max() < 1e-6


def test_few_images_keep_their_distances_exactly() -> None:
    """Their differences lie in the first columns, and nothing of them is lost in the 512."""
    features = drawn_features(100)
    projection = fit_projection(features)
    projected = (features - projection.mean) @ projection.matrix
    exact = np.linalg.norm(features[:, None] - features[None], axis=2)
    assert np.abs(np.linalg.norm(projected[:, None] - projected[None], axis=2) - exact).max() < 1e-5


def test_equal_images_can_still_be_embedded() -> None:
    """With their mean subtracted nothing would be left of them."""
    one = drawn_features(1)
    for features in (one, np.repeat(one, 5, axis=0)):
        projection = fit_projection(features)
        assert not projection.mean.any()
        assert projection.project(features)[0, 0] == pytest.approx(1, abs=1e-5)


def test_neighbours_of_unseen_images_survive_the_projection() -> None:
    gallery, queries = drawn_features(2000), drawn_features(50, seed=5)
    projection = fit_projection(gallery)
    centred = l2_normalised(queries - projection.mean) @ l2_normalised(gallery - projection.mean).T
    projected = projection.project(queries) @ projection.project(gallery).T
    exact, found = (np.argsort(-scores, axis=1)[:, :20] for scores in (centred, projected))
    shared = [len(set(a) & set(b)) / 20 for a, b in zip(exact, found, strict=True)]
    assert np.mean(shared) > 0.9


def test_the_same_seed_gives_the_same_projection() -> None:
    first, again, other = (fit_projection(drawn_features(10), seed=seed).matrix for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert np.array_equal(first[:, :9], other[:, :9])
    assert not np.array_equal(first[:, 20:], other[:, 20:])


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_rows_without_a_direction_are_named(value: float) -> None:
    features = drawn_features(6)
    features[[1, 4]] = value
    with pytest.raises(DegenerateEmbedding) as raised:
        fit_projection(drawn_features(0)).project(features)
    assert raised.value.rows == (1, 4)


def test_a_row_that_is_the_mean_has_no_direction() -> None:
    projection = fit_projection(drawn_features(0))
    own = drawn_features(3)
    shifted = Projection(own[1], projection.matrix)
    with pytest.raises(DegenerateEmbedding) as raised:
        shifted.project(own)
    assert raised.value.rows == (1,)


def test_too_narrow_features_are_refused() -> None:
    with pytest.raises(ValueError, match="512"):
        fit_projection(np.ones((3, 100), np.float32))


@pytest.mark.parametrize("spoil", ["shape", "nan", "skewed"])
def test_an_unsound_projection_is_refused(spoil: str) -> None:
    sound = fit_projection(drawn_features(0))
    matrix = sound.matrix.copy()
    if spoil == "nan":
        matrix[3, 3] = np.nan
    elif spoil == "skewed":
        matrix[:, 0] *= 1.01
    with pytest.raises(ValueError, match="projection"):
        Projection(sound.mean, matrix[:, :100] if spoil == "shape" else matrix)
