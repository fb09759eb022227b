"""Mammography phantom: one breast in the oblique or the craniocaudal view, at the edge of a black film."""

import math

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.subject import Subject


def mammography(subject: Subject) -> np.ndarray:
    """A left or right mammogram, chest wall at the edge of the picture, uint8 (256, 256)."""
    side, oblique, size = -1 if subject.has(0.5) else 1, subject.has(0.6), subject.near(1.0, by=0.17)
    nipple = (-1.0 + 1.42 * size, 0.24 if oblique else 0.0)
    breast = canvas.outline(_outline(nipple=nipple, oblique=oblique, size=size))
    film = canvas.blank()
    depth = texture.blur(breast, sigma=8.0)
    canvas.paint(film, mask=texture.blur(breast, sigma=1.0), value=0.16 + 0.18 * depth + subject.shift(0.04))
    film += 0.12 * np.clip(breast - texture.core(breast, depth=1.3), 0, 1)
    inside = texture.core(breast, depth=4.0)
    film += _gland(subject, nipple=nipple, size=size) * inside
    if oblique:
        _paint_pectoral(film, subject=subject)
    _add_findings(film, subject=subject, nipple=nipple, size=size, inside=inside)
    film = texture.bent(film, subject=subject, wobble=0.012)[:, ::side]
    # No turn: the edge of the film is the chest wall.
    film = texture.posed(film, subject=subject, turn=0.03, move=0.02)
    text = f"{'L' if side > 0 else 'R'} {'MLO' if oblique else 'CC'}"
    canvas.paint(film, mask=canvas.lettering(text, at=(side * 0.68, -0.86), height=16), value=0.9)
    grain = texture.smooth_noise(subject.scan, sigma=0.6) * subject.scan.uniform(0.6, 1.3)
    return texture.to_uint8(film * subject.near(1.05, by=0.1) + 0.012 * grain)


def _outline(*, nipple: Point, oblique: bool, size: float) -> list[Point]:
    x, y = nipple
    tip = [(x - 0.06, y - 0.1), (x, y - 0.035), (x + 0.02, y), (x, y + 0.035), (x - 0.06, y + 0.1)]
    if oblique:
        top = [(-1.4, -1.4), (-0.35 * size, -1.4), (-0.3 * size, -0.85), (x - 0.4 * size, -0.36)]
    else:
        top = [(-1.4, -0.98 * size), (-1.0, -0.9 * size), (-0.45, -0.76 * size), (x - 0.3, -0.42 * size)]
    low = 0.95 if oblique else 0.9 * size
    return [*top, *tip, (x - 0.28, y + 0.36), (-0.4, 0.84 * low), (-1.0, low), (-1.4, low)]


def _gland(subject: Subject, *, nipple: Point, size: float) -> np.ndarray:
    """Density of gland and ducts: a cone that opens from the nipple towards the chest wall."""
    x, y = nipple
    away, along = np.hypot(canvas.X - x, canvas.Y - y), x - canvas.X
    cone = canvas.ramp(np.abs(canvas.Y - y + 0.12 * along) / (0.1 + 0.5 * along.clip(0)), low=1.15, high=0.6)
    cone *= canvas.ramp(away, low=1.15 * size, high=0.6 * size)
    amount = subject.shift(0.9)
    lobes = canvas.ramp(texture.fractal_noise(subject, sigma=9.0) + amount, low=-0.9, high=1.5)
    threads = np.exp(-((texture.anatomy_noise(subject, sigma=3.5, sigma_y=2.0) / 0.3) ** 2))
    ducts = []
    for k in range(9):
        angle = math.pi + 0.12 * (k - 4) + subject.shift(0.05)
        length = subject.near(0.6 * size, by=0.3)
        path = [(x + r * math.cos(angle) * length, y + r * math.sin(angle) * length * 1.3) for r in (0.05, 0.5, 1.0)]
        ducts.append(Stroke(path, 0.014, 0.03))
    return cone * (0.3 * lobes + 0.07 * threads) + 0.08 * texture.blur(canvas.strokes(ducts), sigma=1.0)


def _paint_pectoral(film: np.ndarray, *, subject: Subject) -> None:
    wide = subject.near(0.62, by=0.2)
    muscle = [
        (-1.5, -1.5),
        (-0.9 + wide, -1.5),
        (-0.98 + wide, -0.9),
        (-1.1 + 0.6 * wide, -0.2),
        (-1.04, 0.4),
        (-1.5, 0.6),
    ]
    fibres = texture.smooth_noise(subject.body, sigma=3.0, sigma_y=12.0)
    canvas.paint(film, mask=0.85 * texture.blur(canvas.outline(muscle), sigma=1.5), value=0.62 + 0.02 * fibres)


def _add_findings(film: np.ndarray, *, subject: Subject, nipple: Point, size: float, inside: np.ndarray) -> None:
    """A smooth or spiculated mass, a cluster of microcalcifications, a calcified vessel: any of them, or none."""
    at = subject.point((nipple[0] - 0.6 * size, nipple[1] - 0.05), reach=0.2 * size)
    big = subject.near(0.085, by=0.4)
    if subject.has(0.4):
        mass = canvas.ellipse(at=at, radii=(big, 0.85 * big), tilt=subject.shift(1.0), edge=0.04)
        film += 0.36 * mass * inside
        if subject.has(0.5):
            rays = [(a, big * subject.near(2.0, by=0.3)) for a in np.arange(0.0, 6.2, 0.5)]
            spikes = [Stroke([at, (at[0] + r * math.cos(a), at[1] + r * math.sin(a))], 0.03, 0.006) for a, r in rays]
            film += 0.17 * canvas.strokes(spikes) * inside
    if subject.has(0.35):
        dots = [subject.point((at[0] + 0.15, at[1] + 0.1), reach=0.08) for _ in range(14)]
        film += 0.55 * canvas.strokes([Stroke([p, (p[0] + 0.006, p[1])], 0.014, 0.014) for p in dots]) * inside
    course = [subject.point((nipple[0] - 0.2 - 0.28 * k, nipple[1] - 0.22 - 0.1 * k), reach=0.05) for k in range(5)]
    film += 0.1 * texture.blur(canvas.strokes([Stroke(course, 0.014, 0.026)]), sigma=0.6) * inside
