"""A narrow network, its saved version and drawn pictures; the full network is built once for all tests."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from retrieval.network.embedder import Embedder
from retrieval.network.preprocessing import TORCHVISION
from retrieval.network.projection import Projection, fit_projection
from retrieval.network.version_file import save_version
from retrieval.network.vgg import VGG, build_network

CLASSES = ("chest", "hand", "head")


def drawn_pixels(seed: int, *, width: int = 320, height: int = 240) -> np.ndarray:
    """A grey picture (height, width) uint8: a few soft ellipses, different for each seed."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (width, height), int(rng.integers(0, 60)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, w, h = rng.integers(0, width), rng.integers(0, height), *rng.integers(10, 150, 2)
        draw.ellipse((x, y, x + w, y + h), fill=int(rng.integers(0, 256)))
    noisy = np.asarray(image).astype(float) + rng.normal(0, 4, (height, width))
    return noisy.clip(0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


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
    return fit_projection(np.zeros((0, 512), dtype=np.float32))


@pytest.fixture
def version_path(tmp_path: Path, narrow: VGG, projection: Projection) -> Path:
    path = tmp_path / "version.safetensors"
    save_version(path, network=narrow, preprocessing=TORCHVISION, projection=projection, classes=CLASSES)
    return path


@pytest.fixture
def embedder(version_path: Path) -> Embedder:
    return Embedder.load(version_path, device="cpu")
