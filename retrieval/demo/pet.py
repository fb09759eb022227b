"""PET phantoms: the brain in axial slices, and the whole body as an inverted projection."""

import math

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Stroke
from retrieval.demo.subject import Subject


def pet_brain_axial(subject: Subject) -> np.ndarray:
    """An axial FDG slice, bright where the brain burns glucose, uint8 (256, 256)."""
    w, h = subject.near(0.62, by=0.06), subject.near(0.78, by=0.05)
    depth = canvas.radius(at=(0, 0), radii=(w, h)) + 0.06 * texture.anatomy_noise(subject, sigma=9.0)
    cortex = canvas.ramp(depth, low=0.66, high=0.8) * canvas.ramp(depth, low=1.02, high=0.94)
    regional = 1.0 + 0.2 * texture.anatomy_noise(subject, sigma=12.0)
    activity = cortex * regional + 0.24 * canvas.ramp(depth, low=1.0, high=0.9)
    _paint_nuclei(activity, subject=subject)
    occipital = canvas.ellipse(at=(0, 0.8 * h), radii=(0.24, 0.16), edge=0.1)
    activity += 0.35 * occipital * canvas.ramp(depth, low=1.02, high=0.94)
    gap = canvas.strokes([Stroke([(0, -h), (0, -0.3)], 0.04, 0.02), Stroke([(0, h), (0, 0.45)], 0.03, 0.02)])
    activity *= 1.0 - 0.6 * gap
    _paint_deficit(activity, subject=subject)
    activity = texture.posed(activity, subject=subject)
    image = _detected(activity, subject=subject, resolution=subject.near(4.0, by=0.15), counts=90.0)
    return texture.to_uint8(0.82 * image)


def _detected(activity: np.ndarray, *, subject: Subject, resolution: float, counts: float) -> np.ndarray:
    """The activity as a ring of detectors sees it: blurred, counted, smoothed again by the reconstruction."""
    blurred = texture.blur(activity.astype(np.float32), sigma=resolution)
    counted = texture.poisson(blurred, subject=subject, counts=counts / 12.0)
    return 0.2 * texture.blur(counted, sigma=0.9) + 0.8 * texture.blur(counted, sigma=1.8)


def _paint_nuclei(activity: np.ndarray, *, subject: Subject) -> None:
    size = subject.near(1.0, by=0.2)
    for side in (-1, 1):
        for at, radii, tilt in (
            ((side * 0.13, -0.2), (0.055, 0.1), side * 0.3),
            ((side * 0.25, -0.08), (0.065, 0.15), side * 0.3),
            ((side * 0.11, 0.1), (0.085, 0.1), side * 0.5),
        ):
            canvas.paint(activity, mask=canvas.ellipse(at=at, radii=radii, tilt=tilt), value=subject.near(1.05))
        horn = Stroke([(side * 0.05, -0.08), (side * 0.07, -0.25)], 0.04 * size, 0.07 * size)
        back = Stroke([(side * 0.1, 0.26), (side * 0.18, 0.42)], 0.06 * size, 0.09 * size)
        canvas.paint(activity, mask=canvas.strokes([horn, back]), value=0.03)


def _paint_deficit(activity: np.ndarray, *, subject: Subject) -> None:
    """Too little uptake in one lobe, or a hot tumour, in some patients."""
    side = -1 if subject.has(0.5) else 1
    at = subject.point((side * 0.42, 0.1), reach=0.25)
    if subject.has(0.3):
        activity *= 1.0 - 0.6 * canvas.ellipse(at=at, radii=(0.24, 0.3), edge=0.2)
    elif subject.has(0.25):
        canvas.paint(activity, mask=canvas.ellipse(at=at, radii=(0.1, 0.1), edge=0.06), value=1.6)


def pet_whole_body(subject: Subject) -> np.ndarray:
    """A whole-body FDG projection, dark where uptake is high, uint8 (256, 256)."""
    wide = subject.near(1.0, by=0.1)
    uptake = 0.13 * _silhouette(wide=wide)
    lungs = [
        canvas.ellipse(at=(side * 0.11 * wide, -0.38), radii=(0.075 * wide, 0.15), tilt=side * 0.1, edge=0.05)
        for side in (-1, 1)
    ]
    uptake *= 1.0 - 0.5 * np.maximum(*lungs)
    uptake += 0.16 * _marrow(subject, wide=wide)
    for amount, at, radii, tilt in _hot_organs(subject, wide=wide):
        uptake += amount * canvas.ellipse(at=at, radii=radii, tilt=tilt, edge=0.03)
    uptake += _bowel(subject, wide=wide)
    _add_metastases(uptake, subject=subject, wide=wide)
    uptake = texture.bent(uptake, subject=subject, wobble=0.008)
    uptake = texture.posed(uptake, subject=subject, turn=0.03, move=0.04)
    image = _detected(uptake, subject=subject, resolution=1.9, counts=subject.near(420.0, by=0.3))
    return texture.to_uint8(0.97 - 1.05 * image)


