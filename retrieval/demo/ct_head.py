"""CT phantom of the head, axial, in the brain window."""

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Stroke
from retrieval.demo.ct_common import AIR, paint_bone, scanned, windowed
from retrieval.demo.subject import Subject

GREY, WHITE, CSF, BLOOD = 38.0, 29.0, 4.0, 68.0
BRAIN_WINDOW = (36.0, 90.0)


def ct_head(subject: Subject) -> np.ndarray:
    """An axial head slice at the level of the lateral ventricles, uint8 (256, 256)."""
    hu = canvas.blank(AIR)
    _paint_holder(hu)
    w, h = subject.near(0.64, by=0.05), subject.near(0.8, by=0.04)
    canvas.paint(hu, mask=canvas.ellipse(at=(0, 0), radii=(w + 0.045, h + 0.04)), value=30.0)
    paint_bone(hu, mask=canvas.ellipse(at=(0, 0), radii=(w, h)), depth=2.0, marrow=500.0)
    inner = (w - subject.near(0.075, by=0.2), h - subject.near(0.085, by=0.2))
    brain = canvas.ellipse(at=(0, 0), radii=inner)
    canvas.paint(hu, mask=brain, value=_brain(subject, radii=inner))
    _paint_ventricles(hu, subject=subject)
    _paint_finding(hu, subject=subject)
    falx = [Stroke([(0, -inner[1]), (0.01, -0.42)], 0.016, 0.01), Stroke([(0, inner[1]), (0, 0.38)], 0.022, 0.01)]
    canvas.paint(hu, mask=0.8 * canvas.strokes(falx), value=58.0)
    hu = texture.bent(hu, subject=subject, wobble=0.012)
    center, width = BRAIN_WINDOW
    return windowed(scanned(hu, subject=subject, noise=3.4), center=center, width=width)


def _paint_holder(hu: np.ndarray) -> None:
    """The head cradle: a U around the back of the head."""
    cradle = [(-0.93, -0.1), (-0.9, 0.5), (-0.5, 0.9), (0.0, 0.96), (0.5, 0.9), (0.9, 0.5), (0.93, -0.1)]
    canvas.paint(hu, mask=canvas.strokes([Stroke(cradle, 0.035, 0.035)]), value=60.0)


def _brain(subject: Subject, *, radii: tuple[float, float]) -> np.ndarray:
    """Grey and white matter with fluid in the sulci near the surface, HU."""
    depth = canvas.radius(at=(0, 0), radii=radii)
    folds = texture.anatomy_noise(subject, sigma=5.0)
    tissue = WHITE + (GREY - WHITE) * canvas.ramp(depth + 0.05 * folds, low=0.72, high=0.86)
    atrophy = 0.75 + subject.shift(0.25)
    sulci = np.exp(-((folds / 0.26) ** 2)) * canvas.ramp(depth, low=0.66, high=0.86)
    tissue += atrophy * sulci * (CSF - tissue)
    basal = canvas.ellipse(at=(0.17, 0.02), radii=(0.07, 0.16), tilt=0.25, edge=0.05)
    basal = np.maximum(basal, canvas.ellipse(at=(-0.17, 0.02), radii=(0.07, 0.16), tilt=-0.25, edge=0.05))
    return (tissue + basal * (GREY - tissue)).astype(np.float32)


def _paint_ventricles(hu: np.ndarray, *, subject: Subject) -> None:
    size = subject.near(1.0, by=0.3)
    horns = []
    for side in (-1, 1):
        front = [(0.025, -0.04), (0.06, -0.2), (0.15, -0.31)]
        back = [(0.05, 0.05), (0.14, 0.2), (0.2, 0.38)]
        horns.append(Stroke([(side * x, y) for x, y in front], 0.05 * size, 0.085 * size))
        horns.append(Stroke([(side * x, y) for x, y in back], 0.04 * size, 0.1 * size))
    horns.append(Stroke([(0, -0.02), (0, 0.12)], 0.025 * size, 0.035 * size))
    canvas.paint(hu, mask=texture.blur(canvas.strokes(horns), sigma=1.0), value=CSF)
    canvas.paint(hu, mask=canvas.ellipse(at=(0, 0.17), radii=(0.02, 0.02)), value=120.0)
    for side in (-1, 1):
        # Calcified choroid plexus: the usual bright dots in the back horns.
        canvas.paint(hu, mask=canvas.ellipse(at=(side * 0.16, 0.25), radii=(0.025, 0.035)), value=95.0)


def _paint_finding(hu: np.ndarray, *, subject: Subject) -> None:
    """A haemorrhage with oedema around it, an old infarct, or nothing."""
    side = -1 if subject.has(0.5) else 1
    at = subject.point((side * 0.32, 0.05), reach=0.15)
    size = subject.near(0.11, by=0.4)
    if subject.has(0.3):
        canvas.paint(hu, mask=canvas.ellipse(at=at, radii=(1.6 * size, 1.9 * size), edge=0.12), value=20.0)
        canvas.paint(hu, mask=canvas.ellipse(at=at, radii=(size, 1.25 * size), edge=0.04), value=BLOOD)
    elif subject.has(0.3):
        canvas.paint(hu, mask=canvas.ellipse(at=at, radii=(1.3 * size, 1.7 * size), edge=0.09), value=15.0)
