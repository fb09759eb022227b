"""The one way from pixels to embeddings: for indexing, for queries and for evaluation."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch

from retrieval.network.errors import DegenerateEmbedding, PreviewUnreadable
from retrieval.network.execution import Precision, best_device, best_dtype, make_runner
from retrieval.network.preprocessing import Preprocessing, load_image, prepare
from retrieval.network.projection import EMBEDDING_DIMENSION, Projection, l2_normalised
from retrieval.network.version_file import LoadedVersion, load_version
from retrieval.network.vgg import VGG

BATCH_SIZE = 16
NOTHING_TO_COMPARE = "The network finds nothing to compare in this image."
# Decoding beside the forward pass saves 1 to 6 %, the more the larger the previews; a third thread saves no more.
_DECODERS = 2


class EmbeddedBatch(NamedTuple):
    """`vectors` (n, w) float32, one row for each preview; `refusals` are reasons by row, and those rows are zero."""

    vectors: np.ndarray
    refusals: dict[int, str]


class Embedder:
    """Computes features and embeddings of one model version. Holds the weights in the form its device computes with.

    The same image gives the same vector alone and in a batch up to rounding in the dense layers: a cosine distance
    below 1e-4 in bfloat16 and below 1e-6 in float32. Without a `projection` it computes features only, which is how
    the projection of a new version gets its sample.
    """

    def __init__(
        self,
        network: VGG,
        *,
        preprocessing: Preprocessing,
        projection: Projection | None,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> None:
        self.dense_width = network.architecture.dense_width
        self.raw_width = network.architecture.width
        # Versions of before local features compare images by the dense ones alone.
        self.width = projection.mean.size if projection else network.architecture.width
        self.preprocessing = preprocessing
        self.projection = projection
        self.device = best_device() if device == "auto" else torch.device(device)
        self.dtype = best_dtype(self.device, precision=precision)
        with torch.inference_mode():
            self._run = make_runner(network, device=self.device, dtype=self.dtype)

    @classmethod
    def load(cls, path: Path, *, device: str = "auto", precision: Precision = "auto") -> Self:
        """Return the Embedder of a saved version, warmed up. Raises WeightsRefused."""
        embedder = cls.of(load_version(path), device=device, precision=precision)
        embedder.warm_up()
        return embedder

    @classmethod
    def of(cls, version: LoadedVersion, *, device: str = "auto", precision: Precision = "auto") -> Self:
        """Return the Embedder of a version that is loaded already."""
        return cls(
            version.network,
            preprocessing=version.preprocessing,
            projection=version.projection,
            device=device,
            precision=precision,
        )

    def warm_up(self) -> None:
        """Run one image, so that the first query does not pay for kernels and memory that are set up at first use."""
        self._raw_features(np.zeros((1, self.preprocessing.size, self.preprocessing.size, 3), dtype=np.uint8))

    def features(self, batch: np.ndarray) -> np.ndarray:
        """Return (n, width) float32, L2-normalised, of uint8 RGB images (n, 224, 224, 3) as load_image makes them.

        Raises ValueError for other shapes and types, DegenerateEmbedding with rows that have no direction.
        """
        return self.comparable(self._raw_features(batch))

    def embed(self, batch: np.ndarray) -> np.ndarray:
        """Return the embeddings (n, 512), float32, L2-normalised; arguments and errors as `features`."""
        return self.project(self._raw_features(batch))

    def embed_images(
        self, previews: Iterable[bytes | Path], *, batch_size: int = BATCH_SIZE
    ) -> Iterator[EmbeddedBatch]:
        """Yield the embeddings of the previews in order, `batch_size` at a time.

        A preview that cannot be read or has no direction is refused by itself and does not end the work on the others.
        Threads decode the next batch while this one is computed; `previews` itself is read in the caller's thread.
        """
        return self._in_batches(previews, size=batch_size, finish=self.project, width=EMBEDDING_DIMENSION)

    def normalised_features(self, previews: Iterable[bytes | Path], *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Return the features (n, width), float32, L2-normalised, of the previews that are not refused, in order."""
        batches = self._in_batches(previews, size=batch_size, finish=self.comparable, width=self.width)
        sound = [np.delete(batch.vectors, list(batch.refusals), axis=0) for batch in batches]
        return np.concatenate(sound) if sound else np.zeros((0, self.width), dtype=np.float32)

    def raw_features(
        self, previews: Iterable[bytes | Path], *, batch_size: int = BATCH_SIZE
    ) -> Iterator[EmbeddedBatch]:
        """Yield the features as the network gives them, not normalised, float32: `dense_width`, then the local ones."""
        return self._in_batches(previews, size=batch_size, finish=self._with_direction, width=self.raw_width)

    def comparable(self, raw: np.ndarray) -> np.ndarray:
        """Return what images are compared by, (n, width) float32, of raw features: each row of length 1.

        Dense and local features are equally long in it. Raises DegenerateEmbedding with the rows whose dense features
        have no direction; where all have one, with those whose local features have none.
        """
        dense = l2_normalised(raw[:, : self.dense_width])
        if self.width == self.dense_width:
            return dense
        return np.concatenate([dense, l2_normalised(raw[:, self.dense_width :])], axis=1) / np.float32(np.sqrt(2))

    def project(self, raw: np.ndarray) -> np.ndarray:
        """Return the embeddings (n, 512), float32, L2-normalised, of raw features. Raises DegenerateEmbedding."""
        if self.projection is None:
            raise ValueError("This embedder has no projection: it computes features only.")
        return self.projection.project(self.comparable(raw))

    def _with_direction(self, raw: np.ndarray) -> np.ndarray:
        """The same rows; raises DegenerateEmbedding as the other ways to finish do."""
        self.comparable(raw)
        return raw

    def _raw_features(self, batch: np.ndarray) -> np.ndarray:
        if len(batch) == 0:
            return np.zeros((0, self.raw_width), dtype=np.float32)
        with torch.inference_mode():
            images = prepare(batch, preprocessing=self.preprocessing, device=self.device, dtype=self.dtype)
            return self._run(images).float().cpu().numpy()

    def _in_batches(
        self,
        previews: Iterable[bytes | Path],
        *,
        size: int,
        finish: Callable[[np.ndarray], np.ndarray],
        width: int,
    ) -> Iterator[EmbeddedBatch]:
        with ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode") as pool:
            for decoding in _decoded_ahead(previews, pool=pool, size=size, preprocessing=self.preprocessing):
                images, refusals = _collected(decoding)
                features = self._raw_features(np.stack(list(images.values()))) if images else np.empty((0, 0))
                found = dict(zip(images, features, strict=True))
                yield _finished(found, refusals=refusals, finish=finish, shape=(len(decoding), width))


