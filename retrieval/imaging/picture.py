"""A decoded frame as an array, and the arithmetic that both readers share."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

# Large arrays are worked on in strips of this many values, so that float64 copies stay small (8 MB).
STRIP = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One frame. pixels: (H, W) or (H, W, 3) uint8; aspect: height of a pixel over its width."""

    pixels: np.ndarray
    frame_number: int | None = None
    frame_count: int = 1
    aspect: float = 1.0
    attributes: dict[str, str | int | float] = field(default_factory=dict)
    review_reason: str = ""


def chosen_frames(*, count: int, frames: Literal["all", "middle"]) -> range | tuple[int, ...]:
    """Return the 0-based indices to decode."""
    return range(count) if frames == "all" else (count // 2,)


def full_range_levels(values: np.ndarray, *, inverted: bool = False) -> np.ndarray:
    """Scale any real array from its smallest..largest finite value to 0..255 uint8; a constant becomes 0.

    Inverted, the largest value becomes 0.
    """
    lowest, highest = finite_range(values)
    return levels(values, lowest=lowest, highest=highest, inverted=inverted)


def finite_range(values: np.ndarray) -> tuple[float, float]:
    """Return the smallest and largest finite value, (0, 0) when there is none."""
    finite = values if values.dtype.kind in "iub" else values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def levels(values: np.ndarray, *, lowest: float, highest: float, inverted: bool = False) -> np.ndarray:
    """Map lowest..highest to 0..255 uint8, clipped, rounded; not-a-number becomes 0. Same shape as `values`.

    Inverted, they become 255..0.
    """
    flat = values.reshape(-1)
    out = np.zeros(flat.shape, dtype=np.uint8)
    if highest > lowest:
        for start in range(0, flat.size, STRIP):
            part = flat[start : start + STRIP].astype(np.float64)
            scaled = (part / 2 - lowest / 2) / (highest / 2 - lowest / 2) * 255  # halves: the span may overflow
            if inverted:
                scaled = 255 - scaled
            out[start : start + STRIP] = np.rint(np.clip(np.nan_to_num(scaled, nan=0.0, posinf=255.0), 0, 255))
    return out.reshape(values.shape)
