"""CT phantom of the kidneys: a coronal slice of the trunk."""

import math

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.ct_common import AIR, FAT, LIVER, LUNG, MUSCLE, WATER, paint_bone, scanned, windowed
from retrieval.demo.subject import Subject
from retrieval.demo.vessels import branches

WINDOW = (60.0, 460.0)
# The bean of a kidney, upright, its hollow towards -x.
BEAN: list[Point] = [(-0.25, -0.9), (0.3, -1.0), (0.75, -0.6), (0.85, 0.0), (0.75, 0.6), (0.3, 1.0), (-0.3, 0.88)]
HILUM: list[Point] = [(-0.5, 0.45), (-0.25, 0.0), (-0.48, -0.45)]


def ct_kidney(subject: Subject) -> np.ndarray:
    """A coronal slice through both kidneys, from the lung bases to the pelvis, uint8 (256, 256)."""
    hu = canvas.blank(AIR)
    waist = subject.near(0.66, by=0.1)
    half = [(0.3, -1.3), (0.74, -1.2), (0.76, -0.6), (waist + 0.02, 0.0), (waist, 0.3), (0.74, 0.75), (0.78, 1.3)]
    canvas.paint(hu, mask=canvas.outline(canvas.mirrored(half)), value=FAT)
    fat = subject.near(0.09, by=0.5)
    wall = canvas.outline(canvas.mirrored([(x - fat, y) for x, y in half]))
    canvas.paint(hu, mask=wall, value=MUSCLE)
    inside = canvas.outline(canvas.mirrored([(x - fat - 0.07, y) for x, y in half]))
    canvas.paint(hu, mask=inside, value=FAT + 8.0 * texture.fractal_noise(subject, sigma=6.0))
    _paint_upper_organs(hu, subject=subject, inside=inside)
    _paint_spine(hu, subject=subject)
    _paint_pelvis(hu, subject=subject)
    paint_bone(hu, mask=_rib_ends(subject, x=waist - fat + 0.02), depth=1.0)
    for side in (-1, 1):
        _paint_kidney(hu, subject=subject, side=side)
    hu = texture.bent(hu, subject=subject, wobble=0.016, sigma=16.0)
    center, width = WINDOW
    return windowed(scanned(hu, subject=subject, noise=15.0), center=center, width=width)


def _paint_upper_organs(hu: np.ndarray, *, subject: Subject, inside: np.ndarray) -> None:
    enhanced = LIVER + 35.0 + subject.shift(25.0)
    lungs = [
        [(side * x, y) for x, y in [(0.1, -1.3), (0.7, -1.3), (0.66, -0.62), (0.4, -0.84), (0.12, -0.74)]]
        for side in (-1, 1)
    ]
    canvas.paint(hu, mask=canvas.outlines(lungs) * inside, value=LUNG)
    liver = canvas.outline([(-0.1, -0.72), (-0.4, -0.84), (-0.68, -0.58), (-0.68, -0.1), (-0.55, 0.02), (-0.34, -0.3)])
    canvas.paint(hu, mask=liver * inside, value=enhanced + 5.0 * texture.fractal_noise(subject, sigma=3.0))
    vessels = branches(subject, root=(-0.22, -0.5), angle=math.pi - 0.35, length=0.15, width=0.03, depth=3)
    canvas.paint(hu, mask=0.5 * canvas.strokes(vessels) * liver * inside, value=enhanced + 70.0)
    spleen = canvas.ellipse(at=subject.point((0.55, -0.56), reach=0.03), radii=(0.1, 0.2), tilt=-0.3)
    canvas.paint(hu, mask=spleen * inside, value=enhanced + 15.0)
    for side in (-1, 1):
        for _ in range(4):
            at = subject.point((side * 0.45, 0.32), reach=0.13)
            bowel = canvas.ellipse(at=at, radii=(subject.near(0.075, by=0.3), subject.near(0.1, by=0.3)))
            canvas.paint(hu, mask=bowel * inside, value=MUSCLE + subject.shift(25.0))
            gas = canvas.ellipse(at=at, radii=(0.03, subject.near(0.045, by=0.4)), edge=0.03)
            canvas.paint(hu, mask=gas * inside, value=-500.0)


