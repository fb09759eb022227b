"""Radiograph phantom of a knee from the front."""

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.subject import Subject
from retrieval.demo.xray_common import bone, exposed, paint_marker


def xray_knee(subject: Subject) -> np.ndarray:
    """A frontal knee radiograph, left or right, uint8 (256, 256)."""
    density = canvas.blank(0.04)
    side = -1 if subject.has(0.5) else 1
    _paint_flesh(density, subject=subject)
    gap = 0.012 if subject.has(0.3) else subject.near(0.055, by=0.25)
    femur, tibia = canvas.outline(_femur(subject, gap=gap)), canvas.outline(_tibia(subject, gap=gap))
    grain = 1.0 + 0.07 * texture.anatomy_noise(subject, sigma=1.0, sigma_y=3.0)
    marrow = 0.27 + subject.shift(0.05)
    fibula = canvas.outline(
        [(0.37, 0.34), (0.46, 0.28), (0.54, 0.36), (0.5, 0.52), (0.45, 0.7), (0.46, 1.4), (0.36, 1.4), (0.37, 0.7)]
    )
    for mask, strength in ((femur, 1.0), (tibia, 1.0), (fibula, 0.72)):
        density += strength * grain * bone(mask, cortex=0.45, marrow=marrow, depth=2.8)
    _add_details(density, subject=subject, gap=gap)
    if subject.has(0.18):
        _paint_prosthesis(density, femur=femur, tibia=tibia)
    density = texture.bent(density[:, ::side], subject=subject, wobble=0.012)
    paint_marker(density, text="L" if side > 0 else "R", at=(side * 0.84, -0.8))
    return exposed(density, subject=subject)


def _paint_flesh(density: np.ndarray, *, subject: Subject) -> None:
    thick = subject.near(0.72, by=0.12)
    half = [
        (thick + 0.06, -1.4),
        (thick, -0.6),
        (thick - 0.06, -0.1),
        (thick - 0.09, 0.25),
        (thick - 0.04, 0.7),
        (thick - 0.1, 1.4),
    ]
    skin = texture.blur(canvas.outline(canvas.mirrored(half)), sigma=2.0)
    canvas.paint(density, mask=skin, value=0.17)
    muscle = canvas.outline(canvas.mirrored([(x - subject.near(0.1, by=0.4), y) for x, y in half]))
    density += 0.12 * texture.blur(muscle, sigma=5.0)


def _femur(subject: Subject, *, gap: float) -> list[Point]:
    w, wide = subject.near(0.2, by=0.1), subject.near(0.46, by=0.06)
    end = -gap / 2
    left = [
        (-w, -1.4),
        (-w, -0.85),
        (-w - 0.1, -0.55),
        (-wide, -0.36),
        (-wide, -0.14),
        (-0.32, end),
        (-0.16, end - 0.01),
    ]
    notch = [(-0.07, -0.13), (0.0, -0.18), (0.07, -0.13), (0.16, end - 0.01), (0.32, end)]
    return [*left, *notch, (wide, -0.14), (wide, -0.36), (w + 0.08, -0.55), (w, -0.85), (w, -1.4)]


def _tibia(subject: Subject, *, gap: float) -> list[Point]:
    w, wide = subject.near(0.19, by=0.1), subject.near(0.46, by=0.06)
    top = gap / 2 + 0.02
    plateau = [(-wide, top + 0.03), (-0.3, top + 0.012), (-0.12, top), (-0.06, top - 0.06), (0.0, top - 0.02)]
    plateau += [(0.06, top - 0.05), (0.12, top), (0.3, top + 0.012), (wide, top + 0.03)]
    return [
        *plateau,
        (wide - 0.02, 0.2),
        (w + 0.1, 0.44),
        (w, 0.8),
        (w - 0.02, 1.4),
        (-w, 1.4),
        (-w, 0.8),
        (-w - 0.1, 0.44),
        (-wide + 0.01, 0.2),
    ]


def _add_details(density: np.ndarray, *, subject: Subject, gap: float) -> None:
    """The kneecap shining through, dense plates under the cartilage, growth scars, spurs where the joint is worn."""
    kneecap = canvas.ellipse(at=subject.point((0.02, -0.36), reach=0.03), radii=(0.21, 0.2))
    density += bone(kneecap, cortex=0.13, marrow=0.09, depth=2.4)
    top, end = gap / 2 + 0.03, -gap / 2 - 0.012
    plates = [Stroke([(s * 0.12, top), (s * 0.28, top + 0.012), (s * 0.42, top + 0.02)], 0.024, 0.02) for s in (-1, 1)]
    plates += [Stroke([(s * 0.15, end - 0.01), (s * 0.28, end), (s * 0.4, end - 0.06)], 0.022, 0.018) for s in (-1, 1)]
    density += 0.15 * texture.blur(canvas.strokes(plates), sigma=0.7)
    scars = [Stroke([(-0.38, -0.42), (0.0, -0.38), (0.36, -0.42)], 0.014, 0.014)]
    scars.append(Stroke([(-0.36, 0.26), (0.0, 0.3), (0.36, 0.26)], 0.014, 0.014))
    density += 0.06 * canvas.strokes(scars)
    if gap < 0.02:
        spurs = [
            Stroke([(s * 0.42, y), (s * 0.52, y + lift)], 0.05, 0.012)
            for s in (-1, 1)
            for y, lift in ((-0.06, 0.03), (0.07, -0.02))
        ]
        density += 0.35 * canvas.strokes(spurs)


def _paint_prosthesis(density: np.ndarray, *, femur: np.ndarray, tibia: np.ndarray) -> None:
    """An artificial joint: metal caps on both bones and a stem in the tibia."""
    cap = femur * canvas.ramp(canvas.Y, low=-0.24, high=-0.2)
    plate = tibia * canvas.ramp(canvas.Y, low=0.13, high=0.1)
    stem = canvas.strokes([Stroke([(0, 0.08), (0, 0.3), (0, 0.5)], 0.13, 0.05)])
    for mask in (cap, plate, stem):
        canvas.paint(density, mask=mask, value=1.0)
