"""CT phantoms of the trunk: chest and abdomen axial, kidneys coronal."""

import math

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.ct_common import (
    AIR,
    FAT,
    LIVER,
    LUNG,
    MUSCLE,
    WATER,
    paint_bone,
    paint_table,
    paint_vertebra,
    ribs,
    scanned,
    shrunk,
    trunk,
    windowed,
)
from retrieval.demo.subject import Subject
from retrieval.demo.vessels import branches

# Between a mediastinal and a lung window, so that vessels in the lung and organs are both visible.
CHEST_WINDOW = (-250.0, 1500.0)
ABDOMEN_WINDOW = (40.0, 420.0)


def ct_chest(subject: Subject) -> np.ndarray:
    """An axial chest slice, uint8 (256, 256)."""
    level = 0.45 + subject.shift(0.25) + subject.scan.uniform(-0.08, 0.08)
    center, width = CHEST_WINDOW
    return windowed(chest_slice(subject, level=level), center=center, width=width)


def chest_slice(subject: Subject, *, level: float) -> np.ndarray:
    """An axial chest slice in Hounsfield units, float32 (256, 256); level 0 is the aortic arch, 1 the diaphragm."""
    hu = canvas.blank(AIR)
    skin = trunk(subject, width=0.86, height=0.6)
    wall = shrunk(skin, by=subject.near(0.08, by=0.5))
    pleura = shrunk(wall, by=subject.near(0.1, by=0.15))
    canvas.paint(hu, mask=canvas.outline(skin), value=FAT)
    canvas.paint(hu, mask=canvas.outline(wall), value=MUSCLE)
    _paint_chest_bones(hu, subject=subject, pleura=pleura)
    _paint_lungs(hu, subject=subject, pleura=pleura, level=level)
    _paint_mediastinum(hu, subject=subject, level=level)
    paint_vertebra(hu, at=(0.0, 0.27), size=subject.near(0.105))
    hu = texture.bent(hu, subject=subject, wobble=0.012)
    paint_table(hu, y=0.72)
    return scanned(hu, subject=subject, noise=28.0, scale=1.12)


def _paint_chest_bones(hu: np.ndarray, *, subject: Subject, pleura: list[Point]) -> None:
    fat = canvas.outlines([shrunk(pleura, by=-0.035)]) - canvas.outlines([shrunk(pleura, by=-0.015)])
    canvas.paint(hu, mask=0.6 * np.clip(fat, 0, 1), value=FAT)
    paint_bone(hu, mask=ribs(subject, ring=shrunk(pleura, by=-0.035), pairs=5), depth=1.2)
    blades = []
    for side in (-1, 1):
        x, y = side * subject.near(0.56), subject.near(0.36)
        blades.append(Stroke([(x, y), (x + 0.07 * side, y - 0.1), (x + 0.1 * side, y - 0.22)], 0.025, 0.05))
    paint_bone(hu, mask=canvas.strokes(blades), depth=1.2)
    top = min(y for _, y in pleura)
    paint_bone(hu, mask=canvas.ellipse(at=(0.0, top - 0.02), radii=(0.1, 0.033)))


def _lung(*, side: int, pleura: list[Point], level: float) -> list[Point]:
    """The lung of one side, hollowed by mediastinum and heart (which lies on the side +1 of the picture)."""
    w, top, bottom = (max(p[0] for p in pleura), min(p[1] for p in pleura), max(p[1] for p in pleura))
    heart = (0.26 if side > 0 else 0.1) * level
    outer = [(0.3 * w, 0.9 * top), (0.72 * w, 0.66 * top), (0.97 * w, 0.02), (0.86 * w, 0.55 * bottom)]
    inner = [(0.5 * w, 0.88 * bottom), (0.2, 0.74 * bottom), (0.15, 0.2), (0.17 + 0.6 * heart, 0.02)]
    return [(side * x, y) for x, y in [*outer, *inner, (0.12 + heart, 0.45 * top), (0.1, 0.84 * top)]]


def _paint_lungs(hu: np.ndarray, *, subject: Subject, pleura: list[Point], level: float) -> None:
    lungs = canvas.outlines([_lung(side=side, pleura=pleura, level=level) for side in (-1, 1)])
    tissue = LUNG + 35.0 * texture.fractal_noise(subject, sigma=10.0) + 60.0 * (canvas.Y + 0.2)
    canvas.paint(hu, mask=lungs, value=tissue)
    vessels = []
    for side in (-1, 1):
        for angle in (-1.1, -0.45, 0.1, 0.6, 1.15):
            heading = angle if side > 0 else math.pi - angle
            root = (side * (0.15 + 0.1 * level), subject.shift(0.04))
            length = subject.near(0.19, by=0.2)
            vessels += branches(subject, root=root, angle=heading, length=length, width=0.03, depth=4)
    canvas.paint(hu, mask=canvas.strokes(vessels) * lungs, value=20.0)
    if subject.has(0.35):
        _paint_nodule(hu, subject=subject, lungs=lungs)
    liver = canvas.ellipse(at=(-0.38, 0.06), radii=(0.26, 0.22)) * canvas.ramp(np.array(level), low=0.68, high=0.8)
    canvas.paint(hu, mask=liver * lungs, value=LIVER)