def _silhouette(*, wide: float) -> np.ndarray:
    """Thickness of the body seen from the front, arms beside it, 0..1."""
    parts = [
        Stroke([(0, -0.66), (0, -0.55)], 0.15, 0.15),
        Stroke([(-0.2 * wide, -0.49), (0.2 * wide, -0.49)], 0.16, 0.16),
        Stroke([(0, -0.4), (0, 0.0), (0, 0.22)], 0.46 * wide, 0.46 * wide),
    ]
    for side in (-1, 1):
        parts.append(
            Stroke([(side * 0.29 * wide, -0.45), (side * 0.36 * wide, -0.1), (side * 0.39 * wide, 0.26)], 0.12, 0.075)
        )
        parts.append(
            Stroke(
                [(side * 0.12 * wide, 0.22), (side * 0.135 * wide, 0.6), (side * 0.12 * wide, 1.1)], 0.22 * wide, 0.13
            )
        )
    body = np.maximum(canvas.strokes(parts), canvas.ellipse(at=(0, -0.79), radii=(0.115, 0.155)))
    return np.sqrt(texture.blur(body, sigma=2.5)) * (0.55 + 0.45 * texture.blur(body, sigma=7.0))


def _marrow(subject: Subject, *, wide: float) -> np.ndarray:
    pitch = subject.near(0.052, by=0.05)
    spine = [Stroke([(0, -0.6 + k * pitch), (0, -0.572 + k * pitch)], 0.05, 0.05) for k in range(16)]
    for side in (-1, 1):
        spine.append(Stroke([(side * 0.05, 0.2), (side * 0.15 * wide, 0.16), (side * 0.17 * wide, 0.27)], 0.05, 0.05))
        spine.append(Stroke([(side * 0.16 * wide, 0.3), (side * 0.14 * wide, 0.55)], 0.045, 0.03))
    return texture.blur(canvas.strokes(spine), sigma=1.0)


def _hot_organs(
    subject: Subject, *, wide: float
) -> list[tuple[float, tuple[float, float], tuple[float, float], float]]:
    """Uptake, place, radii and tilt of what is always dark on an FDG scan: brain, heart, liver, kidneys, bladder."""
    organs = [
        (subject.near(0.75), (0.0, -0.82), (0.085, 0.095), 0.0),
        (subject.near(0.5), (0.0, -0.72), (0.05, 0.03), 0.0),
        (subject.near(0.24), (-0.1 * wide, -0.18), (0.13 * wide, 0.085), -0.25),
        (subject.near(0.17), (0.02, -0.2), (0.1 * wide, 0.05), 0.1),
        (subject.near(0.2), (0.17 * wide, -0.15), (0.04, 0.065), 0.2),
        (subject.near(0.95, by=0.15), subject.point((0.0, 0.3), reach=0.012), (0.065, subject.near(0.05, by=0.3)), 0.0),
    ]
    heart = subject.near(0.35, by=0.9)
    organs += [
        (heart, (0.075 * wide, -0.3), (0.065, 0.055), 0.5),
        (-0.5 * heart, (0.07 * wide, -0.31), (0.028, 0.022), 0.5),
    ]
    for side in (-1, 1):
        at = subject.point((side * 0.125 * wide, -0.03), reach=0.012)
        organs.append((subject.near(0.48, by=0.25), at, (0.036, 0.068), -side * 0.2))
    return organs


def _bowel(subject: Subject, *, wide: float) -> np.ndarray:
    frame = [(-0.15 * wide, 0.17), (-0.17 * wide, 0.02), (0.0, 0.06), (0.17 * wide, -0.02), (0.16 * wide, 0.18)]
    colon = [Stroke([subject.point(p, reach=0.02) for p in frame], 0.035, 0.035)]
    turns = [subject.point((0.0, 0.11), reach=0.08) for _ in range(6)]
    return subject.near(0.16, by=0.6) * texture.blur(canvas.strokes([*colon, Stroke(turns, 0.03, 0.03)]), sigma=1.5)


def _add_metastases(uptake: np.ndarray, *, subject: Subject, wide: float) -> None:
    number = subject.count(low=0, high=5)
    for _ in range(number):
        angle = subject.shift(math.pi)
        at = (0.2 * wide * math.cos(angle), -0.15 + 0.42 * math.sin(angle))
        size = subject.near(0.024, by=0.4)
        uptake += 0.6 * canvas.ellipse(at=at, radii=(size, size))
