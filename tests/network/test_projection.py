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


@pytest.mark.parametrize("spoil", ["shape", "nan", "lost", "stretched"])
def test_an_unsound_projection_is_refused(spoil: str) -> None:
    sound = fit_projection(drawn_features(0))
    matrix = sound.matrix.copy()
    if spoil == "nan":
        matrix[3, 3] = np.nan
    elif spoil == "lost":
        matrix[:, 0] = matrix[:, 1]
    elif spoil == "stretched":
        matrix[:, 0] *= 1.01
    with pytest.raises(ValueError, match="projection"):
        Projection(sound.mean, matrix[:, :100] if spoil == "shape" else matrix)


def test_what_differs_within_classes_counts_less() -> None:
    """Classes differ in one direction and images of a class in ten: whitened, neighbours are of the same class."""
    rng = np.random.default_rng(4)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        classes = rng.integers(0, 3, count)
        rows = np.full((count, WIDTH), 1.0) + 0.01 * rng.normal(size=(count, WIDTH))
        rows[:, 0] += classes
        rows[:, 1:11] += 2 * rng.normal(size=(count, 10))
        return l2_normalised(rows), classes

    gallery, gallery_classes = drawn(600)
    queries, query_classes = drawn(100)

    def precision(classes: np.ndarray | None) -> float:
        projection = fit_projection(gallery, classes=classes)
        nearest = np.argsort(-projection.project(queries) @ projection.project(gallery).T, axis=1)[:, :20]
        return float((gallery_classes[nearest] == query_classes[:, None]).mean())

    assert precision(gallery_classes) > precision(None) + 0.2


def test_what_tells_classes_apart_is_kept_where_more_differs_within_them() -> None:
    """More than 512 directions differ more than the one that matters: it is chosen once those are shortened."""
    rng = np.random.default_rng(4)
    classes = np.arange(2000) % 3
    rows = np.full((2000, WIDTH), 1.0)
    rows[:, 0] += 0.05 * classes
    rows[:, 1:560] += 0.1 * rng.normal(size=(2000, 559))
    features = l2_normalised(rows)
    gallery, queries = np.arange(2000) < 1900, np.arange(2000) >= 1900
    projection = fit_projection(features[gallery], classes=classes[gallery])
    embeddings = projection.project(features)
    nearest = np.argsort(-embeddings[queries] @ embeddings[gallery].T, axis=1)[:, :20]
    assert (classes[gallery][nearest] == classes[queries][:, None]).mean() > 0.9


def _drawn_alike(count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four classes of (n, 1200) features: dense ones tell the first two apart, local ones the last two."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 4, count)
    centres = np.random.default_rng(1).normal(size=(4, 2 * WIDTH))
    centres[3, :WIDTH] = centres[2, :WIDTH]
    centres[1, WIDTH:] = centres[0, WIDTH:]
    return np.maximum(centres[classes] + 0.7 * rng.normal(size=(count, 2 * WIDTH)), 0), classes


def _precision(projection: Projection, *, width: int) -> list[float]:
    """By class, the share of the 20 nearest that are of it."""
    (gallery, gallery_classes), (queries, query_classes) = _drawn_alike(800, seed=2), _drawn_alike(100, seed=3)
    asked, stored = (projection.project(l2_normalised(each[:, :width])) for each in (queries, gallery))
    nearest = np.argsort(-asked @ stored.T, axis=1)[:, :20]
    hits = (gallery_classes[nearest] == query_classes[:, None]).mean(axis=1)
    return [float(hits[query_classes == each].mean()) for each in range(4)]


def test_local_features_tell_apart_what_dense_ones_do_not() -> None:
    features, classes = _drawn_alike(800, seed=2)
    alone = _precision(fit_projection(l2_normalised(features[:, :WIDTH]), classes=classes), width=WIDTH)
    both = _precision(fit_projection(l2_normalised(features), dense=WIDTH, classes=classes), width=2 * WIDTH)
    assert min(alone[:2]) > 0.99 > 0.7 > max(alone[2:])
    assert min(both) > 0.95


def test_local_features_that_differ_much_do_not_outweigh_the_dense_ones() -> None:
    """Only dense features tell the classes apart, and local ones differ ten times as much."""
    rng = np.random.default_rng(5)
    classes = np.arange(900) % 3
    features = 1 + 0.02 * rng.normal(size=(900, 2 * WIDTH))
    features[:, :30] += rng.normal(size=(3, 30))[classes] * 0.1
    features[:, WIDTH:] += 0.3 * rng.normal(size=(900, WIDTH))
    rows = l2_normalised(features)

    def precision(dense: int | None) -> float:
        embeddings = fit_projection(rows[:800], dense=dense).project(rows)
        nearest = np.argsort(-embeddings[800:] @ embeddings[:800].T, axis=1)[:, :20]
        return float((classes[:800][nearest] == classes[800:, None]).mean())

    assert precision(WIDTH) > precision(None) + 0.2


def test_rows_that_were_not_learnt_do_not_tell_how_classes_differ() -> None:
    features, classes = drawn_features(300), np.arange(300) % 5
    learnt = np.arange(300) < 200
    expected = fit_projection(features, classes=classes, learnt=learnt).matrix
    other = np.where(learnt, classes, 0)
    assert np.array_equal(fit_projection(features, classes=other, learnt=learnt).matrix, expected)
    assert not np.allclose(fit_projection(features, classes=classes).matrix, expected)


@pytest.mark.parametrize("classes", [[0, 1, 2, 3, 4], [7, 7, 7, 7, 7]])
def test_whitening_needs_differences_within_classes(classes: list[int]) -> None:
    """One image of each class, and one image five times: there is nothing to whiten."""
    features = drawn_features(5) if len(set(classes)) == 5 else np.repeat(drawn_features(1), 5, axis=0)
    whitened = fit_projection(features, classes=np.array(classes))
    assert np.abs(whitened.matrix - fit_projection(features).matrix).max() < 1e-6


def test_whitening_stays_within_what_a_version_may_hold() -> None:
    """Few images of few classes: most directions are the random ones, in which none of them differ."""
    for count in (3, 30, 2000):
        features = drawn_features(count)
        matrix = fit_projection(features, classes=np.arange(count) % 2).matrix.astype(np.float64)
        stretch = np.linalg.svd(matrix, compute_uv=False)
        assert 0.999e-3 < stretch[-1] <= stretch[0] < 1.0001
