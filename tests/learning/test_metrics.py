"""Figures of retrieval, computed by hand, by brute force and by scikit-learn."""

import json

import numpy as np
import pytest
import sklearn.metrics

from training.learning import metrics
from training.learning.metrics import (
    Neighbours,
    average_precision_at,
    confusion_matrix,
    judge,
    nearest,
    precision_at,
    unknown_classes,
    usual_similarity,
)


def drawn_rows(count: int, *, seed: int, width: int = 16) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def ranked(*rows: str) -> np.ndarray:
    """Relevance by rank, one text for each query: "+-+"."""
    return np.array([[mark == "+" for mark in row] for row in rows])


@pytest.mark.parametrize("at_once", [1, 1000, 1 << 25])
def test_nearest_finds_what_a_full_sort_finds(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_SIMILARITIES_AT_ONCE", at_once)
    queries, gallery = drawn_rows(23, seed=0), drawn_rows(300, seed=1)
    found = nearest(queries, gallery)
    similarities = queries @ gallery.T
    expected = np.argsort(-similarities, axis=1)[:, :20]
    assert np.array_equal(found.indices, expected)
    assert np.allclose(found.similarities, np.take_along_axis(similarities, expected, axis=1), atol=1e-6)
    assert (found.indices.dtype, found.similarities.dtype) == (np.int64, np.float32)


def test_a_small_gallery_gives_fewer() -> None:
    found = nearest(drawn_rows(4, seed=0), drawn_rows(7, seed=1))
    assert found.indices.shape == found.similarities.shape == (4, 7)


def test_an_empty_gallery_has_no_answer() -> None:
    one = drawn_rows(1, seed=0)
    with pytest.raises(ValueError, match="no image"):
        nearest(one, one[:0])


def test_precision_counts_the_ranks_there_are() -> None:
    relevant = ranked("+-+--", "-----", "+++++")
    assert precision_at(relevant, k=1).tolist() == [1, 0, 1]
    assert precision_at(relevant, k=3) == pytest.approx([2 / 3, 0, 1])
    assert precision_at(relevant, k=20) == pytest.approx([2 / 5, 0, 1])


@pytest.mark.parametrize(
    ("row", "in_gallery", "expected"),
    [
        ("+-+--", 2, (1 + 2 / 3) / 2),
        ("+-+--", 3, (1 + 2 / 3) / 3),
        ("+-+--", 300, (1 + 2 / 3) / 5),
        ("----+", 1, 1 / 5),
        ("+++++", 300, 1),
        ("+++--", 3, 1),
        ("-----", 9, 0),
        ("-----", 0, 0),
    ],
)
def test_average_precision_by_hand(row: str, in_gallery: int, expected: float) -> None:
    found = average_precision_at(ranked(row), relevant_in_gallery=np.array([in_gallery]))
    assert found == pytest.approx([expected])


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_over_the_whole_gallery_is_that_of_scikit_learn(seed: int) -> None:
    relevant = np.random.default_rng(seed).random((6, 40)) < 0.3
    ours = average_precision_at(relevant, relevant_in_gallery=relevant.sum(axis=1))
    ranks = -np.arange(40)
    theirs = [sklearn.metrics.average_precision_score(row, ranks) for row in relevant]
    assert ours == pytest.approx(theirs)


def test_confusion_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = ["mri", "ct", "pet", "never seen"]
    true, predicted = (rng.choice(labels[:3], 50).tolist() for _ in range(2))
    expected = sklearn.metrics.confusion_matrix(true, predicted, labels=labels)
    assert np.array_equal(confusion_matrix(true, predicted, labels=labels), expected)


GALLERY = ["ct", "ct", "mri", "mri", "mri", "pet"]
FOUND = Neighbours(
    indices=np.array([[0, 2, 1], [2, 3, 0], [0, 1, 5]]),
    similarities=np.array([[0.9, 0.8, 0.7], [0.9, 0.8, 0.7], [0.5, 0.4, 0.3]], dtype=np.float32),
)


def test_a_judgement_by_hand() -> None:
    judged = judge(
        query_labels=["ct", "mri", "pet"], gallery_labels=GALLERY, neighbours=FOUND, predicted=["ct", "mri", "knee"]
    )
    ap = [(1 + 2 / 3) / 2, (1 + 1) / 3, 1 / 3]
    assert judged.p_at_20 == pytest.approx([2 / 3, 2 / 3, 1 / 3])
    assert judged.ap_at_20 == pytest.approx(ap)
    told = judged.to_dict()
    assert json.loads(json.dumps(told)) == told
    names = ["queries", "gallery", "accuracy", "p_at", "map_at_20", "best_p_at_20", "per_class", "confusion_matrix"]
    assert list(told) == names
    assert (told["queries"], told["gallery"]) == (3, 6)
    assert told["accuracy"] == pytest.approx(2 / 3)
    assert told["p_at"] == pytest.approx({"1": 2 / 3, "5": 5 / 9, "10": 5 / 9, "20": 5 / 9})
    assert told["map_at_20"] == pytest.approx(sum(ap) / 3)
    assert told["best_p_at_20"] == pytest.approx((2 / 3 + 1 + 1 / 3) / 3)
    assert told["confusion_matrix"] == {
        "labels": ["ct", "knee", "mri", "pet"],
        "counts": [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]],
    }
    assert list(told["per_class"]) == ["ct", "mri", "pet"]
    assert told["per_class"]["mri"] == {
        "queries": 1,
        "accuracy": 1,
        "p_at_20": pytest.approx(2 / 3),
        "map_at_20": pytest.approx(ap[1]),
    }
    assert told["per_class"]["pet"]["accuracy"] == 0


