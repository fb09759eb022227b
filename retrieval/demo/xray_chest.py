"""Radiograph phantom of the chest, seen from behind: the heart lies to the right of the picture."""

import math

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.subject import Subject
from retrieval.demo.vessels import branches
from retrieval.demo.xray_common import bone, exposed, paint_marker


def xray_chest(subject: Subject) -> np.ndarray:
    """A frontal chest radiograph, uint8 (256, 256)."""
    density = canvas.blank(0.03)
    wide = subject.near(1.0, by=0.07)
    _paint_trunk(density, subject=subject, wide=wide)
    floor = 0.42 + subject.shift(0.09)
    lungs = texture.blur(canvas.outlines([_lung(side=s, wide=wide, floor=floor) for s in (-1, 1)]), sigma=1.2)
    canvas.paint(
        density, mask=lungs, value=0.17 + subject.shift(0.04) + 0.02 * texture.anatomy_noise(subject, sigma=5.0)
    )
    density += 0.15 * texture.blur(_lung_vessels(subject), sigma=0.9) * lungs
    _paint_findings(density, subject=subject, lungs=lungs, floor=floor)
    _paint_middle(density, subject=subject, floor=floor)
    density += 0.055 * texture.blur(canvas.strokes(_ribs(subject, wide=wide)), sigma=0.7)
    _add_shoulders(density, subject=subject, wide=wide)
    density = texture.bent(density, subject=subject, wobble=0.01)
    paint_marker(density, text="L", at=(0.86, -0.86))
    return exposed(density, subject=subject)


def _paint_trunk(density: np.ndarray, *, subject: Subject, wide: float) -> None:
    half = [(0.14, -1.3), (0.17, -0.95), (0.5, -0.84), (0.95, -0.68), (1.3, -0.4), (1.3, -0.1)]
    flank = [(0.9, -0.12), (0.86, 0.3), (0.88, 1.3)]
    body = canvas.outline(canvas.mirrored([(x * wide, y) for x, y in [*half, *flank]]))
    thick = 0.5 + 0.1 * canvas.ramp(canvas.Y, low=0.1, high=0.6) + subject.shift(0.04)
    canvas.paint(density, mask=texture.blur(body, sigma=1.5), value=thick)
    if subject.has(0.45):
        # The folds of the breasts lie as two lighter arcs over the bases of the lungs.
        for side in (-1, 1):
            breast = canvas.ellipse(at=(side * 0.45 * wide, 0.3), radii=(0.33, 0.26), edge=0.06)
            density += 0.07 * breast


def _lung(*, side: int, wide: float, floor: float) -> list[Point]:
    dome = floor - (0.05 if side < 0 else 0.0)
    outer = [(0.12, -0.72), (0.28, -0.8), (0.44, -0.68), (0.58, -0.36), (0.67, 0.05), (0.7, floor + 0.12)]
    inner = [(0.58, dome + 0.02), (0.36, dome - 0.06), (0.14, dome + 0.02), (0.1, 0.0), (0.09, -0.4)]
    return [(side * wide * x, y) for x, y in [*outer, *inner]]


def _lung_vessels(subject: Subject) -> np.ndarray:
    tree = []
    for side in (-1, 1):
        for angle in (-1.2, -0.6, 0.1, 0.7, 1.15):
            heading = angle if side > 0 else math.pi - angle
            root = (side * 0.12, -0.12 + 0.05 * angle)
            tree += branches(subject, root=root, angle=heading, length=0.2, width=0.03, depth=2)
    return canvas.strokes(tree)


