"""Ultrasound phantom of a fetus in profile, curved probe: lying on its back in dark fluid, face upwards."""

from itertools import pairwise

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.subject import Subject
from retrieval.demo.us_common import insonified

APEX = -1.75
HEAD: list[Point] = [
    (-0.76, 0.14),
    (-0.72, -0.08),
    (-0.56, -0.24),
    (-0.38, -0.25),
    (-0.3, -0.2),
    (-0.24, -0.27),
    (-0.19, -0.28),
]
HEAD = [
    *HEAD,
    (-0.185, -0.22),
    (-0.14, -0.24),
    (-0.13, -0.19),
    (-0.1, -0.21),
    (-0.05, -0.17),
    (-0.06, -0.07),
    (0.0, 0.12),
]
HEAD = [*HEAD, (-0.06, 0.3), (-0.22, 0.42), (-0.46, 0.46), (-0.67, 0.34)]
TRUNK: list[Point] = [(-0.06, 0.02), (0.08, -0.06), (0.3, -0.2), (0.58, -0.22), (0.8, -0.1), (0.92, 0.12), (0.84, 0.32)]
TRUNK = [*TRUNK, (0.55, 0.42), (0.2, 0.42), (-0.06, 0.3)]
SKULL: Point = (-0.42, 0.12)


def us_fetal(subject: Subject) -> np.ndarray:
    """A fetus in profile within the sector of a curved probe, uint8 (256, 256)."""
    side, scale = -1 if subject.has(0.5) else 1, subject.near(0.9, by=0.1)
    echo = _womb(subject)
    child = canvas.blank(-1.0)
    _paint_trunk(child, subject=subject)
    _paint_head(child, subject=subject)
    _paint_limbs(child, subject=subject)
    tilt = subject.shift(0.25)
    # The child moves as a whole; the womb does not.
    cos, sin = np.cos(tilt) / scale, np.sin(tilt) / scale
    x, y = canvas.X - subject.shift(0.06), canvas.Y - 0.1 - subject.shift(0.08)
    child = texture.sample(child[:, ::side], x=cos * x + sin * y, y=cos * y - sin * x)
    canvas.paint(echo, mask=canvas.ramp(child, low=-0.5, high=-0.1), value=child.clip(0))
    echo = texture.bent(echo, subject=subject, wobble=0.014)
    echo = texture.posed(echo, subject=subject, turn=0.08, move=0.03)
    return insonified(echo, subject=subject, field=_sector(), across=1.8)


def _sector() -> np.ndarray:
    away, angle = np.hypot(canvas.X, canvas.Y - APEX), np.arctan2(canvas.X, canvas.Y - APEX)
    inside = (np.abs(angle) < 0.52) & (away > 0.82) & (away < 2.66)
    return inside.astype(np.float32)


def _womb(subject: Subject) -> np.ndarray:
    """Abdominal wall, wall of the womb, placenta on one side, fluid; echo levels."""
    away = np.hypot(canvas.X, canvas.Y - APEX) + 0.03 * texture.anatomy_noise(subject, sigma=16.0)
    echo = 0.42 + 0.1 * texture.anatomy_noise(subject, sigma=10.0, sigma_y=1.6)
    cavity = canvas.ellipse(at=(0.0, 0.14), radii=(1.1, subject.near(0.64, by=0.08)), edge=0.03)
    wall = canvas.ellipse(at=(0.0, 0.14), radii=(1.14, 0.72), edge=0.05)
    canvas.paint(echo, mask=wall, value=0.62)
    canvas.paint(echo, mask=cavity, value=0.03)
    cake = canvas.ellipse(at=((0.35 if subject.has(0.5) else -0.35), -0.52), radii=(0.62, 0.2), edge=0.05)
    if subject.has(0.7):
        canvas.paint(echo, mask=cake, value=0.46 + 0.06 * texture.anatomy_noise(subject, sigma=3.0))
    canvas.paint(echo, mask=canvas.ramp(away, low=0.98, high=0.92), value=0.7)
    return echo