def test_only_twenty_ranks_are_judged() -> None:
    queries, gallery = drawn_rows(5, seed=0), drawn_rows(100, seed=1)
    labels = ["a", "b"] * 50
    of_twenty, of_fifty = (
        judge(
            query_labels=["a", "b", "a", "b", "a"],
            gallery_labels=labels,
            neighbours=nearest(queries, gallery, k=k),
            predicted=["a"] * 5,
        ).to_dict()
        for k in (20, 50)
    )
    assert of_twenty == of_fifty


def test_no_queries_have_no_means() -> None:
    none = Neighbours(np.zeros((0, 3), np.int64), np.zeros((0, 3), np.float32))
    told = judge(query_labels=[], gallery_labels=GALLERY, neighbours=none, predicted=[]).to_dict()
    assert told == {
        "queries": 0,
        "gallery": 6,
        "accuracy": None,
        "p_at": {"1": None, "5": None, "10": None, "20": None},
        "map_at_20": None,
        "best_p_at_20": None,
        "per_class": {},
        "confusion_matrix": {"labels": [], "counts": []},
    }


def test_classes_that_the_gallery_does_not_have_are_set_apart() -> None:
    labels = ["ct", "knee", "mri", "hand", "knee", "pet"]
    nearest_ones = np.array([0.9, 0.3, 0.8, 0.85, 0.5, 0.6], dtype=np.float32)
    found = Neighbours(np.zeros((6, 2), np.int64), np.stack([nearest_ones, np.zeros(6, np.float32)], axis=1))
    apart = unknown_classes(query_labels=labels, gallery_labels=GALLERY, similarity=nearest_ones)
    assert apart.is_known.tolist() == [True, False, True, False, False, True]
    assert apart.per_class == {
        "hand": {"queries": 1, "mean_similarity": pytest.approx(0.85), "auroc": pytest.approx(1 / 3), "unlike": None},
        "knee": {"queries": 2, "mean_similarity": pytest.approx(0.4), "auroc": 1, "unlike": None},
    }
    assert apart.unlike is None
    assert json.loads(json.dumps(apart.per_class)) == apart.per_class
    kept = found.of(apart.is_known)
    assert kept.similarities[:, 0].tolist() == nearest_ones[[0, 2, 5]].tolist()


def test_unknown_classes_alone_cannot_be_told_apart() -> None:
    apart = unknown_classes(query_labels=["knee"], gallery_labels=GALLERY, similarity=np.array([0.5]))
    assert apart.per_class == {"knee": {"queries": 1, "mean_similarity": 0.5, "auroc": None, "unlike": None}}


def test_less_than_the_usual_similarity_is_unlike_the_gallery() -> None:
    labels = ["ct", "knee", "mri", "knee", "pet", "ct"]
    nearest_ones = np.array([0.9, 0.3, 0.8, 0.7, 0.6, 0.95], np.float32)
    apart = unknown_classes(query_labels=labels, gallery_labels=GALLERY, similarity=nearest_ones, usual=0.65)
    assert (apart.unlike, apart.per_class["knee"]["unlike"]) == (0.25, 0.5)


def test_the_usual_similarity_is_what_99_of_100_find() -> None:
    similarity = np.linspace(0, 1, 101, dtype=np.float32)[:, None]
    found = Neighbours(np.zeros((101, 1), np.int64), similarity)
    assert usual_similarity(found) == pytest.approx(0.01)
    assert usual_similarity(found.of(np.arange(50))) is not None
    assert usual_similarity(found.of(np.arange(49))) is None


def test_known_classes_are_not_set_apart() -> None:
    similarity = FOUND.similarities[:, 0]
    apart = unknown_classes(query_labels=["ct", "mri", "pet"], gallery_labels=GALLERY, similarity=similarity)
    assert apart.is_known.all()
    assert apart.per_class == {}