def _decoded_ahead(
    previews: Iterable[bytes | Path], *, pool: ThreadPoolExecutor, size: int, preprocessing: Preprocessing
) -> Iterator[list[Future[np.ndarray]]]:
    """Yield batches that are being decoded, always with the next batch submitted already."""
    waiting: deque[list[Future[np.ndarray]]] = deque()
    remaining = iter(previews)
    while batch := [pool.submit(load_image, each, preprocessing=preprocessing) for each in islice(remaining, size)]:
        waiting.append(batch)
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def _collected(decoding: list[Future[np.ndarray]]) -> tuple[dict[int, np.ndarray], dict[int, str]]:
    """Wait for a batch: the images by row, and the reasons of those that cannot be read."""
    images: dict[int, np.ndarray] = {}
    refusals: dict[int, str] = {}
    for row, future in enumerate(decoding):
        try:
            images[row] = future.result()
        except PreviewUnreadable as error:
            refusals[row] = error.reason
    return images, refusals


def _finished(
    features: dict[int, np.ndarray],
    *,
    refusals: dict[int, str],
    finish: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, int],
) -> EmbeddedBatch:
    """Apply `finish` to the features by row; where it refuses rows, note them and go on with the others."""
    vectors = np.zeros(shape, dtype=np.float32)
    if not features:
        return EmbeddedBatch(vectors, refusals)
    rows = list(features)
    try:
        vectors[rows] = finish(np.stack(list(features.values())))
    except DegenerateEmbedding as error:
        refused = {rows[index]: NOTHING_TO_COMPARE for index in error.rows}
        sound = {row: each for row, each in features.items() if row not in refused}
        return _finished(sound, refusals=refusals | refused, finish=finish, shape=shape)
    return EmbeddedBatch(vectors, refusals)
