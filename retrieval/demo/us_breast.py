"""Ultrasound phantom of the breast, linear probe: layers from skin to ribs, most often with a lesion."""

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.subject import Subject
from retrieval.demo.us_common import insonified

TOP, LEFT, RIGHT = -0.9, -0.86, 0.86


def us_breast(subject: Subject) -> np.ndarray:
    """A breast sonogram, skin at the top, uint8 (256, 256)."""
    echo = _layers(subject)
    _paint_ribs(echo, subject=subject)
    _paint_lesion(echo, subject=subject)
    echo = texture.bent(echo, subject=subject, wobble=0.025, sigma=12.0)
    echo = texture.posed(echo, subject=subject, turn=0.03, move=0.03)
    bottom = subject.near(0.84, by=0.1)
    field = (canvas.X > LEFT) & (canvas.X < RIGHT) & (canvas.Y > TOP) & (bottom > canvas.Y)
    return insonified(echo, subject=subject, field=field.astype(np.float32))


def _layers(subject: Subject) -> np.ndarray:
    """Skin, fat, gland, fat again, chest muscle: echo levels by depth, each border waving."""
    fat, gland = subject.near(0.28, by=0.35), subject.near(0.42, by=0.25)
    wave = 0.05 * texture.anatomy_noise(subject, sigma=20.0)
    depth = canvas.Y - TOP + wave
    streaks = texture.anatomy_noise(subject, sigma=7.0, sigma_y=2.0)
    echo = canvas.blank(0.26) + 0.07 * streaks
    lobules = 0.56 + 0.1 * texture.anatomy_noise(subject, sigma=6.0, sigma_y=3.0) + subject.shift(0.06)
    canvas.paint(echo, mask=_between(depth, low=0.09 + fat, high=0.09 + fat + gland), value=lobules)
    muscle = 0.36 + 0.13 * texture.anatomy_noise(subject, sigma=16.0, sigma_y=1.1)
    start = 0.25 + fat + gland
    canvas.paint(echo, mask=_between(depth, low=start, high=start + 0.28), value=muscle)
    canvas.paint(echo, mask=_between(depth, low=start - 0.015, high=start + 0.02), value=0.75)
    canvas.paint(echo, mask=canvas.ramp(depth, low=start + 0.26, high=start + 0.36), value=0.18)
    ligaments = []
    for k in range(5):
        x = -0.75 + 0.36 * k + subject.shift(0.12)
        ligaments.append(Stroke([(x, TOP + 0.1 + fat), (x + subject.shift(0.1), TOP + 0.07)], 0.03, 0.012))
    canvas.paint(echo, mask=0.7 * texture.blur(canvas.strokes(ligaments), sigma=1.0), value=0.6)
    skin = canvas.Y - TOP + 0.2 * wave
    canvas.paint(echo, mask=canvas.ramp(skin, low=0.11, high=0.07), value=0.72)
    canvas.paint(echo, mask=canvas.ramp(skin, low=0.035, high=0.015), value=0.95)
    return echo


def _between(depth: np.ndarray, *, low: float, high: float) -> np.ndarray:
    return canvas.ramp(depth, low=low - 0.02, high=low + 0.02) * canvas.ramp(depth, low=high + 0.02, high=high - 0.02)


def _paint_ribs(echo: np.ndarray, *, subject: Subject) -> None:
    if not subject.has(0.5):
        return
    for x in (-0.5 + subject.shift(0.15), 0.42 + subject.shift(0.15)):
        shadow = canvas.ramp(np.abs(canvas.X - x), low=0.2, high=0.13) * canvas.ramp(canvas.Y, low=0.5, high=0.54)
        canvas.paint(echo, mask=shadow, value=0.04)
        arc = canvas.strokes([Stroke([(x - 0.16, 0.56), (x, 0.5), (x + 0.16, 0.56)], 0.035, 0.035)])
        canvas.paint(echo, mask=arc, value=0.9)


def _paint_lesion(echo: np.ndarray, *, subject: Subject) -> None:
    """A cyst (black, bright behind), a smooth solid nodule, or a spiculated mass with a shadow; nothing in a few."""
    at, size = subject.point((0.0, -0.18), reach=0.18), subject.near(0.17, by=0.4)
    tilt, kind = subject.shift(0.25), subject.body.random()
    if kind < 0.35:
        _paint_behind(echo, at=at, size=1.2 * size, change=0.24)
        canvas.paint(echo, mask=canvas.ellipse(at=at, radii=(1.35 * size, 1.2 * size), edge=0.03), value=0.55)
        canvas.paint(echo, mask=canvas.ellipse(at=at, radii=(1.25 * size, 1.1 * size), edge=0.02), value=0.0)
    elif kind < 0.6:
        _paint_behind(echo, at=at, size=size, change=0.1)
        canvas.paint(echo, mask=canvas.ellipse(at=at, radii=(1.4 * size, 0.8 * size), tilt=tilt, edge=0.02), value=0.2)
    elif kind < 0.88:
        _paint_behind(echo, at=at, size=size, change=-0.34)
        angles = np.linspace(0.0, 2 * np.pi, 13)[:-1]
        reach = [size * (1.25 if k % 2 else 0.8) + subject.shift(0.04) for k in range(12)]
        rim = [(at[0] + r * np.cos(a), at[1] + r * np.sin(a)) for a, r in zip(angles, reach, strict=True)]
        canvas.paint(echo, mask=0.8 * texture.blur(canvas.outline(rim), sigma=4.0), value=0.62)
        canvas.paint(echo, mask=texture.blur(canvas.outline(rim), sigma=1.0), value=0.1)


def _paint_behind(echo: np.ndarray, *, at: Point, size: float, change: float) -> None:
    """What the lesion does to the sound that passes through it: enhancement or a shadow, straight below."""
    column = canvas.ramp(np.abs(canvas.X - at[0]), low=1.25 * size, high=0.8 * size)
    echo += change * column * canvas.ramp(canvas.Y - at[1], low=0.0, high=0.1)