def _paint_head(child: np.ndarray, *, subject: Subject) -> None:
    head = canvas.outline(HEAD)
    canvas.paint(child, mask=head, value=0.36 + 0.06 * texture.anatomy_noise(subject, sigma=2.5))
    radii = (subject.near(0.31, by=0.05), subject.near(0.28, by=0.05))
    ring = canvas.radius(at=SKULL, radii=radii, tilt=0.2)
    # Bone that lies across the beam is bright, along it faint.
    facing = 0.45 + 0.5 * np.abs(canvas.Y - SKULL[1]) / radii[1]
    canvas.paint(child, mask=canvas.ramp(ring, low=1.02, high=0.98), value=0.16)
    canvas.paint(child, mask=np.exp(-(((ring - 1.0) / 0.055) ** 2)) * facing.clip(0, 1), value=1.0)
    brain = 0.16 + 0.07 * texture.anatomy_noise(subject, sigma=4.0, sigma_y=2.0)
    canvas.paint(child, mask=canvas.ramp(ring, low=0.92, high=0.86), value=brain)
    midline = [Stroke([(-0.6, 0.16), (-0.42, 0.1), (-0.26, 0.1)], 0.022, 0.018)]
    midline.append(Stroke([(-0.5, 0.22), (-0.38, 0.26), (-0.3, 0.22)], 0.045, 0.025))
    canvas.paint(child, mask=texture.blur(canvas.strokes(midline), sigma=0.8), value=0.62)
    face = [Stroke([(-0.29, -0.17), (-0.23, -0.22)], 0.04, 0.03), Stroke([(-0.23, -0.12), (-0.15, -0.14)], 0.035, 0.03)]
    face.append(Stroke([(-0.13, -0.06), (-0.08, -0.12)], 0.04, 0.03))
    canvas.paint(child, mask=texture.blur(canvas.strokes(face), sigma=0.7), value=0.95)
    skin = np.clip(head - texture.core(head, depth=1.4), 0, 1) * canvas.ramp(canvas.Y, low=0.1, high=-0.05)
    canvas.paint(child, mask=skin, value=0.75)


def _paint_trunk(child: np.ndarray, *, subject: Subject) -> None:
    trunk = canvas.outline(TRUNK)
    canvas.paint(child, mask=trunk, value=0.4 + 0.07 * texture.anatomy_noise(subject, sigma=3.0))
    rim = np.clip(trunk - texture.core(trunk, depth=1.6), 0, 1)
    canvas.paint(child, mask=rim, value=0.7)
    lung = canvas.ellipse(at=(0.22, 0.08), radii=(0.15, 0.16), edge=0.06)
    canvas.paint(child, mask=lung, value=0.48)
    heart = canvas.ellipse(at=subject.point((0.2, 0.04), reach=0.02), radii=(0.08, 0.065), tilt=0.5, edge=0.03)
    canvas.paint(child, mask=heart, value=0.1)
    size = subject.near(0.06, by=0.4)
    canvas.paint(child, mask=canvas.ellipse(at=(0.5, 0.06), radii=(1.3 * size, size), edge=0.02), value=0.0)
    pitch = subject.near(0.068, by=0.08)
    spine = [(0.02 + k * pitch, 0.29 + 0.045 * np.sin(k / 3.5)) for k in range(12)]
    bones = [Stroke([(x, y), (x + 0.03, y)], 0.045, 0.045) for x, y in spine]
    bones += [Stroke([(x, y + 0.075), (x + 0.025, y + 0.075)], 0.03, 0.03) for x, y in spine]
    canvas.paint(child, mask=texture.blur(canvas.strokes(bones), sigma=0.7) * trunk, value=0.95)
    ribs = [Stroke([(x, -0.1 - 0.3 * (x - 0.1)), (x + 0.015, 0.02)], 0.022, 0.014) for x in np.arange(0.12, 0.4, 0.06)]
    canvas.paint(child, mask=0.6 * texture.blur(canvas.strokes(ribs), sigma=0.7), value=0.75)


def _paint_limbs(child: np.ndarray, *, subject: Subject) -> None:
    """An arm before the chest and a bent leg: soft tissue around a bright shaft."""
    hand, knee = subject.point((0.1, -0.36), reach=0.06), subject.point((0.8, -0.4), reach=0.06)
    arm, leg = [(0.26, -0.12), (0.34, -0.34), hand], [(0.78, 0.02), knee, (0.98, -0.1)]
    for path, wide in ((arm, 0.1), (leg, 0.14)):
        canvas.paint(child, mask=canvas.strokes([Stroke(path, wide, 0.7 * wide)]), value=0.48)
        for start, end in pairwise(path):
            shaft = [(0.85 * start[0] + 0.15 * end[0], 0.85 * start[1] + 0.15 * end[1])]
            shaft.append((0.15 * start[0] + 0.85 * end[0], 0.15 * start[1] + 0.85 * end[1]))
            canvas.paint(child, mask=canvas.strokes([Stroke(shaft, 0.03, 0.03)]), value=0.95)
