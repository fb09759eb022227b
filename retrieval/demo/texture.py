"""What makes a drawing look like a scan: blur, smooth random fields, bending, and the noise of each modality."""

import math
from functools import lru_cache

import numpy as np

from retrieval.demo.canvas import SIZE, X, Y, ramp
from retrieval.demo.subject import Subject


@lru_cache(maxsize=64)
def _gaussian(sigma: float) -> np.ndarray:
    """The blur of one axis as a matrix, float32 (256, 256); its rows sum to 1, so borders do not darken."""
    offsets = np.arange(SIZE)[:, None] - np.arange(SIZE)[None, :]
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    return (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)


def blur(image: np.ndarray, *, sigma: float, sigma_y: float | None = None) -> np.ndarray:
    """A Gaussian blur, sigma in pixels (along x, and along y where that differs)."""
    return _gaussian(sigma_y or sigma) @ image @ _gaussian(sigma).T


def smooth_noise(rng: np.random.Generator, *, sigma: float, sigma_y: float | None = None) -> np.ndarray:
    """A random field of mean 0 and deviation 1 whose grains are about sigma pixels wide."""
    field = blur(rng.standard_normal((SIZE, SIZE), dtype=np.float32), sigma=sigma, sigma_y=sigma_y)
    return (field - field.mean()) / (field.std() + 1e-6)


def anatomy_noise(subject: Subject, *, sigma: float, sigma_y: float | None = None) -> np.ndarray:
    """A smooth field that is nearly the same in all images of a patient: gyri, gland, trabeculae."""
    own = smooth_noise(subject.body, sigma=sigma, sigma_y=sigma_y)
    return 0.95 * own + 0.31 * smooth_noise(subject.scan, sigma=sigma, sigma_y=sigma_y)


def fractal_noise(subject: Subject, *, sigma: float, octaves: int = 3) -> np.ndarray:
    """Anatomy noise on several scales, each half as wide and as strong as the one before; deviation about 1."""
    layers = [anatomy_noise(subject, sigma=sigma / 2**n) / 2**n for n in range(octaves)]
    return sum(layers) / math.sqrt(sum(0.25**n for n in range(octaves)))


def core(mask: np.ndarray, *, depth: float) -> np.ndarray:
    """The mask without a rim of about `depth` pixels: marrow inside cortex, white matter inside grey."""
    return ramp(blur(mask, sigma=depth), low=0.62, high=0.92)


def sample(image: np.ndarray, *, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The image read at other places (coordinates -1..1), bilinear; beyond the border the border repeats."""
    column = np.clip((x + 1.0) * ((SIZE - 1) / 2), 0, SIZE - 1.001)
    row = np.clip((y + 1.0) * ((SIZE - 1) / 2), 0, SIZE - 1.001)
    j, i = column.astype(np.int32), row.astype(np.int32)
    u, v = column - j, row - i
    flat, start = image.ravel(), i * SIZE + j
    top = flat[start] * (1 - u) + flat[start + 1] * u
    return top * (1 - v) + (flat[start + SIZE] * (1 - u) + flat[start + SIZE + 1] * u) * v


def bent(image: np.ndarray, *, subject: Subject, wobble: float, sigma: float = 22.0) -> np.ndarray:
    """The drawing bent by the patient's own smooth field, so that no organ stays a perfect ellipse."""
    dx, dy = (wobble * anatomy_noise(subject, sigma=sigma) for _ in "xy")
    return sample(image, x=X + dx, y=Y + dy)


def posed(
    image: np.ndarray,
    *,
    subject: Subject,
    scale: float = 1.0,
    turn: float = 0.06,
    zoom: float = 0.05,
    move: float = 0.05,
) -> np.ndarray:
    """The drawing at this scale as positioned in this image: turned (radians), zoomed and moved by up to so much."""
    angle, scale = subject.scan.uniform(-turn, turn), scale * (1.0 + subject.scan.uniform(-zoom, zoom))
    right, down = subject.scan.uniform(-move, move, size=2)
    cos, sin = np.float32(math.cos(angle) / scale), np.float32(math.sin(angle) / scale)
    dx, dy = X - np.float32(right), Y - np.float32(down)
    return sample(image, x=cos * dx + sin * dy, y=cos * dy - sin * dx)


def rician(signal: np.ndarray, *, subject: Subject, level: float) -> np.ndarray:
    """Magnitude noise of MRI: Gaussian in both channels, so that air is dark grey and never negative."""
    real, imaginary = level * subject.scan.standard_normal((2, SIZE, SIZE), dtype=np.float32)
    return np.hypot(signal + real, imaginary)


def bias_field(subject: Subject, *, strength: float) -> np.ndarray:
    """The slow shading of a receive coil, around 1."""
    return np.exp(strength * smooth_noise(subject.scan, sigma=60.0))


def poisson(activity: np.ndarray, *, subject: Subject, counts: float) -> np.ndarray:
    """Counting noise: `counts` events in a pixel of activity 1."""
    return subject.scan.poisson(np.clip(activity, 0.0, None) * counts).astype(np.float32) / counts


def speckle(subject: Subject, *, along: float, across: float) -> np.ndarray:
    """The interference pattern of ultrasound: Rayleigh-distributed, mean 1, grains in pixels along and across."""
    waves = [smooth_noise(subject.scan, sigma=along, sigma_y=across) for _ in range(2)]
    return np.hypot(*waves) / math.sqrt(math.pi / 2)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Brightness 0..1 as 8-bit pixels; beyond that it saturates."""
    return np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
