"""Simple ways to do what a trained network does, judged on the same test images: what a network has to beat."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from retrieval.models import Dataset
from retrieval.network.embedder import Embedder
from retrieval.network.execution import best_device, best_dtype, make_block_runner
from retrieval.network.preprocessing import CAFFE, TORCHVISION, Preprocessing, load_image, prepare, preprocessing_for
from retrieval.network.vgg import VGG, build_network, split_at_block, weighted_layers
from retrieval.network.weights import initial_weights
from retrieval.services.sampling import sample
from training.learning import baselines
from training.learning.judging import compute_features
from training.learning.metrics import Judgement
from training.learning.recipe import BLOCKS
from training.services.images import divide
from training.services.judging import MOST_GALLERY, MOST_QUERIES
from training.services.starting import weights_path

T = TypeVar("T")
_BATCH = 32
# Images whose features are in memory at once.
_FEATURES_AT_ONCE = 1024
_DECODERS = 2


class Comparison:
    """The baselines on one dataset, divided, and sampled where it is large, as for a training run of the same seed."""

    def __init__(self, dataset: Dataset, *, seed: int) -> None:
        (images, split), _ = divide(dataset.images.shown(), seed=seed)
        gallery = np.sort(np.concatenate([split.train, split.validation]))
        self._gallery = [images[row] for row in sample(gallery.tolist(), most=MOST_GALLERY)]
        self._queries = [images[row] for row in sample(split.test.tolist(), most=MOST_QUERIES)]
        self._seed = seed

    def judgements(self, *, architecture: str, weights: str, caffe: bool) -> Iterator[tuple[str, Judgement]]:
        """Yield (name, judgement) of each.

        Raises NetworkError for weights that cannot be had or are refused, before any work is done.
        """
        frozen_network = build_network(architecture, classes=2, seed=self._seed)
        blocks, preprocessing = _with_weights(frozen_network, weights=weights, caffe=caffe)
        yield "raw 32 x 32 pixels, 1-NN", self._judged(baselines.raw_pixels, *self._read(_pixels))
        yield "64 principal components, 1-NN", self._judged(baselines.pca_knn, *self._read(_pixels))
        network = build_network(architecture, classes=2, seed=self._seed)
        untrained = Embedder(network, preprocessing=TORCHVISION, projection=None)
        rows = self._read(lambda paths: _features(untrained, paths=paths))
        yield "untrained network, 1-NN", self._judged(baselines.network_knn, *rows)
        if blocks:
            frozen = _FrozenFeatures(frozen_network, blocks=blocks, preprocessing=preprocessing)
            rows = self._read(frozen)
            yield f"first {blocks} blocks averaged, 1-NN", self._judged(baselines.network_knn, *rows)
            yield f"first {blocks} blocks averaged, linear SVM", self._judged(baselines.frozen_svm, *rows)

    def _read(self, reader: Callable[[list[Path]], T]) -> tuple[T, T]:
        gallery, queries = ([Path(image.preview.path) for image in part] for part in (self._gallery, self._queries))
        return reader(gallery), reader(queries)

    def _judged(self, baseline: Callable[..., Judgement], train: T, test: T) -> Judgement:
        labels = {
            "train_labels": [image.label for image in self._gallery],
            "test_labels": [image.label for image in self._queries],
        }
        return baseline(train, test, **labels)


def _pixels(paths: list[Path], *, preprocessing: Preprocessing = TORCHVISION) -> Iterator[np.ndarray]:
    with ThreadPoolExecutor(_DECODERS) as pool:
        # A part at a time: what is decoded ahead of a slow network would not fit into memory.
        for start in range(0, len(paths), _BATCH):
            part = paths[start : start + _BATCH]
            yield from pool.map(lambda path: load_image(path, preprocessing=preprocessing), part)


def _features(embedder: Embedder, *, paths: list[Path]) -> np.ndarray:
    """The dense features, one row for each path, float32: of zeros where the network sees nothing."""
    features = np.zeros((len(paths), embedder.dense_width), dtype=np.float32)
    # A part at a time: the local features, which are as many as the dense ones, are not kept.
    for start in range(0, len(paths), _FEATURES_AT_ONCE):
        found = compute_features(embedder, paths[start : start + _FEATURES_AT_ONCE])
        features[start + found.rows] = found.raw[:, : embedder.dense_width]
    return features


def _with_weights(network: VGG, *, weights: str, caffe: bool) -> tuple[int, Preprocessing]:
    """Load the weights, and return how many of the first blocks they fill, and what input they want."""
    source = weights_path(weights) or weights
    report = initial_weights(network, source=source)  # type: ignore[arg-type]
    names = {id(layer): name for name, layer in weighted_layers(network).items()}
    fresh = report.fresh_layers()
    filled = 0
    for blocks in range(1, BLOCKS + 1):
        frozen, _ = split_at_block(network, blocks=blocks)
        if any(names.get(id(layer)) in fresh for layer in frozen):
            break
        filled = blocks
    return filled, preprocessing_for(source, otherwise=CAFFE if caffe else TORCHVISION)


class _FrozenFeatures:
    """Activations of the first blocks, averaged over the image: (n, channels) float32."""

    def __init__(self, network: VGG, *, blocks: int, preprocessing: Preprocessing) -> None:
        frozen, _ = split_at_block(network, blocks=blocks)
        self._device = best_device()
        self._dtype = best_dtype(self._device)
        self._preprocessing = preprocessing
        self._run = make_block_runner(frozen, device=self._device, dtype=self._dtype)

    def __call__(self, paths: list[Path]) -> np.ndarray:
        rows, batch = [], []
        for pixels in _pixels(paths, preprocessing=self._preprocessing):
            batch.append(pixels)
            if len(batch) == _BATCH:
                rows.append(self._averaged(np.stack(batch)))
                batch = []
        rows += [self._averaged(np.stack(batch))] if batch else []
        return np.concatenate(rows)

    def _averaged(self, pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            images = prepare(pixels, preprocessing=self._preprocessing, device=self._device, dtype=self._dtype)
            return self._run(images).float().mean(dim=(2, 3)).cpu().numpy()
