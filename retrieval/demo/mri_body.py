"""MRI phantoms of the body: knee (sagittal, proton density) and breast (axial, after contrast)."""

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.subject import Subject

FAT, MARROW, MUSCLE, CARTILAGE, FLUID, TENDON = 0.86, 0.74, 0.34, 0.5, 0.62, 0.05


def mri_knee(subject: Subject) -> np.ndarray:
    """A sagittal slice through the joint, kneecap to the left, uint8 (256, 256)."""
    signal = canvas.blank()
    skin = [(-0.5, -1.3), (-0.56, -0.7), (-0.72, -0.35), (-0.68, 0.0), (-0.52, 0.4), (-0.46, 1.3)]
    back = [(0.7, 1.3), (0.72, 0.6), (0.56, 0.1), (0.66, -0.5), (0.74, -1.3)]
    canvas.paint(
        signal, mask=canvas.outline([*skin, *back]), value=FAT + 0.05 * texture.fractal_noise(subject, sigma=6.0)
    )
    _paint_muscles(signal, subject=subject)
    _paint_knee_bones(signal, subject=subject)
    _paint_knee_soft_tissue(signal, subject=subject)
    signal = texture.bent(signal, subject=subject, wobble=0.013)
    signal = texture.posed(signal, subject=subject, scale=1.06, turn=0.1)
    # A knee coil: bright around the joint, falling off at both ends of the picture.
    signal *= np.exp(-0.45 * canvas.Y**2) * texture.bias_field(subject, strength=0.08)
    signal *= subject.near(1.05, by=0.12)
    return texture.to_uint8(texture.rician(signal, subject=subject, level=0.025 * subject.scan.uniform(0.6, 1.4)))


def _paint_muscles(signal: np.ndarray, *, subject: Subject) -> None:
    fibres = MUSCLE + 0.06 * texture.anatomy_noise(subject, sigma=2.0, sigma_y=14.0)
    thin = subject.shift(0.04)
    bellies = [
        [(0.26, -1.3), (0.3, -0.6), (0.42, -0.28), (0.56 + thin, -0.5), (0.62 + thin, -1.3)],
        [(0.3, 0.1), (0.28, 0.5), (0.3, 1.3), (0.6 + thin, 1.3), (0.62 + thin, 0.6), (0.46 + thin, 0.02)],
        [(-0.4, -1.3), (-0.42, -0.75), (-0.36, -0.68), (-0.28, -1.3)],
    ]
    canvas.paint(signal, mask=canvas.outlines(bellies), value=fibres)
    vessel = Stroke([(0.34, -1.2), (0.38, -0.4), (0.36, 0.2), (0.34, 0.7)], 0.05, 0.04)
    canvas.paint(signal, mask=canvas.strokes([vessel]), value=0.12)


def _femur(subject: Subject) -> list[Point]:
    width = subject.near(0.2, by=0.1)
    shaft = [(-width, -1.3), (-width - 0.02, -0.8), (-0.34, -0.5), (-0.36, -0.2), (-0.22, 0.0), (0.04, 0.06)]
    return [*shaft, (0.3, -0.04), (0.36, -0.26), (0.24, -0.46), (width - 0.03, -0.66), (width - 0.03, -1.3)]


def _tibia(subject: Subject) -> list[Point]:
    plate = subject.near(0.16, by=0.06)
    front = [(-0.32, plate + 0.02), (-0.36, 0.3), (-0.31, 0.44), (-0.26, 0.6), (-0.2, 1.3)]
    return [*front, (0.17, 1.3), (0.19, 0.7), (0.32, 0.36), (0.35, plate + 0.06), (0.02, plate - 0.01)]