def _paint_middle(density: np.ndarray, *, subject: Subject, floor: float) -> None:
    """Mediastinum and heart, spine behind them, windpipe and what lies below the diaphragm."""
    big = subject.near(1.0, by=0.16) * (1.22 if subject.has(0.2) else 1.0)
    middle = canvas.outline(canvas.mirrored([(0.09, -1.3), (0.1, -0.7), (0.12, -0.4), (0.11, 0.0), (0.16, 0.5)]))
    apex = floor - 0.02
    heart = [(0.1, -0.16), (0.2 * big, -0.08), (0.36 * big, 0.14), (0.44 * big, apex - 0.12), (0.36 * big, apex + 0.03)]
    heart += [(0.1, apex + 0.06), (-0.14 * big, apex), (-0.2 * big, 0.16), (-0.14, -0.02)]
    knob = canvas.ellipse(at=(0.11, -0.36), radii=(0.085, subject.near(0.1, by=0.2)))
    for mask, value in ((middle, 0.6), (knob, 0.58), (canvas.outline(heart), 0.66)):
        canvas.paint(density, mask=0.95 * texture.blur(mask, sigma=1.3), value=value)
    pitch = subject.near(0.125, by=0.05)
    gaps = [Stroke([(-0.07, y), (0.07, y)], 0.02, 0.02) for y in np.arange(-0.95, 0.95, pitch)]
    spine = canvas.strokes([Stroke([(0, -1.2), (0, 0), (0, 1.2)], 0.15, 0.19)])
    density += 0.07 * spine - 0.05 * texture.blur(canvas.strokes(gaps), sigma=0.8)
    airway = [Stroke([(0, -1.2), (0.005, -0.6), (-0.01, -0.3)], 0.075, 0.07)]
    airway += [Stroke([(-0.01, -0.3), (side * 0.1, -0.17)], 0.05, 0.04) for side in (-1, 1)]
    density -= 0.16 * texture.blur(canvas.strokes(airway), sigma=1.2)
    if subject.has(0.6):
        bubble = canvas.ellipse(at=subject.point((0.34, floor + 0.17), reach=0.04), radii=(0.13, 0.07), edge=0.04)
        density -= 0.22 * bubble


def _ribs(subject: Subject, *, wide: float) -> list[Stroke]:
    """Ten pairs: from the spine outwards and down, and the fainter front parts back towards the breastbone."""
    ribs, steep = [], subject.near(0.12, by=0.4)
    for k in range(10):
        y, reach = -0.78 + 0.128 * k, wide * min(0.73, 0.36 + 0.075 * k)
        for side in (-1, 1):
            back = [(0.07, y), (0.5 * reach, y - 0.05), (0.9 * reach, y + 0.04), (reach, y + steep + 0.06)]
            ribs.append(Stroke([(side * a, b) for a, b in back], 0.05, 0.045))
            if k < 7:
                front = [back[-1], (0.86 * reach, y + 0.26), (0.58 * reach, y + 0.38 + steep)]
                ribs.append(Stroke([(side * a, b) for a, b in front], 0.04, 0.03))
    return ribs


def _add_shoulders(density: np.ndarray, *, subject: Subject, wide: float) -> None:
    lift = subject.shift(0.05)
    bones = []
    for side in (-1, 1):
        collar = [(0.08, -0.62), (0.28, -0.68 + lift), (0.5, -0.76 + lift), (0.72, -0.76 + lift)]
        blade = [(0.74, -0.66), (0.68, -0.4), (0.66, -0.1), (0.74, -0.3)]
        bones.append(Stroke([(side * wide * x, y) for x, y in collar], 0.06, 0.055))
        bones.append(Stroke([(side * wide * x, y) for x, y in blade], 0.03, 0.05))
        arm = [(0.83, -0.62), (0.86, -0.58), (0.9, -0.52), (1.0, -0.2), (1.05, 0.1)]
        bones.append(Stroke([(side * wide * x, y) for x, y in arm], 0.17, 0.1))
    density += bone(canvas.strokes(bones), cortex=0.2, marrow=0.13)


def _paint_findings(density: np.ndarray, *, subject: Subject, lungs: np.ndarray, floor: float) -> None:
    """Pneumonia, a pleural effusion, a round shadow: any of them, or none."""
    side = -1 if subject.has(0.5) else 1
    place = subject.point((side * 0.38, 0.02), reach=0.14)
    clouds = 0.5 + 0.35 * texture.anatomy_noise(subject, sigma=4.0)
    if subject.has(0.25):
        density += 0.34 * np.clip(clouds, 0, 1) * canvas.ellipse(at=place, radii=(0.2, 0.19), edge=0.2) * lungs
    if subject.has(0.2):
        level = floor - subject.near(0.18, by=0.5) - 0.25 * np.abs(canvas.X)
        flooded = canvas.ramp(canvas.Y - level, low=-0.04, high=0.08) * (side * canvas.X > 0)
        canvas.paint(density, mask=flooded * lungs, value=0.6)
    if subject.has(0.2):
        size = subject.near(0.06, by=0.4)
        density += 0.22 * canvas.ellipse(at=(place[0], place[1] - 0.3), radii=(size, size), edge=0.04) * lungs
