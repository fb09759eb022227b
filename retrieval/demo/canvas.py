"""Shapes as soft masks: ellipses, closed splines and tapering strokes on one fixed grid.

Coordinates run from -1 to 1, x to the right and y downwards. A mask is float32 (256, 256) in 0..1. Shapes are drawn
in a canonical pose; `texture.posed` then moves and bends the finished drawing as a whole.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 256
# Splines are rasterised at twice the size and averaged: Pillow draws without anti-aliasing.
OVERSAMPLING = 2

Point = tuple[float, float]
Y, X = (axis.astype(np.float32) for axis in np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j])


class Stroke(NamedTuple):
    """An open curve through `points`, `start` wide at its beginning and `end` wide at its end."""

    points: Sequence[Point]
    start: float
    end: float


def blank(value: float = 0.0) -> np.ndarray:
    """An empty drawing, float32 (256, 256)."""
    return np.full((SIZE, SIZE), value, dtype=np.float32)


def paint(canvas: np.ndarray, *, mask: np.ndarray, value: float | np.ndarray) -> None:
    """Cover the drawing with a value where the mask is 1, in place; soft edges blend."""
    canvas += mask * (value - canvas)


def ramp(values: np.ndarray, *, low: float, high: float) -> np.ndarray:
    """0 below low, 1 above high, a smooth step between them (reversed where low > high)."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def radius(*, at: Point, radii: Point, tilt: float = 0.0) -> np.ndarray:
    """How far out each pixel lies, in units of the ellipse: 0 in its middle, 1 on its border. Tilt in radians."""
    cos, sin = math.cos(tilt), math.sin(tilt)
    dx, dy = X - at[0], Y - at[1]
    return np.hypot((cos * dx + sin * dy) / radii[0], (cos * dy - sin * dx) / radii[1])


def ellipse(*, at: Point, radii: Point, tilt: float = 0.0, edge: float = 0.016) -> np.ndarray:
    """A filled ellipse; its border fades over `edge`."""
    inside = (1.0 - radius(at=at, radii=radii, tilt=tilt)) * min(radii)
    return np.clip(0.5 + inside / edge, 0.0, 1.0)


def spline(points: Sequence[Point], *, closed: bool, steps: int = 10) -> np.ndarray:
    """A Catmull-Rom curve through the points, float (n, 2)."""
    knots = np.asarray(points, dtype=float)
    if closed:
        knots = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        knots = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    before, start, end, after = knots[:-3, None], knots[1:-2, None], knots[2:-1, None], knots[3:, None]
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[None, :, None]
    curve = start + 0.5 * t * (
        end - before + t * (2 * before - 5 * start + 4 * end - after + t * (3 * (start - end) + after - before))
    )
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, knots[-2:-1]])


def mirrored(half: Sequence[Point], *, axis: float = 0.0) -> list[Point]:
    """A symmetric closed outline from its right half, given from top to bottom."""
    return [*half, *((2 * axis - x, y) for x, y in reversed(half))]


def flipped(points: Sequence[Point]) -> list[Point]:
    """The same points on the other side of the midline."""
    return [(-x, y) for x, y in points]


def placed(points: Sequence[Point], *, at: Point, scale: float | Point = 1.0, tilt: float = 0.0) -> list[Point]:
    """The points scaled, turned and moved, for a shape that is used more than once."""
    sx, sy = (scale, scale) if isinstance(scale, int | float) else scale
    cos, sin = math.cos(tilt), math.sin(tilt)
    return [(at[0] + cos * sx * x - sin * sy * y, at[1] + sin * sx * x + cos * sy * y) for x, y in points]


def outline(points: Sequence[Point]) -> np.ndarray:
    """A filled closed spline through the points."""
    return outlines([points])


def outlines(shapes: Iterable[Sequence[Point]]) -> np.ndarray:
    """The union of several filled closed splines: one raster for all of them."""
    sheet, pen = _sheet()
    for points in shapes:
        pen.polygon([tuple(p) for p in _to_pixels(spline(points, closed=True))], fill=255)
    return _to_mask(sheet)


def strokes(paths: Iterable[Stroke]) -> np.ndarray:
    """The union of tapering curves with round ends: vessels, ribs, sutures."""
    sheet, pen = _sheet()
    for path in paths:
        _draw_stroke(pen, path=path)
    return _to_mask(sheet)


def lettering(text: str, *, at: Point, height: int = 18) -> np.ndarray:
    """A burnt-in marker such as the L of a radiograph, as a mask."""
    sheet = Image.new("L", (SIZE, SIZE))
    font = ImageFont.load_default(size=height)
    ImageDraw.Draw(sheet).text(tuple((np.add(at, 1.0)) * SIZE / 2), text, fill=255, font=font, anchor="mm")
    return np.asarray(sheet, dtype=np.float32) / 255.0


def _sheet() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    sheet = Image.new("L", (SIZE * OVERSAMPLING, SIZE * OVERSAMPLING))
    return sheet, ImageDraw.Draw(sheet)


def _to_pixels(points: np.ndarray) -> np.ndarray:
    return (points + 1.0) * (SIZE * OVERSAMPLING / 2)


def _to_mask(sheet: Image.Image) -> np.ndarray:
    return np.asarray(sheet.reduce(OVERSAMPLING), dtype=np.float32) / np.float32(255.0)


def _draw_stroke(pen: ImageDraw.ImageDraw, *, path: Stroke) -> None:
    curve = _to_pixels(spline(path.points, closed=False, steps=5))
    widths = np.linspace(path.start, path.end, len(curve)) * SIZE * OVERSAMPLING / 2
    for (x0, y0), (x1, y1), width in zip(curve[:-1], curve[1:], widths[1:], strict=True):
        pen.line((x0, y0, x1, y1), fill=255, width=max(1, round(width)))
    for (x, y), width in zip(curve, widths, strict=True):
        # A dot at each joint closes the wedge that Pillow leaves between two thick lines, and rounds the ends.
        if width > 3:
            r = width / 2
            pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
