"""Radiograph phantom of a hand, seen from the back of the hand."""

import math

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.subject import Subject
from retrieval.demo.xray_common import bone, exposed, paint_marker

# A tubular bone from its base (0, 0) to its head (0, -1), one unit wide.
TUBE: list[Point] = [(-0.5, -0.02), (0.0, 0.03), (0.5, -0.02), (0.42, -0.16), (0.27, -0.5), (0.32, -0.8), (0.46, -0.92)]
TUBE = [*TUBE, (0.0, -1.02), *((-x, y) for x, y in reversed(TUBE[3:]))]
TUFT: list[Point] = [(-0.5, 0.0), (0.5, 0.0), (0.3, -0.3), (0.2, -0.68), (0.38, -0.86), (0.0, -1.02), (-0.38, -0.86)]
TUFT = [*TUFT, (-0.2, -0.68), (-0.3, -0.3)]
# From thumb to little finger: base at the wrist, lean (radians), length and width of the bones from base to tip.
DIGITS = (
    ((-0.17, 0.42), -0.78, (0.27, 0.21, 0.16), 0.105),
    ((-0.11, 0.36), -0.16, (0.4, 0.26, 0.16, 0.11), 0.1),
    ((-0.02, 0.34), -0.02, (0.39, 0.29, 0.19, 0.12), 0.1),
    ((0.07, 0.36), 0.12, (0.35, 0.27, 0.18, 0.12), 0.092),
    ((0.15, 0.4), 0.28, (0.32, 0.21, 0.13, 0.1), 0.085),
)
CARPALS = (
    ((-0.15, 0.46), (0.055, 0.045)),
    ((-0.08, 0.43), (0.045, 0.045)),
    ((0.0, 0.44), (0.05, 0.07)),
    ((0.09, 0.45), (0.05, 0.055)),
    ((-0.09, 0.53), (0.075, 0.05)),
    ((0.02, 0.55), (0.06, 0.045)),
    ((0.12, 0.53), (0.045, 0.045)),
)
ULNA: list[Point] = [(0.08, 0.65), (0.2, 0.61), (0.2, 0.7), (0.17, 0.85), (0.18, 1.4), (0.09, 1.4), (0.1, 0.8)]
RADIUS: list[Point] = [(-0.17, 0.6), (-0.02, 0.63), (0.06, 0.63), (0.06, 0.72), (0.0, 0.85), (0.01, 1.4)]
RADIUS = [*RADIUS, (-0.11, 1.4), (-0.12, 0.85), (-0.18, 0.7)]


def xray_hand(subject: Subject) -> np.ndarray:
    """A hand with wrist, fingers up, left or right, uint8 (256, 256)."""
    density = canvas.blank(0.05)
    side = -1 if subject.has(0.5) else 1
    spread, size = subject.near(1.0, by=0.35), subject.near(1.08, by=0.08)
    digits = [_bones(subject, digit=digit, spread=spread, size=size) for digit in DIGITS]
    flesh = texture.blur(_flesh(digits, plump=subject.near(1.0, by=0.15)), sigma=1.6)
    canvas.paint(density, mask=flesh, value=0.15 + 0.13 * texture.blur(flesh, sigma=9.0))
    trabeculae = 1.0 + 0.1 * texture.anatomy_noise(subject, sigma=1.0)
    for mask in (_tubes(digits), _wrist(subject, size=size)):
        density += bone(mask, cortex=0.52, marrow=0.3 + subject.shift(0.07), depth=1.5) * trabeculae
    _add_findings(density, subject=subject, digits=digits)
    density = texture.bent(density[:, ::side], subject=subject, wobble=0.012)
    paint_marker(density, text="R" if side > 0 else "L", at=(-side * 0.8, 0.8))
    return exposed(density, subject=subject, turn=0.16)


def _bones(subject: Subject, *, digit: tuple, spread: float, size: float) -> list[list[Point]]:
    """The outlines of the bones of one digit, from the wrist to the tip."""
    at, lean, lengths, width = digit
    at, lean = (size * at[0], 0.42 + size * (at[1] - 0.42)), lean * spread
    bones = []
    for k, length in enumerate(lengths):
        long, last = size * length * subject.near(1.0, by=0.05), k == len(lengths) - 1
        wide = size * width * (1.0 - 0.13 * k)
        bones.append(canvas.placed(TUFT if last else TUBE, at=at, scale=(wide, long), tilt=lean))
        at = (at[0] + (long + 0.022) * math.sin(lean), at[1] - (long + 0.022) * math.cos(lean))
        lean += subject.shift(0.07)
    return bones


def _tubes(digits: list[list[list[Point]]]) -> np.ndarray:
    return canvas.outlines([outline for digit in digits for outline in digit])


def _wrist(subject: Subject, *, size: float) -> np.ndarray:
    forearm = canvas.outlines([RADIUS, ULNA])
    for at, radii in CARPALS:
        place = subject.point((size * at[0], 0.42 + size * (at[1] - 0.42)), reach=0.006)
        forearm = np.maximum(forearm, canvas.ellipse(at=place, radii=radii, tilt=subject.shift(0.5)))
    return forearm


def _flesh(digits: list[list[list[Point]]], *, plump: float) -> np.ndarray:
    """Fingers, palm, ball of the thumb and forearm, mask."""
    paths = []
    for digit in digits:
        middles = [tuple(np.mean(outline, axis=0)) for outline in digit]
        tip = min(digit[-1], key=lambda p: p[1])
        paths.append(Stroke([*middles, tip], 0.22 * plump, 0.13 * plump))
    paths.append(Stroke([(0, 0.4), (0.0, 0.75), (0.0, 1.4)], 0.42 * plump, 0.5 * plump))
    heads = [tuple(np.mean(digit[1], axis=0)) for digit in digits]
    palm = [(-0.2, 0.56), (-0.3, 0.3), *((x, y + 0.12) for x, y in heads[1:]), (0.3, 0.3), (0.22, 0.56)]
    return np.maximum(canvas.strokes(paths), canvas.outline(palm))


def _add_findings(density: np.ndarray, *, subject: Subject, digits: list[list[list[Point]]]) -> None:
    """A ring on the finger, or a fracture line through a metacarpal."""
    finger = digits[subject.count(low=2, high=4)]
    x, y = np.mean(finger[1], axis=0)
    if subject.has(0.25):
        ring = canvas.strokes([Stroke([(x - 0.06, y), (x + 0.06, y + 0.01)], 0.035, 0.035)])
        canvas.paint(density, mask=ring, value=1.0)
    x, y = np.mean(finger[0], axis=0)
    if subject.has(0.3):
        crack = canvas.strokes([Stroke([(x - 0.06, y + 0.04), (x, y), (x + 0.06, y - 0.04)], 0.018, 0.018)])
        density -= 0.3 * crack * canvas.outline(finger[0])
