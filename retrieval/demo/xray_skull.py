"""Radiograph phantom of a skull from the side, face to the left."""

import math

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.subject import Subject
from retrieval.demo.vessels import branches
from retrieval.demo.xray_common import bone, exposed, paint_marker

VAULT: Point = (0.1, -0.22)
SOFT: list[Point] = [
    (-0.74, -0.3),
    (-0.76, -0.05),
    (-0.92, 0.2),
    (-0.78, 0.28),
    (-0.82, 0.42),
    (-0.76, 0.52),
    (-0.78, 0.7),
]
SOFT = [*SOFT, (-0.6, 0.82), (-0.2, 0.86), (-0.14, 1.4), (0.62, 1.4), (0.58, 0.7), (0.75, 0.3), (0.4, -0.2)]
FACE: list[Point] = [
    (-0.68, -0.2),
    (-0.72, -0.02),
    (-0.64, 0.1),
    (-0.66, 0.26),
    (-0.68, 0.34),
    (-0.3, 0.36),
    (-0.06, 0.22),
]
FACE = [*FACE, (0.0, 0.05), (-0.3, -0.1)]
JAW: list[Point] = [(-0.7, 0.44), (-0.72, 0.66), (-0.6, 0.72), (-0.24, 0.62), (-0.06, 0.5), (0.08, 0.1), (0.0, 0.04)]
JAW = [*JAW, (-0.08, 0.16), (-0.14, 0.02), (-0.22, 0.1), (-0.22, 0.36), (-0.4, 0.44)]


def xray_skull(subject: Subject) -> np.ndarray:
    """A lateral skull radiograph, uint8 (256, 256)."""
    density = canvas.blank(0.03)
    radii = (subject.near(0.78, by=0.04), subject.near(0.66, by=0.05))
    scalp = canvas.ellipse(at=VAULT, radii=(radii[0] + 0.05, radii[1] + 0.05))
    flesh = np.maximum(scalp, canvas.outline(SOFT))
    canvas.paint(density, mask=texture.blur(flesh, sigma=1.6), value=0.16 + subject.shift(0.02))
    _add_vault(density, subject=subject, radii=radii)
    _add_neck(density, subject=subject)
    _add_base(density, subject=subject)
    _add_face(density, subject=subject)
    density = texture.bent(density, subject=subject, wobble=0.012)
    paint_marker(density, text="R" if subject.has(0.5) else "L", at=(-0.84, -0.84))
    return exposed(density, subject=subject)


def _add_vault(density: np.ndarray, *, subject: Subject, radii: Point) -> None:
    thick = subject.near(0.055, by=0.25)
    outer = canvas.ellipse(at=VAULT, radii=radii)
    inner = canvas.ellipse(at=VAULT, radii=(radii[0] - thick, radii[1] - thick), edge=0.03)
    diploe = canvas.ellipse(at=VAULT, radii=(radii[0] - 0.36 * thick, radii[1] - 0.36 * thick))
    density += 0.26 * outer + 0.34 * (outer - inner) - 0.12 * (diploe - inner).clip(0)
    density += 0.025 * inner * texture.fractal_noise(subject, sigma=7.0)
    wiggle = [0.012 * (-1) ** k for k in range(10)]
    coronal = [(-0.02 + 0.028 * k * (1 - 0.04 * k) + w, -0.86 + 0.065 * k) for k, w in enumerate(wiggle)]
    lambdoid = [(0.78 - 0.04 * k + w, -0.42 + 0.055 * k + w) for k, w in enumerate(wiggle)]
    grooves = branches(subject, root=(0.06, 0.0), angle=-1.3, length=0.24, width=0.014, depth=2)
    lines = [Stroke(coronal, 0.014, 0.014), Stroke(lambdoid, 0.016, 0.016), *grooves]
    density -= 0.08 * texture.blur(canvas.strokes(lines), sigma=0.6) * inner
    if subject.has(0.3):
        crack = [subject.point((0.35 + 0.1 * k, -0.5 + 0.07 * k), reach=0.03) for k in range(4)]
        density -= 0.14 * canvas.strokes([Stroke(crack, 0.014, 0.008)]) * inner