def _paint_nodule(hu: np.ndarray, *, subject: Subject, lungs: np.ndarray) -> None:
    side = -1 if subject.has(0.5) else 1
    size = subject.near(0.05, by=0.45)
    mass = canvas.ellipse(at=subject.point((side * 0.46, -0.02), reach=0.14), radii=(size, 0.85 * size), edge=0.03)
    canvas.paint(hu, mask=mass * lungs, value=40.0)


def _paint_mediastinum(hu: np.ndarray, *, subject: Subject, level: float) -> None:
    contrast = 150.0 + subject.shift(90.0)
    canvas.paint(hu, mask=canvas.ellipse(at=(0.0, -0.06), radii=(0.15, 0.36), edge=0.05), value=10.0)
    heart = canvas.ellipse(at=(0.1, -0.12), radii=(0.17 + 0.17 * level, 0.12 + 0.14 * level), tilt=0.5, edge=0.03)
    canvas.paint(hu, mask=heart * canvas.ramp(np.array(level), low=0.1, high=0.4), value=MUSCLE)
    rooms = [((0.2, -0.07), (0.11, 0.075)), ((0.0, -0.11), (0.1, 0.085)), ((0.09, -0.25), (0.11, 0.06))]
    for at, radii in rooms:
        grown = (radii[0] * (0.45 + 0.7 * level), radii[1] * (0.45 + 0.7 * level))
        chamber = canvas.ellipse(at=subject.point(at, reach=0.02), radii=grown, tilt=0.5, edge=0.05)
        canvas.paint(hu, mask=chamber, value=contrast)
    aorta = subject.near(0.062)
    canvas.paint(hu, mask=canvas.ellipse(at=(0.13, 0.2), radii=(aorta, aorta)), value=contrast + 20.0)
    canvas.paint(hu, mask=canvas.ellipse(at=(0.0, 0.13), radii=(0.035, 0.022)), value=MUSCLE)
    spread = 0.12 * float(canvas.ramp(np.array(level), low=0.3, high=0.45))
    for side in (-1, 1):
        airway = canvas.ellipse(at=(side * spread, 0.06 - 0.02 * level), radii=(0.045, 0.042 - 0.012 * level))
        canvas.paint(hu, mask=airway, value=AIR + 30.0)


def ct_abdomen(subject: Subject) -> np.ndarray:
    """An axial slice through the upper abdomen, uint8 (256, 256)."""
    hu = canvas.blank(AIR)
    skin = trunk(subject, width=0.84, height=0.62)
    wall = shrunk(skin, by=subject.near(0.09, by=0.6))
    cavity = shrunk(wall, by=0.06)
    canvas.paint(hu, mask=canvas.outline(skin), value=FAT)
    canvas.paint(hu, mask=canvas.outline(wall), value=MUSCLE)
    inside = canvas.outline(cavity)
    canvas.paint(hu, mask=inside, value=FAT + 8.0 * texture.fractal_noise(subject, sigma=8.0))
    paint_bone(hu, mask=ribs(subject, ring=shrunk(wall, by=0.035), pairs=5), depth=1.2)
    _paint_bowel(hu, subject=subject, inside=inside)
    _paint_upper_organs(hu, subject=subject, inside=inside)
    _paint_back(hu, subject=subject)
    hu = texture.bent(hu, subject=subject, wobble=0.018, sigma=16.0)
    paint_table(hu, y=0.74)
    center, width = ABDOMEN_WINDOW
    return windowed(scanned(hu, subject=subject, noise=15.0, scale=1.1), center=center, width=width)


def _paint_bowel(hu: np.ndarray, *, subject: Subject, inside: np.ndarray) -> None:
    for _ in range(11):
        at = subject.point((0.12, -0.12), reach=0.33)
        radii = (subject.near(0.085, by=0.35), subject.near(0.06, by=0.3))
        tilt = subject.shift(1.5)
        canvas.paint(hu, mask=inside * canvas.ellipse(at=at, radii=radii, tilt=tilt), value=MUSCLE + 25.0)
        lumen = canvas.ellipse(at=at, radii=(0.7 * radii[0], 0.62 * radii[1]), tilt=tilt)
        canvas.paint(hu, mask=inside * lumen, value=25.0 + subject.shift(35.0))
        if subject.has(0.35):
            gas = canvas.ellipse(at=(at[0], at[1] - 0.02), radii=(0.6 * radii[0], 0.4 * radii[1]))
            canvas.paint(hu, mask=inside * gas, value=-850.0)


