"""What a trained network is compared with: simple ways to rank and to predict, judged alike.

Each takes `train` and `test` with their labels, ranks the training images for each test image by cosine similarity,
and predicts the nearest one's label where nothing else is said.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import LinearSVC

from training.learning.metrics import Judgement, judge, nearest

SIDE = 32
PRINCIPAL_COMPONENTS = 64


def raw_pixels(
    train: Iterable[np.ndarray],
    test: Iterable[np.ndarray],
    *,
    train_labels: Sequence[str],
    test_labels: Sequence[str],
) -> Judgement:
    """Judge the pixels of 32x32 grey images. `train` and `test` give uint8 RGB images (h, w, 3), one at a time."""
    return network_knn(_small(train), _small(test), train_labels=train_labels, test_labels=test_labels)


def pca_knn(
    train: Iterable[np.ndarray],
    test: Iterable[np.ndarray],
    *,
    train_labels: Sequence[str],
    test_labels: Sequence[str],
) -> Judgement:
    """Judge the first 64 principal components, of the training images alone, of what `raw_pixels` compares."""
    pixels = _small(train)
    # Exact and without chance, since the covariance of 1,024 pixels is small.
    pca = PCA(min(PRINCIPAL_COMPONENTS, len(pixels)), svd_solver="covariance_eigh").fit(pixels)
    rows = (pca.transform(part).astype(np.float32) for part in (pixels, _small(test)))
    return network_knn(*rows, train_labels=train_labels, test_labels=test_labels)


def frozen_svm(
    train: np.ndarray, test: np.ndarray, *, train_labels: Sequence[str], test_labels: Sequence[str]
) -> Judgement:
    """Judge features (n, w) float32: a linear SVM on them, standardised, predicts; the features themselves rank."""
    # Standardised rows have a squared norm of their width, so C falls with it. On features 4,096 wide the default of 1
    # takes longer, ends unconverged and predicts no better.
    svm = make_pipeline(
        StandardScaler(), LinearSVC(C=64 / train.shape[1], tol=1e-3, max_iter=5000, dual=True, random_state=0)
    )
    predicted = svm.fit(train, train_labels).predict(test)
    return _judged(train, test, train_labels=train_labels, test_labels=test_labels, predicted=predicted.tolist())


def network_knn(
    train: np.ndarray, test: np.ndarray, *, train_labels: Sequence[str], test_labels: Sequence[str]
) -> Judgement:
    """Judge features (n, w) float32 of any network, by their nearest neighbours alone."""
    return _judged(train, test, train_labels=train_labels, test_labels=test_labels, predicted=None)


def _small(images: Iterable[np.ndarray]) -> np.ndarray:
    """Return rows (n, 1024) float32, 0..1."""
    rows = [_small_row(image) for image in images]
    return np.stack(rows).astype(np.float32) / 255


def _small_row(image: np.ndarray) -> np.ndarray:
    grey = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(grey).reshape(-1)


def _judged(
    train: np.ndarray,
    test: np.ndarray,
    *,
    train_labels: Sequence[str],
    test_labels: Sequence[str],
    predicted: Sequence[str] | None,
) -> Judgement:
    # A row without a direction, such as a black image, stays zero: as similar to one image as to another.
    neighbours = nearest(normalize(test), normalize(train))
    if predicted is None:
        predicted = [train_labels[index] for index in neighbours.indices[:, 0]]
    return judge(query_labels=test_labels, gallery_labels=train_labels, neighbours=neighbours, predicted=predicted)
