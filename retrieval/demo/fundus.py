"""Fundus phantom: the back of the eye in colour, disc, vessels and macula inside the round mask of the camera."""

from functools import partial
from itertools import pairwise

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.subject import Subject
from retrieval.demo.vessels import branches

Colour = tuple[float, float, float]
VEIN, ARTERY, BLOOD, EXUDATE, MACULA = (
    (0.4, 0.08, 0.05),
    (0.58, 0.16, 0.08),
    (0.36, 0.03, 0.03),
    (0.96, 0.86, 0.45),
    (0.42, 0.13, 0.06),
)
DISC, CUP = (0.98, 0.76, 0.42), (1.0, 0.93, 0.72)
# The great vessels of one half, from the disc at (0, 0) around the macula at (-0.62, 0.04).
ARCADES: tuple[list[Point], ...] = (
    [(0.0, -0.02), (-0.04, -0.2), (-0.2, -0.4), (-0.48, -0.5), (-0.8, -0.42), (-1.05, -0.25)],
    [(0.0, 0.02), (-0.05, 0.22), (-0.22, 0.44), (-0.5, 0.53), (-0.82, 0.45), (-1.08, 0.28)],
    [(0.02, -0.02), (0.08, -0.22), (0.22, -0.45), (0.34, -0.72)],
    [(0.02, 0.02), (0.08, 0.2), (0.2, 0.46), (0.3, 0.74)],
)


def fundus(subject: Subject) -> np.ndarray:
    """The fundus of a left or right eye, uint8 RGB (256, 256, 3)."""
    side = -1 if subject.has(0.5) else 1
    shift, tilt = subject.scan.uniform(-0.05, 0.05, size=2), subject.scan.uniform(-0.06, 0.06)
    disc = subject.point((0.4, 0.0), reach=0.06)
    place = partial(canvas.placed, at=(disc[0] + shift[0], disc[1] + shift[1]), tilt=float(tilt))
    image = _retina(subject)
    macula = place([(-0.62, 0.04)])[0]
    _paint(image, mask=0.75 * canvas.ellipse(at=macula, radii=(0.2, 0.19), edge=0.24), colour=MACULA)
    _paint_vessels(image, subject=subject, place=place)
    _paint_disc(image, subject=subject, at=place([(0.0, 0.0)])[0])
    _paint_findings(image, subject=subject, macula=macula)
    return _photographed(image, subject=subject)[:, ::side]


def _paint(image: np.ndarray, *, mask: np.ndarray, colour: Colour) -> None:
    image += mask[..., None] * (np.asarray(colour, dtype=np.float32) - image)


def _retina(subject: Subject) -> np.ndarray:
    """The orange ground, redder or browner from patient to patient, mottled by the vessels of the choroid."""
    ground = np.asarray((0.8 + subject.shift(0.08), 0.36 + subject.shift(0.09), 0.13 + subject.shift(0.06)), np.float32)
    mottle = 1.0 + 0.06 * texture.fractal_noise(subject, sigma=12.0) + 0.02 * texture.anatomy_noise(subject, sigma=2.0)
    return mottle[..., None].astype(np.float32) * ground


def _paint_vessels(image: np.ndarray, *, subject: Subject, place: partial) -> None:
    thick = subject.near(1.0, by=0.2)
    for colour, width, offset in ((VEIN, 0.042, 0.0), (ARTERY, 0.03, 0.06)):
        tree = []
        for arcade in ARCADES:
            path = [(x + offset * abs(x + y), y * (1.0 - 1.2 * offset)) for x, y in arcade]
            path = [path[0], *(subject.point(p, reach=0.03) for p in path[1:])]
            tree.append(Stroke(place(path), thick * width, 0.35 * thick * width))
            for root, tip in pairwise(path[1:]):
                heading = float(np.arctan2(tip[1] - root[1], tip[0] - root[0]))
                for turn in (-0.8, 0.8):
                    twig = branches(
                        subject, root=place([root])[0], angle=heading + turn, length=0.16, width=0.4 * width, depth=2
                    )
                    tree += twig
        _paint(image, mask=0.8 * texture.blur(canvas.strokes(tree), sigma=0.6), colour=colour)


def _paint_disc(image: np.ndarray, *, subject: Subject, at: Point) -> None:
    """The optic disc with its cup: a large cup, as in glaucoma, in some patients."""
    size, share = subject.near(0.125, by=0.12), 0.72 if subject.has(0.25) else subject.near(0.42, by=0.25)
    halo = canvas.ellipse(at=at, radii=(1.2 * size, 1.3 * size), edge=0.06)
    _paint(image, mask=0.35 * halo, colour=DISC)
    _paint(image, mask=0.8 * canvas.ellipse(at=at, radii=(0.92 * size, size), edge=0.03), colour=DISC)
    _paint(image, mask=0.75 * canvas.ellipse(at=at, radii=(share * size, 1.05 * share * size), edge=0.03), colour=CUP)


def _paint_findings(image: np.ndarray, *, subject: Subject, macula: Point) -> None:
    """Bleedings and hard exudates, as in diabetes, or drusen around the macula, or nothing."""
    diabetic, drusen = subject.has(0.4), subject.has(0.3)
    if diabetic:
        spots = _spots(subject, around=macula, reach=0.55, number=subject.count(low=8, high=24), size=0.022)
        _paint(image, mask=0.85 * spots, colour=BLOOD)
        spots = _spots(subject, around=subject.point(macula, reach=0.2), reach=0.2, number=16, size=0.016)
        _paint(image, mask=0.85 * spots, colour=EXUDATE)
    elif drusen:
        spots = _spots(subject, around=macula, reach=0.2, number=subject.count(low=14, high=30), size=0.018)
        _paint(image, mask=0.6 * spots, colour=EXUDATE)


def _spots(subject: Subject, *, around: Point, reach: float, number: int, size: float) -> np.ndarray:
    dots = []
    for _ in range(number):
        (x, y), width = subject.point(around, reach=reach), 2 * subject.near(size, by=0.6)
        dots.append(Stroke([(x, y), (x + 0.3 * width, y + 0.2 * width)], width, width))
    return texture.blur(canvas.strokes(dots), sigma=0.7)


def _photographed(image: np.ndarray, *, subject: Subject) -> np.ndarray:
    """Uneven light of the flash, sensor noise, and the black mask of the camera."""
    lit = canvas.ellipse(at=tuple(subject.scan.uniform(-0.2, 0.2, size=2)), radii=(1.25, 1.25), edge=1.6)
    light = (0.55 + 0.55 * lit) * subject.scan.uniform(0.9, 1.08)
    noise = 0.012 * subject.scan.standard_normal((*image.shape[:2], 3), dtype=np.float32)
    frame = canvas.ellipse(at=(0, 0), radii=(0.96, 0.96))
    return texture.to_uint8((image * light[..., None] + noise) * frame[..., None])
