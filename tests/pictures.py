"""Drawn pictures, different for each seed."""

import io

import numpy as np
from PIL import Image, ImageDraw


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


def striped_pixels(seed: int, *, upright: bool) -> np.ndarray:
    """uint8 (96, 96): stripes of one of two directions, with a shift and a noise of their own for each seed."""
    rows = (np.arange(96) + 3 * seed) // 12 % 2 * 200
    grid = np.repeat(rows[:, None], 96, axis=1)
    noise = np.random.default_rng(seed).integers(0, 40, (96, 96))
    return ((grid.T if upright else grid) + noise).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()