def _add_base(density: np.ndarray, *, subject: Subject) -> None:
    """The dense floor: orbital roofs, sella, petrous pyramid with the air cells of the mastoid, occiput."""
    floor = [(-0.62, -0.12), (-0.3, -0.1), (-0.12, -0.04)]
    sella = [(-0.13, -0.03), (-0.12, 0.04), (-0.05, 0.06), (0.0, 0.02), (0.01, -0.06)]
    slope = [(0.01, -0.03), (0.1, 0.14), (0.2, 0.26)]
    occiput = [(0.36, 0.3), (0.56, 0.26), (0.74, 0.1)]
    ridges = [
        Stroke(floor, 0.04, 0.03),
        Stroke(sella, 0.025, 0.025),
        Stroke(slope, 0.05, 0.05),
        Stroke(occiput, 0.05, 0.04),
    ]
    density += 0.26 * texture.blur(canvas.strokes(ridges), sigma=0.8)
    pyramid = canvas.ellipse(at=(0.17, 0.1), radii=(0.17, 0.1), tilt=-0.4, edge=0.05)
    density += 0.32 * pyramid
    canal = canvas.ellipse(at=(0.16, 0.13), radii=(0.028, 0.028), edge=0.02)
    cells = canvas.ramp(texture.anatomy_noise(subject, sigma=1.6), low=0.2, high=1.0)
    mastoid = canvas.ellipse(at=(0.3, 0.2), radii=(0.12, 0.13), edge=0.04)
    density += mastoid * (0.14 - 0.2 * cells) - 0.2 * canal


def _add_face(density: np.ndarray, *, subject: Subject) -> None:
    density += bone(canvas.outline(FACE), cortex=0.26, marrow=0.16)
    frontal, antrum = subject.near(0.07, by=0.4), subject.near(0.15, by=0.15)
    canvas_holes = (
        ((-0.6, -0.18), (0.045, frontal), 0.2, 0.22),
        ((-0.5, 0.0), (0.13, 0.1), 0.1, 0.12),
        ((-0.4, 0.2), (antrum, 0.1), 0.0, 0.16),
        ((-0.12, 0.12), (0.07, 0.06), 0.0, 0.12),
    )
    for at, radii, tilt, depth in canvas_holes:
        density -= depth * canvas.ellipse(at=at, radii=radii, tilt=tilt, edge=0.03)
    orbit = [(-0.42 + 0.2 * math.cos(a), 0.0 + 0.11 * math.sin(a)) for a in np.linspace(1.8, 4.4, 6)]
    rims = [Stroke(orbit, 0.03, 0.03), Stroke([(-0.68, 0.31), (-0.4, 0.3), (-0.14, 0.28)], 0.035, 0.03)]
    rims.append(Stroke([(-0.3, 0.1), (-0.1, 0.08), (0.08, 0.06)], 0.03, 0.025))
    density += 0.16 * canvas.strokes(rims)
    density += bone(canvas.outline(JAW), cortex=0.3, marrow=0.2)
    _add_teeth(density, subject=subject)


def _add_teeth(density: np.ndarray, *, subject: Subject) -> None:
    for k in range(8):
        x, filled = -0.66 + 0.058 * k, subject.has(0.2)
        for crown, root in ((0.37, 0.28), (0.41, 0.52)):
            density += 0.24 * canvas.strokes([Stroke([(x, crown), (x + 0.012, root)], 0.05, 0.02)])
        if filled:
            canvas.paint(density, mask=canvas.ellipse(at=(x, 0.385), radii=(0.022, 0.016)), value=1.0)


def _add_neck(density: np.ndarray, *, subject: Subject) -> None:
    pitch = subject.near(0.155, by=0.06)
    bodies, arches = [], []
    for k in range(6):
        x, y = 0.26 + 0.012 * k, 0.38 + k * pitch
        bodies.append(
            [(x - 0.085, y), (x + 0.085, y + 0.01), (x + 0.08, y + 0.76 * pitch), (x - 0.09, y + 0.74 * pitch)]
        )
        arches.append(Stroke([(x + 0.08, y + 0.05), (x + 0.2, y + 0.09), (x + 0.32, y + 0.13)], 0.08, 0.05))
    density += bone(canvas.outlines(bodies), cortex=0.34, marrow=0.22)
    density += bone(canvas.strokes(arches), cortex=0.2, marrow=0.13)
    airway = Stroke([(-0.05, 0.35), (0.08, 0.6), (0.08, 1.3)], 0.1, 0.11)
    density -= 0.1 * texture.blur(canvas.strokes([airway]), sigma=1.5)
