"""Planted duplicates, wrong labels and strangers are found among well-behaved images, and those are left alone."""

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from retrieval.network import neighbourhoods
from retrieval.network.neighbourhoods import (
    FAR,
    NOBODY,
    UNLABELLED,
    Crowd,
    Oddities,
    find_oddities,
    neighbourhood,
    others_alike,
)
from retrieval.network.projection import l2_normalised

WIDTH = 64
LABELS = 4
OF_LABEL = 30


def drawn_vectors(labels: Sequence[int], *, seed: int = 0) -> np.ndarray:
    """L2-normalised float32 (n, WIDTH): around a centre for each label, about 0.7 similar within, 0 between."""
    centres = np.random.default_rng(99).normal(size=(LABELS, WIDTH))
    noise = np.random.default_rng(seed).normal(size=(len(labels), WIDTH))
    return l2_normalised((centres[list(labels)] + 0.65 * noise).astype(np.float32))


def well_behaved() -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(LABELS), OF_LABEL)
    return drawn_vectors(labels), labels


def crowd_of(vectors: np.ndarray, labels: np.ndarray, **of: np.ndarray) -> Crowd:
    apart = np.arange(len(vectors))
    return Crowd(
        vectors=vectors.astype(np.float16),
        labels=labels,
        series=of.get("series", apart),
        pixels=of.get("pixels", apart),
    )


def oddities_of(crowd: Crowd) -> Oddities:
    return find_oddities(crowd, on_block=[].append)


def test_well_behaved_images_are_left_alone() -> None:
    assert oddities_of(crowd_of(*well_behaved())) == ([], [], [])


def test_a_wrong_label_is_suspected_and_the_right_one_told() -> None:
    vectors, labels = well_behaved()
    labels[3] = 2
    found = oddities_of(crowd_of(vectors, labels))
    assert [(each.image, each.label) for each in found.suspects] == [(3, 0)]
    assert found.suspects[0].share > 0.9
    assert found.suspects[0].nearness < 0.5
    assert labels[found.suspects[0].other] == 0
    # It is far from its label, but that is not what is wrong with it.
    assert found.outliers == []


def test_a_stranger_is_an_outlier_of_its_label() -> None:
    vectors, labels = well_behaved()
    vectors[40] = l2_normalised(np.random.default_rng(8).normal(size=(1, WIDTH)).astype(np.float32))[0]
    found = oddities_of(crowd_of(vectors, labels))
    assert [each.image for each in found.outliers] == [40]
    assert found.outliers[0].off > FAR
    assert labels[found.outliers[0].other] == 1


def test_a_near_duplicate_is_told_once_wherever_it_is() -> None:
    """Within the dataset and in another one, whose labels say nothing here."""
    vectors, labels = well_behaved()
    rng = np.random.default_rng(5)
    near = l2_normalised((vectors[[7, 50]] + rng.normal(size=(2, WIDTH)) * 0.02).astype(np.float32))
    vectors[90] = near[0]
    labels[90] = labels[7]
    found = oddities_of(crowd_of(np.vstack([vectors, near[1:]]), labels))
    assert {(each.image, each.other) for each in found.pairs} == {(7, 90), (50, len(labels))}
    assert all(0.95 < each.similarity < 1 for each in found.pairs)
    assert found.suspects == []


@pytest.mark.parametrize("shared", ["series", "pixels"])
def test_slices_of_a_series_and_the_same_pixels_are_no_neighbours(shared: str) -> None:
    """Neither do they make pairs, nor may a series that is labelled wrongly vouch for itself."""
    vectors, labels = well_behaved()
    numbers = np.arange(len(labels))
    of_one = np.arange(8)
    vectors[of_one] = vectors[0]
    labels[of_one] = 3
    found = oddities_of(crowd_of(vectors, labels))
    assert found.pairs != []
    assert not {each.image for each in found.suspects} & set(of_one)
    numbers[of_one] = 0
    found = oddities_of(crowd_of(vectors, labels, **{shared: numbers}))
    assert found.pairs == []
    assert {each.image for each in found.suspects if each.label == 0} == set(of_one)


