"""Baselines agree with scikit-learn where it computes the same, and hold on pictures whose answer is known."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from training.learning.baselines import frozen_svm, network_knn, pca_knn, raw_pixels
from training.learning.split import stratified_split

LABELS = ["left", "right", "ring"]


def drawn_image(label: str, *, rng: np.random.Generator) -> np.ndarray:
    """One side bright, or a ring, under heavy noise."""
    rows, columns = np.mgrid[:64, :64]
    distance = np.hypot(rows - 32, columns - 32)
    bright = {"left": columns < 32, "right": columns >= 32, "ring": (distance > 12) & (distance < 24)}[label]
    noisy = 60 + 90 * bright + rng.normal(0, 60, (64, 64))
    return np.repeat(noisy.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def drawn_images(count: int, *, seed: int) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    labels = [LABELS[index % 3] for index in range(count)]
    return np.stack([drawn_image(label, rng=rng) for label in labels]), labels


def drawn_features(count: int, *, seed: int, noise: float = 1.2) -> tuple[np.ndarray, list[str]]:
    centres = np.random.default_rng(0).normal(size=(3, 20))
    labels = [LABELS[index % 3] for index in range(count)]
    rows = np.array([centres[LABELS.index(label)] for label in labels])
    return (rows + np.random.default_rng(seed).normal(0, noise, rows.shape)).astype(np.float32), labels


def grey_rows(images: np.ndarray) -> np.ndarray:
    """64x64 pictures whose channels are equal, at half the size by Pillow's filter."""
    small = [Image.fromarray(image[:, :, 0]).resize((32, 32), Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(each, dtype=np.float32).ravel() for each in small])


def cosine_accuracy(train: np.ndarray, train_labels: list[str], test: np.ndarray, test_labels: list[str]) -> float:
    classifier = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(train, train_labels)
    return classifier.score(test, test_labels)


def test_features_are_judged_as_the_nearest_neighbour_of_scikit_learn() -> None:
    (train, train_labels), (test, test_labels) = drawn_features(150, seed=1), drawn_features(60, seed=2)
    judged = network_knn(train, test, train_labels=train_labels, test_labels=test_labels)
    assert judged.accuracy == pytest.approx(cosine_accuracy(train, train_labels, test, test_labels))
    assert 0.5 < judged.accuracy < 1
    assert judged.accuracy == judged.p_at["1"]
    assert (judged.queries, judged.gallery) == (60, 150)


def test_raw_pixels_are_judged_as_the_nearest_neighbour_of_scikit_learn() -> None:
    (train, train_labels), (test, test_labels) = drawn_images(60, seed=1), drawn_images(30, seed=2)
    judged = raw_pixels(train, test, train_labels=train_labels, test_labels=test_labels)
    expected = cosine_accuracy(grey_rows(train), train_labels, grey_rows(test), test_labels)
    assert judged.accuracy == pytest.approx(expected)
    assert judged.accuracy > 0.8


def test_images_may_come_one_at_a_time_and_in_any_size() -> None:
    (train, train_labels), (test, test_labels) = drawn_images(30, seed=1), drawn_images(12, seed=2)
    labels = {"train_labels": train_labels, "test_labels": test_labels}
    for baseline in (raw_pixels, pca_knn):
        at_once = baseline(train, test, **labels)
        streamed = baseline(iter(train), (image for image in test), **labels)
        assert at_once.to_dict() == streamed.to_dict()
    doubled = (image.repeat(2, axis=0).repeat(2, axis=1) for image in train)
    assert raw_pixels(doubled, test, **labels).accuracy > 0.8


def test_principal_components_come_from_the_training_part_alone() -> None:
    (train, train_labels), (test, test_labels) = drawn_images(90, seed=1), drawn_images(30, seed=2)
    test = 255 - test  # far from what was trained on: components fitted on both would differ
    judged = pca_knn(train, test, train_labels=train_labels, test_labels=test_labels)
    pca = PCA(64, svd_solver="full").fit(grey_rows(train))
    rows, queries = pca.transform(grey_rows(train)), pca.transform(grey_rows(test))
    similarities = (queries / np.linalg.norm(queries, axis=1)[:, None]) @ (
        rows / np.linalg.norm(rows, axis=1)[:, None]
    ).T
    relevant = np.array(train_labels)[np.argsort(-similarities, axis=1)[:, :20]] == np.array(test_labels)[:, None]
    assert judged.p_at_20 == pytest.approx(relevant.mean(axis=1))


def test_fewer_images_than_components() -> None:
    (train, train_labels), (test, test_labels) = drawn_images(9, seed=1), drawn_images(6, seed=2)
    judged = pca_knn(train, test, train_labels=train_labels, test_labels=test_labels)
    assert judged.gallery == 9
    assert judged.accuracy > 0.5


def test_a_linear_svm_predicts_where_the_nearest_neighbour_errs() -> None:
    """Two useful columns among twenty that are noise, at other scales: a margin finds them, a distance does not."""
    rng = np.random.default_rng(0)
    labels = [LABELS[index % 2] for index in range(400)]
    rows = np.concatenate([rng.normal(0, 30, (400, 20)), rng.normal(0, 0.3, (400, 2))], axis=1).astype(np.float32)
    rows[::2, 20:] += 1
    parts = {"train_labels": labels[:300], "test_labels": labels[300:]}
    svm, neighbours = (baseline(rows[:300], rows[300:], **parts) for baseline in (frozen_svm, network_knn))
    assert svm.accuracy > 0.9
    assert neighbours.accuracy < 0.7
    assert svm.p_at == neighbours.p_at
    assert svm.counts.diagonal().sum() / 100 == svm.accuracy


def test_the_scale_of_a_feature_does_not_change_what_the_svm_predicts() -> None:
    (train, train_labels), (test, test_labels) = drawn_features(150, seed=1), drawn_features(60, seed=2)
    scales = np.logspace(-3, 3, train.shape[1], dtype=np.float32)
    plain, scaled = (
        frozen_svm(train * each, test * each, train_labels=train_labels, test_labels=test_labels)
        for each in (np.float32(1), scales)
    )
    assert np.array_equal(plain.counts, scaled.counts)
    assert plain.accuracy > 0.9


def test_a_black_image_is_judged_like_any_other() -> None:
    (train, train_labels), (test, test_labels) = drawn_images(30, seed=1), drawn_images(3, seed=2)
    test[0] = 0
    judged = raw_pixels(train, test, train_labels=train_labels, test_labels=test_labels)
    assert judged.queries == 3
    assert np.isfinite(judged.p_at_20).all()


def small_image(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((64, 64)))


@pytest.mark.real
def test_real_images_are_as_easy_as_they_are_known_to_be(real_data: Path) -> None:
    """Pixels alone tell 18 classes apart in most cases, and components rank better than pixels."""
    with (real_data / "archive18" / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels = [row["class"] for row in rows]
    split = stratified_split(labels, groups=[row["patient_group"] for row in rows], seed=0)
    images = np.stack([small_image(real_data / "archive18" / row["file"]) for row in rows])
    train = np.concatenate([split.train, split.validation])
    parts = {"train_labels": [labels[i] for i in train], "test_labels": [labels[i] for i in split.test]}
    pixels, components = (baseline(images[train], images[split.test], **parts) for baseline in (raw_pixels, pca_knn))
    assert pixels.accuracy == pytest.approx(0.96, abs=0.015)
    assert pixels.p_at["20"] == pytest.approx(0.87, abs=0.02)
    assert components.p_at["20"] > pixels.p_at["20"]