def _paint_upper_organs(hu: np.ndarray, *, subject: Subject, inside: np.ndarray) -> None:
    enhanced = 45.0 + subject.shift(35.0)
    fat = 1.0 - canvas.outline([(-0.05, 0.05), (-0.1, 0.3), (-0.3, 0.42), (0.3, 0.42), (0.1, 0.3), (0.05, 0.05)])
    lobe = [(-0.78, 0.1), (-0.7, -0.28), (-0.4, -0.5), (0.02, -0.5), (0.14, -0.4), (-0.1, -0.22), (-0.2, 0.02)]
    liver = canvas.outline(canvas.placed([*lobe, (-0.36, 0.26), (-0.62, 0.36)], at=(0, 0), scale=subject.near(0.97)))
    canvas.paint(
        hu, mask=liver * inside * fat, value=LIVER + enhanced + 5.0 * texture.fractal_noise(subject, sigma=3.0)
    )
    vessels = branches(subject, root=(-0.25, 0.0), angle=math.pi + 0.3, length=0.18, width=0.035, depth=3)
    canvas.paint(hu, mask=0.55 * canvas.strokes(vessels) * liver * inside, value=LIVER + enhanced + 80.0)
    if subject.has(0.4):
        size = subject.near(0.06, by=0.5)
        cyst = canvas.ellipse(at=subject.point((-0.5, -0.12), reach=0.12), radii=(size, size))
        canvas.paint(hu, mask=cyst, value=WATER)
    stomach = canvas.ellipse(at=subject.point((0.36, -0.24), reach=0.04), radii=(0.27, 0.17), tilt=-0.5)
    canvas.paint(hu, mask=stomach * inside, value=MUSCLE + 30.0)
    lumen = texture.core(stomach, depth=2.0) * inside
    canvas.paint(hu, mask=lumen, value=15.0)
    canvas.paint(hu, mask=lumen * canvas.ramp(canvas.Y, low=-0.25, high=-0.27), value=-900.0)
    spleen = [(0.72, -0.06), (0.74, 0.14), (0.6, 0.36), (0.44, 0.4), (0.5, 0.26), (0.58, 0.08)]
    canvas.paint(hu, mask=canvas.outline(spleen) * inside, value=LIVER + enhanced + 12.0)


def _paint_back(hu: np.ndarray, *, subject: Subject) -> None:
    canvas.paint(hu, mask=canvas.ellipse(at=(0.0, 0.3), radii=(0.3, 0.15), edge=0.05), value=FAT)
    for side in (-1, 1):
        kidney = canvas.ellipse(at=subject.point((side * 0.33, 0.25), reach=0.03), radii=(0.1, 0.14), tilt=side * 0.5)
        canvas.paint(hu, mask=canvas.ellipse(at=(side * 0.33, 0.25), radii=(0.17, 0.2), edge=0.05), value=FAT)
        canvas.paint(hu, mask=kidney, value=200.0)
        canvas.paint(hu, mask=texture.core(kidney, depth=2.8), value=120.0)
        canvas.paint(hu, mask=canvas.ellipse(at=(side * 0.26, 0.25), radii=(0.04, 0.05), edge=0.04), value=FAT)
        canvas.paint(hu, mask=canvas.ellipse(at=(side * 0.19, 0.45), radii=(0.15, 0.1)), value=MUSCLE + 5.0)
        canvas.paint(hu, mask=canvas.ellipse(at=(side * 0.15, 0.27), radii=(0.06, 0.08)), value=MUSCLE)
    paint_vertebra(hu, at=(0.0, 0.26), size=subject.near(0.12))
    contrast = 190.0 + subject.shift(60.0)
    canvas.paint(hu, mask=canvas.ellipse(at=(0.06, 0.09), radii=(0.058, 0.056)), value=contrast)
    canvas.paint(hu, mask=canvas.ellipse(at=(-0.1, 0.08), radii=(0.07, 0.05)), value=contrast - 40.0)
    pancreas = Stroke([(-0.18, -0.02), (0.0, -0.08), (0.18, -0.02), (0.34, 0.02)], 0.12, 0.07)
    canvas.paint(hu, mask=canvas.strokes([pancreas]), value=95.0)
