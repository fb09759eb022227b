"""What all CT phantoms share: Hounsfield units, trunk, spine, table, noise, and the window of the display."""

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.subject import Subject

# Hounsfield units.
AIR, LUNG, FAT, WATER, MUSCLE, LIVER, BONE_MARROW, BONE_CORTEX = -1000.0, -860.0, -100.0, 5.0, 55.0, 70.0, 250.0, 900.0


def windowed(hu: np.ndarray, *, center: float, width: float) -> np.ndarray:
    """Hounsfield units as 8-bit grey under a display window (DICOM PS3.3 C.11.2.1.2, without its half steps)."""
    return texture.to_uint8((hu - center) / width + 0.5)


def scanned(hu: np.ndarray, *, subject: Subject, noise: float, scale: float = 1.0) -> np.ndarray:
    """The slice as reconstructed: posed, grainy, streaked along the thick direction, cut to the round field of view."""
    hu = texture.posed(hu, subject=subject, scale=scale, turn=0.04)
    level = noise * subject.scan.uniform(0.7, 1.3)
    hu = hu + level * texture.smooth_noise(subject.scan, sigma=0.7)
    streaks = texture.smooth_noise(subject.scan, sigma=30.0, sigma_y=0.8)
    hu += 0.45 * level * streaks * np.exp(-((canvas.Y / 0.35) ** 2))
    canvas.paint(hu, mask=1.0 - canvas.ellipse(at=(0, 0), radii=(0.995, 0.995)), value=-2000.0)
    return hu


def paint_bone(hu: np.ndarray, *, mask: np.ndarray, depth: float = 1.6, marrow: float = BONE_MARROW) -> None:
    """Bone as a bright shell around marrow."""
    canvas.paint(hu, mask=mask, value=BONE_CORTEX)
    canvas.paint(hu, mask=texture.core(mask, depth=depth), value=marrow)


def trunk(subject: Subject, *, width: float, height: float) -> list[Point]:
    """The outline of a lying trunk in cross-section: flat at the back, hollow over the spine."""
    w, h = subject.near(width, by=0.06), subject.near(height, by=0.07)
    half = [(0.0, -h), (0.45 * w, -0.95 * h), (0.86 * w, -0.58 * h), (w, 0.0), (0.87 * w, 0.58 * h)]
    return canvas.mirrored([*half, (0.5 * w, 0.93 * h), (0.12 * w, 0.96 * h), (0.0, 0.93 * h)])


def shrunk(points: list[Point], *, by: float, at: Point = (0.0, 0.0)) -> list[Point]:
    """A closed outline drawn in towards a point by the same distance everywhere."""
    away = np.asarray(points) - at
    lengths = np.hypot(away[:, 0], away[:, 1])[:, None]
    return [tuple(p) for p in at + away * (1.0 - by / lengths)]


def paint_table(hu: np.ndarray, *, y: float) -> None:
    """The curved couch under the patient, two thin sheets."""
    for depth, value in ((0.0, 250.0), (0.07, 60.0)):
        sheet = [(-0.9, y - 0.2 + depth), (-0.5, y - 0.03 + depth), (0.0, y + 0.02 + depth)]
        half = [(0.5, y - 0.03 + depth), (0.9, y - 0.2 + depth)]
        canvas.paint(hu, mask=canvas.strokes([Stroke([*sheet, *half], 0.022, 0.022)]), value=value)


def paint_vertebra(hu: np.ndarray, *, at: Point, size: float) -> None:
    """A vertebra from above: body, canal, pedicles, transverse and spinous processes."""
    x, y = at
    arch = [
        Stroke(
            [(x - 0.6 * size, y + 0.5 * size), (x - 0.85 * size, y + 1.25 * size), (x, y + 1.8 * size)], 0.045, 0.05
        ),
        Stroke(
            [(x + 0.6 * size, y + 0.5 * size), (x + 0.85 * size, y + 1.25 * size), (x, y + 1.8 * size)], 0.045, 0.05
        ),
        Stroke([(x - 0.75 * size, y + 1.1 * size), (x - 1.9 * size, y + 1.35 * size)], 0.05, 0.035),
        Stroke([(x + 0.75 * size, y + 1.1 * size), (x + 1.9 * size, y + 1.35 * size)], 0.05, 0.035),
        Stroke([(x, y + 1.7 * size), (x, y + 2.7 * size)], 0.055, 0.03),
    ]
    paint_bone(hu, mask=canvas.strokes(arch), depth=1.2, marrow=450.0)
    canvas.paint(hu, mask=canvas.ellipse(at=(x, y + 1.05 * size), radii=(0.5 * size, 0.42 * size)), value=20.0)
    paint_bone(hu, mask=canvas.ellipse(at=at, radii=(size, 0.78 * size)))


def ribs(subject: Subject, *, ring: list[Point], pairs: int) -> np.ndarray:
    """Ribs cut obliquely by an axial slice: short arcs along the chest wall, mask."""
    wall = canvas.spline(ring, closed=True, steps=20)
    angles = np.arctan2(wall[:, 0], -wall[:, 1])
    wall = wall[np.argsort(angles)]
    angles = np.sort(angles)
    arcs = []
    for k in range(pairs):
        for side in (-1, 1):
            middle = side * (0.6 + (2.75 - 0.6) * k / max(pairs - 1, 1) + subject.shift(0.06))
            half = subject.near(0.13, by=0.3)
            arc = np.linspace(middle - half, middle + half, 5)
            path = [(float(np.interp(a, angles, wall[:, 0])), float(np.interp(a, angles, wall[:, 1]))) for a in arc]
            arcs.append(Stroke(path, 0.045, 0.045))
    return canvas.strokes(arcs)