def _paint_knee_bones(signal: np.ndarray, *, subject: Subject) -> None:
    marrow = (
        MARROW + 0.05 * texture.anatomy_noise(subject, sigma=1.2) + 0.03 * texture.fractal_noise(subject, sigma=7.0)
    )
    kneecap = canvas.placed(
        [(-0.4, -1.0), (0.5, -0.95), (0.9, 0.0), (0.3, 1.0), (-0.6, 0.5)],
        at=subject.point((-0.54, -0.36), reach=0.02),
        scale=(0.13, 0.2),
    )
    femur, tibia = canvas.outline(_femur(subject)), canvas.outline(_tibia(subject))
    patella = canvas.outline(kneecap)
    joint = texture.blur(np.maximum(femur, patella), sigma=3.4) + texture.blur(tibia, sigma=3.4)
    near_joint = canvas.ramp(canvas.Y, low=-0.62, high=-0.45) * canvas.ramp(canvas.Y, low=0.34, high=0.24)
    canvas.paint(signal, mask=canvas.ramp(joint, low=0.12, high=0.3) * near_joint, value=CARTILAGE)
    bones = np.maximum(np.maximum(femur, tibia), patella)
    canvas.paint(signal, mask=bones, value=0.06)
    canvas.paint(signal, mask=texture.core(bones, depth=1.9), value=marrow)
    scars = [
        Stroke([(-0.3, -0.42), (0.0, -0.46), (0.26, -0.4)], 0.012, 0.012),
        Stroke([(-0.3, 0.38), (0.0, 0.36), (0.28, 0.34)], 0.012, 0.012),
    ]
    canvas.paint(signal, mask=0.55 * canvas.strokes(scars), value=0.3)


def _paint_knee_soft_tissue(signal: np.ndarray, *, subject: Subject) -> None:
    hoffa = canvas.outline([(-0.46, -0.14), (-0.37, -0.12), (-0.24, 0.05), (-0.33, 0.14), (-0.38, 0.3), (-0.46, 0.12)])
    canvas.paint(signal, mask=hoffa, value=FAT + 0.05 * texture.anatomy_noise(subject, sigma=2.0))
    tendons = [
        Stroke([(-0.38, -1.3), (-0.47, -0.8), (-0.56, -0.52)], 0.06, 0.07),
        Stroke([(-0.56, -0.18), (-0.47, 0.14), (-0.34, 0.42)], 0.07, 0.055),
        Stroke([(0.16, -0.3), (0.22, 0.0), (0.3, 0.3)], 0.05, 0.075),
    ]
    canvas.paint(signal, mask=canvas.strokes(tendons), value=TENDON)
    menisci = [[(-0.3, 0.12), (-0.3, 0.02), (-0.13, 0.1)], [(0.33, 0.14), (0.33, 0.0), (0.15, 0.1)]]
    canvas.paint(signal, mask=canvas.outlines(menisci), value=0.09)
    if subject.has(0.35):
        tear = Stroke([(0.2, 0.1), (0.32, 0.06)], 0.02, 0.025)
        canvas.paint(signal, mask=canvas.strokes([tear]), value=0.85)
    effusion = subject.near(0.06, by=0.6)
    pouch = Stroke([(-0.33, -0.78), (-0.39, -0.6), (-0.41, -0.45)], 0.5 * effusion, effusion)
    canvas.paint(signal, mask=canvas.strokes([pouch]), value=FLUID + 0.38)


def mri_breast(subject: Subject) -> np.ndarray:
    """An axial slice with both breasts hanging forward (upwards in the picture), uint8 (256, 256)."""
    signal = canvas.blank()
    reach, apart = subject.near(0.62, by=0.16), subject.near(0.46, by=0.06)
    full = subject.near(0.25, by=0.1)
    chest = canvas.outline(canvas.mirrored([(0, 0.06), (0.5, 0.1), (0.9, 0.32), (0.98, 0.8), (0.9, 1.4), (0, 1.4)]))
    breasts = [
        [
            (side * x, y)
            for x, y in [
                (apart - full - 0.08, 0.16),
                (apart - full, -0.18),
                (apart - 0.1, 0.12 - reach),
                (apart + 0.02, 0.03 - reach),
                (apart + 0.13, 0.14 - reach),
                (apart + full + 0.02, -0.1),
                (apart + full + 0.16, 0.26),
                (apart, 0.4),
            ]
        ]
        for side in (-1, 1)
    ]
    glands = canvas.outlines(breasts)
    canvas.paint(signal, mask=np.maximum(chest, glands), value=FAT * subject.near(0.8, by=0.1))
    for side in (-1, 1):
        _paint_gland(
            signal,
            subject=subject,
            at=(side * apart, -0.5 * reach + 0.16),
            reach=reach,
            inside=texture.core(glands, depth=5.0),
        )
    skin = np.clip(np.maximum(chest, glands) - texture.core(np.maximum(chest, glands), depth=1.4), 0, 1)
    canvas.paint(signal, mask=0.6 * skin, value=0.5)
    _paint_thorax(signal, subject=subject)
    signal = texture.bent(signal, subject=subject, wobble=0.02)
    signal = texture.posed(signal, subject=subject) * texture.bias_field(subject, strength=0.12)
    # The coil lies under the breasts: signal falls off towards the back.
    signal *= np.exp(-0.5 * np.clip(canvas.Y - 0.1, 0, None))
    return texture.to_uint8(texture.rician(signal, subject=subject, level=0.024 * subject.scan.uniform(0.6, 1.4)))