def test_a_rare_label_is_not_outvoted() -> None:
    """Four images of a label in the midst of a frequent one: each has three others, so three vote."""
    labels = np.array([0] * OF_LABEL + [2] * OF_LABEL + [1] * 4)
    rare = {60, 61, 62, 63}
    vectors = drawn_vectors(labels)
    vectors[-4:] = l2_normalised(vectors[:OF_LABEL].mean(axis=0) + 0.2 * drawn_vectors([1] * 4, seed=3))
    everybody = np.argsort(-(vectors @ vectors[-1]))[:11]
    assert (labels[everybody] == 0).sum() > 5
    assert not {each.image for each in oddities_of(crowd_of(vectors, labels)).suspects} & rare
    vectors[-1] = drawn_vectors([2], seed=4)[0]
    assert {each.image for each in oddities_of(crowd_of(vectors, labels)).suspects} & rare == {63}


def test_four_files_of_one_picture_are_not_outvoted() -> None:
    """In four series, and the only ones of their label: no other image can tell whether it is right."""
    labels = np.array([0] * OF_LABEL + [1] * 4)
    vectors = drawn_vectors(labels)
    vectors[-4:] = vectors[-1]
    pixels = np.append(np.arange(OF_LABEL), [OF_LABEL] * 4)
    assert oddities_of(crowd_of(vectors, labels, pixels=pixels)).suspects == []


def test_others_of_a_label_share_neither_series_nor_pixels() -> None:
    series, pixels = np.array([0, 0, 1, 1, 2, 0, 9, 9]), np.array([0, 1, 0, 2, 3, 0, 9, 0])
    labels = np.array([4, 4, 4, 4, 4, 4, UNLABELLED, 5])
    crowd = crowd_of(drawn_vectors([0] * 8), labels, series=series, pixels=pixels)
    assert others_alike(crowd).tolist() == [2, 3, 2, 4, 5, 2, 0, 0]


def test_who_has_no_label_is_not_judged_and_does_not_vote() -> None:
    vectors, labels = well_behaved()
    labels[:20] = UNLABELLED
    found = neighbourhood(crowd_of(vectors, labels), rows=slice(20, 30))
    assert set(labels[found.labelled.indices].flat) <= {0, 1, 2, 3}
    assert (found.anyone.indices < 20).any()
    assert oddities_of(crowd_of(vectors, labels)) == ([], [], [])


def test_blocks_find_what_one_block_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(1).integers(0, LABELS, 200)
    vectors = drawn_vectors([*labels, *labels], seed=2)
    crowd = crowd_of(vectors, labels)
    whole = neighbourhood(crowd, rows=slice(0, 200))
    stored = crowd.vectors.astype(np.float32)
    similarities = stored[:200] @ stored.T
    np.fill_diagonal(similarities, -1)
    assert np.array_equal(whole.anyone.indices, np.argsort(-similarities, axis=1)[:, :5])
    monkeypatch.setattr(neighbourhoods, "COLUMNS_AT_ONCE", 7)
    for found, expected in zip(neighbourhood(crowd, rows=slice(0, 200)), whole, strict=True):
        assert np.array_equal(found.indices, expected.indices)
        assert np.allclose(found.similarities, expected.similarities, atol=1e-6)


def test_fewer_than_are_wanted() -> None:
    found = neighbourhood(crowd_of(drawn_vectors([0, 0, 1]), np.array([0, 0, 1])), rows=slice(0, 3))
    assert found.alike.indices.tolist() == [[1, *[NOBODY] * 4], [0, *[NOBODY] * 4], [NOBODY] * 5]
    assert (found.anyone.indices != NOBODY).sum(axis=1).tolist() == [2, 2, 2]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_dataset_of_next_to_nothing(count: int) -> None:
    assert oddities_of(crowd_of(drawn_vectors([0] * count), np.zeros(count, np.int64))) == ([], [], [])


def test_memory_does_not_grow_with_the_crowd() -> None:
    """Of 60,000 images the similarities alone would take 120 MB for these rows."""
    labels = np.random.default_rng(1).integers(0, LABELS, 60_000)
    crowd = crowd_of(drawn_vectors(labels), labels)
    tracemalloc.start()
    neighbourhood(crowd, rows=slice(0, neighbourhoods.ROWS_AT_ONCE))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