def _paint_spine(hu: np.ndarray, *, subject: Subject) -> None:
    psoas = [Stroke([(side * 0.13, -0.15), (side * 0.2, 0.25), (side * 0.36, 0.75)], 0.1, 0.2) for side in (-1, 1)]
    canvas.paint(hu, mask=canvas.strokes(psoas), value=MUSCLE + 8.0)
    canvas.paint(hu, mask=canvas.strokes([Stroke([(0, -1.3), (0, 0.6)], 0.19, 0.24)]), value=85.0)
    pitch, start = subject.near(0.235, by=0.06), subject.shift(0.1)
    bodies = []
    for k in range(8):
        y, w, h = -1.1 + start + k * pitch, 0.085 + 0.005 * k, 0.4 * pitch
        bodies.append(
            [
                (-w, y - h),
                (0, y - 0.9 * h),
                (w, y - h),
                (0.86 * w, y),
                (w, y + h),
                (0, y + 0.9 * h),
                (-w, y + h),
                (-0.86 * w, y),
            ]
        )
    paint_bone(hu, mask=canvas.outlines([b for b in bodies if b[0][1] < 0.62]), depth=1.2)


def _paint_pelvis(hu: np.ndarray, *, subject: Subject) -> None:
    wide = subject.near(0.6, by=0.06)
    wings = [
        [
            (side * x, y)
            for x, y in [(wide, 0.44), (wide + 0.03, 0.56), (0.4, 0.8), (0.3, 1.1), (0.2, 1.1), (0.26, 0.74)]
        ]
        for side in (-1, 1)
    ]
    sacrum = [(-0.18, 0.72), (0.0, 0.68), (0.18, 0.72), (0.1, 1.1), (-0.1, 1.1)]
    paint_bone(hu, mask=canvas.outlines([*wings, sacrum]), depth=1.8)


def _rib_ends(subject: Subject, *, x: float) -> np.ndarray:
    """Ribs cut across in the side walls, mask."""
    step = subject.near(0.17)
    cuts = [
        Stroke(
            [(side * (x + 0.02 - 0.03 * (k - 2) ** 2 / 4), -0.92 + k * step), (side * (x + 0.03), -0.86 + k * step)],
            0.045,
            0.04,
        )
        for k in range(5)
        for side in (-1, 1)
    ]
    return canvas.strokes(cuts)


def _paint_kidney(hu: np.ndarray, *, subject: Subject, side: int) -> None:
    # The right kidney, left in the picture, sits lower: the liver is above it.
    at = subject.point((side * 0.33, -0.1 if side < 0 else -0.2), reach=0.03)
    scale = subject.near(0.24, by=0.12)

    def shape(points: list[Point], *, size: float) -> list[Point]:
        upright = [(side * 0.68 * x, y) for x, y in points]
        return canvas.placed(upright, at=at, scale=size * scale, tilt=-side * 0.22)

    kidney = canvas.outline(shape([*BEAN, *HILUM], size=1.0))
    canvas.paint(hu, mask=canvas.ellipse(at=at, radii=(0.95 * scale, 1.25 * scale), edge=0.06), value=FAT)
    canvas.paint(hu, mask=kidney, value=225.0 + subject.shift(25.0))
    canvas.paint(hu, mask=texture.core(kidney, depth=3.4), value=150.0)
    canvas.paint(hu, mask=texture.blur(canvas.outline(shape([*BEAN, *HILUM], size=0.42)), sigma=1.5), value=FAT + 60.0)
    pelvis = shape([(-1.5, 0.75), (-0.6, 0.1), (0.0, -0.05)], size=0.8)
    calyces = [Stroke([pelvis[1], p], 0.03, 0.045) for p in shape([(0.15, -0.5), (0.3, 0.0), (0.1, 0.5)], size=0.8)]
    canvas.paint(hu, mask=canvas.strokes([Stroke(pelvis, 0.03, 0.06), *calyces]), value=95.0)
    if subject.has(0.3):
        size, cyst = subject.near(0.075, by=0.4), shape([(0.6, 0.55)], size=1.0)[0]
        canvas.paint(hu, mask=canvas.ellipse(at=cyst, radii=(size, size)), value=WATER)
    if subject.has(0.25):
        canvas.paint(hu, mask=canvas.ellipse(at=pelvis[2], radii=(0.03, 0.025)), value=700.0)