def _paint_gland(signal: np.ndarray, *, subject: Subject, at: Point, reach: float, inside: np.ndarray) -> None:
    """Fibroglandular tissue as dark strands in bright fat, with an enhancing tumour in some patients."""
    strands = texture.fractal_noise(subject, sigma=6.0) + subject.shift(0.5)
    zone = canvas.ellipse(at=at, radii=(0.19, 0.36 * reach), edge=0.14)
    canvas.paint(signal, mask=0.85 * zone * inside * canvas.ramp(strands, low=-0.5, high=0.5), value=0.3)
    ducts = [
        Stroke([(at[0], at[1] - 0.45 * reach), (at[0] + dx, at[1] + 0.1)], 0.012, 0.025) for dx in (-0.09, 0.0, 0.09)
    ]
    canvas.paint(signal, mask=0.6 * canvas.strokes(ducts) * inside, value=0.34)
    tumour, size = subject.point(at, reach=0.1), subject.near(0.05, by=0.5)
    if subject.has(0.25):
        canvas.paint(signal, mask=canvas.ellipse(at=tumour, radii=(size, 0.85 * size), edge=0.03), value=1.0)


def _paint_thorax(signal: np.ndarray, *, subject: Subject) -> None:
    muscle = canvas.outline(canvas.mirrored([(0, 0.24), (0.45, 0.29), (0.78, 0.5), (0.86, 0.9), (0.82, 1.4), (0, 1.4)]))
    canvas.paint(signal, mask=muscle, value=MUSCLE + 0.05 * texture.anatomy_noise(subject, sigma=4.0, sigma_y=2.0))
    lungs = [
        [(side * x, y) for x, y in [(0.1, 0.42), (0.42, 0.4), (0.68, 0.58), (0.74, 0.95), (0.6, 1.4), (0.12, 1.4)]]
        for side in (-1, 1)
    ]
    cavity = canvas.outlines(lungs)
    canvas.paint(signal, mask=cavity, value=0.04)
    vessels = [
        Stroke([(side * 0.12, 0.8), (side * x, y)], 0.03, 0.012)
        for side in (-1, 1)
        for x, y in ((0.45, 0.6), (0.55, 0.82), (0.4, 0.98))
    ]
    canvas.paint(signal, mask=canvas.strokes(vessels) * cavity, value=0.22)
    ribs = [
        canvas.ellipse(at=(side * x, y), radii=(0.07, 0.025), tilt=side * 0.5)
        for side in (-1, 1)
        for x, y in ((0.32, 0.345), (0.62, 0.46))
    ]
    for rib in ribs:
        canvas.paint(signal, mask=rib, value=0.12)
    heart = subject.point((0.14, 0.68), reach=0.04)
    canvas.paint(signal, mask=canvas.ellipse(at=heart, radii=(0.31, 0.22), tilt=0.4), value=0.42)
    for dx, dy in ((-0.12, -0.04), (0.12, 0.02)):
        room = canvas.ellipse(at=(heart[0] + dx, heart[1] + dy), radii=(0.11, 0.1), tilt=0.4, edge=0.05)
        canvas.paint(signal, mask=room, value=0.72)
    canvas.paint(signal, mask=canvas.ellipse(at=(0.0, 0.36), radii=(0.1, 0.045)), value=0.5)
    canvas.paint(signal, mask=canvas.ellipse(at=(0.08, 0.97), radii=(0.06, 0.06)), value=0.75)
