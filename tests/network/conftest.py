"""A narrow network and its saved version; the full network is built once for all tests."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.network.architectures import ARCHITECTURES
from retrieval.network.embedder import Embedder
from retrieval.network.preprocessing import TORCHVISION
from retrieval.network.projection import Projection, fit_projection
from retrieval.network.version_file import save_version
from retrieval.network.vgg import VGG, build_network
from tests.pictures import drawn_pixels

CLASSES = ("chest", "hand", "head")


def batch_of(count: int, *, seed: int = 0) -> np.ndarray:
    """uint8 RGB (count, 224, 224, 3)."""
    greys = [drawn_pixels(seed + each, width=224, height=224) for each in range(count)]
    return np.repeat(np.stack(greys)[..., None], 3, axis=3)


@pytest.fixture(scope="session")
def published() -> VGG:
    """The full network, in evaluation mode. Tests do not change it."""
    return build_network("published", classes=18, seed=1).eval()


@pytest.fixture
def narrow() -> VGG:
    return build_network("narrow", classes=len(CLASSES), seed=1).eval()


@pytest.fixture(scope="session")
def projection() -> Projection:
    return fit_projection(np.zeros((0, ARCHITECTURES["narrow"].width), dtype=np.float32))


@pytest.fixture(scope="session")
def dense_projection() -> Projection:
    """That of a version of before local features."""
    return fit_projection(np.zeros((0, ARCHITECTURES["narrow"].dense_width), dtype=np.float32))


@pytest.fixture
def version_path(tmp_path: Path, narrow: VGG, projection: Projection) -> Path:
    path = tmp_path / "version.safetensors"
    save_version(path, network=narrow, preprocessing=TORCHVISION, projection=projection, classes=CLASSES)
    return path


@pytest.fixture
def embedder(version_path: Path) -> Embedder:
    return Embedder.load(version_path, device="cpu")
