"""MRI phantoms of the brain, T1-weighted: axial and midline sagittal."""

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.subject import Subject

# T1 signal: fat is brightest, white matter brighter than grey, fluid and cortical bone dark.
SCALP, SKULL, CSF, GREY, WHITE, MUSCLE, MARROW = 0.9, 0.06, 0.14, 0.46, 0.68, 0.34, 0.6


def mri_brain_axial(subject: Subject) -> np.ndarray:
    """An axial slice at the level of the lateral ventricles, uint8 (256, 256)."""
    signal = canvas.blank()
    w, h = subject.near(0.7, by=0.05), subject.near(0.85, by=0.04)
    canvas.paint(signal, mask=canvas.ellipse(at=(0, 0), radii=(w, h)), value=subject.near(SCALP))
    canvas.paint(signal, mask=canvas.ellipse(at=(0, 0), radii=(w - 0.05, h - 0.05)), value=SKULL)
    canvas.paint(signal, mask=canvas.ellipse(at=(0, 0), radii=(w - 0.072, h - 0.075)), value=0.34)
    canvas.paint(signal, mask=canvas.ellipse(at=(0, 0), radii=(w - 0.082, h - 0.085)), value=SKULL)
    inner = (w - subject.near(0.105, by=0.1), h - subject.near(0.11, by=0.1))
    cranium = canvas.ellipse(at=(0, 0), radii=inner)
    canvas.paint(signal, mask=cranium, value=folded_brain(subject, depth=canvas.radius(at=(0, 0), radii=inner)))
    fissure = [Stroke([(0, -inner[1]), (0.012, -0.36)], 0.03, 0.012), Stroke([(0, inner[1]), (0, 0.36)], 0.03, 0.012)]
    canvas.paint(signal, mask=canvas.strokes(fissure), value=CSF)
    _paint_deep_brain(signal, subject=subject)
    _paint_tumour(signal, subject=subject)
    signal = texture.bent(signal, subject=subject, wobble=0.014)
    return _acquired(signal, subject=subject)


def _acquired(signal: np.ndarray, *, subject: Subject) -> np.ndarray:
    signal = texture.posed(signal, subject=subject) * texture.bias_field(subject, strength=0.09)
    signal *= subject.near(1.0, by=0.12)
    return texture.to_uint8(texture.rician(signal, subject=subject, level=0.022 * subject.scan.uniform(0.6, 1.4)))


def folded_brain(subject: Subject, *, depth: np.ndarray) -> np.ndarray:
    """Gyri and sulci as signal; depth is 1 at the surface of the brain and 0 deep inside.

    The zero line of a smooth field is a winding curve without ends: fluid along it, a ribbon of cortex beside it.
    """
    folds = texture.anatomy_noise(subject, sigma=4.6) + 0.3 * texture.anatomy_noise(subject, sigma=2.6)
    reach = depth + 0.07 * texture.anatomy_noise(subject, sigma=9.0)
    outer = canvas.ramp(reach, low=0.5, high=0.66)
    ribbon = np.maximum(np.exp(-((folds / 0.5) ** 2)) * outer, canvas.ramp(depth, low=0.88, high=0.95))
    tissue = WHITE + (GREY - WHITE) * ribbon
    sulci = np.exp(-((folds / 0.17) ** 2)) * canvas.ramp(reach, low=0.58, high=0.78)
    sulci = np.maximum(sulci, canvas.ramp(depth, low=0.965, high=0.995))
    return (tissue + sulci * (CSF - tissue)).astype(np.float32)


def _paint_deep_brain(signal: np.ndarray, *, subject: Subject) -> None:
    size = subject.near(1.0, by=0.3)
    canvas.paint(signal, mask=canvas.ellipse(at=(0, 0.0), radii=(0.36, 0.44), edge=0.16), value=WHITE)
    horns, nuclei = [], []
    for side in (-1, 1):
        horns.append(
            Stroke([(side * 0.03, -0.02), (side * 0.06, -0.18), (side * 0.14, -0.3)], 0.04 * size, 0.08 * size)
        )
        horns.append(Stroke([(side * 0.05, 0.08), (side * 0.13, 0.22), (side * 0.2, 0.38)], 0.04 * size, 0.09 * size))
        nuclei += [((side * 0.13, -0.13), (0.05, 0.09), side * 0.3), ((side * 0.12, 0.08), (0.085, 0.11), side * 0.5)]
        nuclei += [((side * 0.26, -0.03), (0.045, 0.15), side * 0.3)]
        insula = Stroke([(side * 0.35, -0.18), (side * 0.375, 0.0), (side * 0.35, 0.15)], 0.02, 0.02)
        canvas.paint(
            signal, mask=texture.blur(canvas.strokes([insula._replace(start=0.08, end=0.08)]), sigma=1.5), value=GREY
        )
        canvas.paint(signal, mask=canvas.strokes([insula]), value=CSF)
    for at, radii, tilt in nuclei:
        canvas.paint(signal, mask=canvas.ellipse(at=at, radii=radii, tilt=tilt, edge=0.04), value=GREY + 0.06)
    horns.append(Stroke([(0, 0.0), (0, 0.14)], 0.02 * size, 0.03 * size))
    canvas.paint(signal, mask=texture.blur(canvas.strokes(horns), sigma=0.8), value=CSF)
    septum = Stroke([(0, -0.26), (0, -0.02)], 0.016, 0.016)
    canvas.paint(signal, mask=canvas.strokes([septum]), value=WHITE)


def _paint_tumour(signal: np.ndarray, *, subject: Subject) -> None:
    """A ring-enhancing tumour with a dark centre and oedema, in every third patient."""
    side = -1 if subject.has(0.5) else 1
    at, size = subject.point((side * 0.33, 0.0), reach=0.2), subject.near(0.11, by=0.4)
    if not subject.has(0.35):
        return
    canvas.paint(signal, mask=0.6 * canvas.ellipse(at=at, radii=(1.8 * size, 2.0 * size), edge=0.12), value=0.36)
    canvas.paint(signal, mask=canvas.ellipse(at=at, radii=(size, 1.15 * size), edge=0.03), value=0.95)
    canvas.paint(signal, mask=canvas.ellipse(at=at, radii=(0.7 * size, 0.8 * size), edge=0.04), value=0.25)


def mri_brain_sagittal(subject: Subject) -> np.ndarray:
    """A midline sagittal slice, face to the left, uint8 (256, 256)."""
    signal = canvas.blank()
    canvas.paint(signal, mask=canvas.outline(_profile(subject)), value=subject.near(SCALP))
    canvas.paint(signal, mask=canvas.outline(FACE), value=MUSCLE + 0.1 * texture.anatomy_noise(subject, sigma=5.0))
    canvas.paint(signal, mask=canvas.ellipse(at=VAULT, radii=(0.745, 0.645), tilt=-0.1), value=SKULL)
    canvas.paint(signal, mask=canvas.ellipse(at=VAULT, radii=(0.72, 0.62), tilt=-0.1), value=0.36)
    canvas.paint(signal, mask=canvas.ellipse(at=VAULT, radii=(0.705, 0.605), tilt=-0.1), value=SKULL)
    canvas.paint(signal, mask=canvas.ellipse(at=VAULT, radii=(0.675, 0.575), tilt=-0.1), value=CSF)
    _paint_face(signal, subject=subject)
    _paint_neck(signal, subject=subject)
    _paint_cerebrum(signal, subject=subject)
    _paint_hindbrain(signal, subject=subject)
    signal = texture.bent(signal, subject=subject, wobble=0.014)
    return _acquired(signal, subject=subject)


VAULT: Point = (0.08, -0.27)
FACE: list[Point] = [
    (-0.6, -0.15),
    (-0.2, -0.05),
    (0.2, 0.15),
    (0.55, 0.25),
    (0.6, 0.6),
    (0.5, 1.2),
    (-0.2, 1.2),
    (-0.25, 0.8),
    (-0.55, 0.7),
]


def _profile(subject: Subject) -> list[Point]:
    """The head from the side: vault, neck, chin, lips, nose."""
    nose = subject.near(0.9, by=0.03)
    back = [(-0.5, -0.83), (0.0, -0.98), (0.5, -0.88), (0.85, -0.5), (0.89, -0.1), (0.72, 0.3), (0.7, 0.7), (0.78, 1.3)]
    front = [(-0.3, 1.3), (-0.3, 0.92), (-0.58, 0.86), (-0.7, 0.74), (-0.68, 0.62), (-0.76, 0.55), (-0.7, 0.48)]
    return [*back, *front, (-0.77, 0.4), (-0.71, 0.31), (-nose, 0.26), (-0.85, 0.14), (-0.7, -0.1), (-0.7, -0.4)]


def _paint_face(signal: np.ndarray, *, subject: Subject) -> None:
    canvas.paint(
        signal, mask=canvas.outline([(-0.7, 0.05), (-0.3, 0.02), (-0.02, 0.2), (-0.1, 0.3), (-0.6, 0.28)]), value=0.3
    )
    air = [Stroke([(-0.75, 0.24), (-0.4, 0.22), (-0.05, 0.28), (0.1, 0.5), (0.08, 1.1)], 0.045, 0.09)]
    air.append(Stroke([(-0.55, 0.1), (-0.15, 0.13)], 0.04, 0.03))
    canvas.paint(signal, mask=canvas.strokes(air), value=0.03)
    canvas.paint(signal, mask=canvas.ellipse(at=(-0.1, 0.08), radii=(0.09, 0.07)), value=0.05)
    canvas.paint(signal, mask=canvas.ellipse(at=(-0.58, -0.12), radii=(0.05, 0.09), tilt=0.3), value=0.05)
    palate = Stroke([(-0.66, 0.36), (-0.4, 0.34), (-0.1, 0.38)], 0.035, 0.04)
    canvas.paint(signal, mask=canvas.strokes([palate]), value=0.6)
    fibres = 0.08 * texture.anatomy_noise(subject, sigma=5.0, sigma_y=2.0)
    canvas.paint(signal, mask=canvas.ellipse(at=(-0.32, 0.54), radii=(0.3, 0.16), tilt=0.25), value=0.46 + fibres)
    teeth = [Stroke([(-0.65, 0.42), (-0.62, 0.6)], 0.06, 0.05)]
    canvas.paint(signal, mask=canvas.strokes(teeth), value=0.06)
    canvas.paint(signal, mask=canvas.ellipse(at=(-0.56, 0.74), radii=(0.08, 0.07)), value=0.62)


def _paint_neck(signal: np.ndarray, *, subject: Subject) -> None:
    canal = [(0.27, 0.2), (0.33, 0.5), (0.33, 0.8), (0.3, 1.2)]
    canvas.paint(signal, mask=canvas.strokes([Stroke(canal, 0.15, 0.13)]), value=CSF)
    canvas.paint(signal, mask=canvas.strokes([Stroke(canal, 0.085, 0.07)]), value=0.56)
    pitch = subject.near(0.17)
    discs = [Stroke([(0.2, 0.3), (0.215, 0.7), (0.19, 1.2)], 0.13, 0.14)]
    canvas.paint(signal, mask=canvas.strokes(discs), value=0.2)
    for k in range(6):
        body = canvas.ellipse(at=(0.21, 0.36 + k * pitch), radii=(0.066, 0.068), edge=0.03)
        canvas.paint(signal, mask=body, value=MARROW)
        spine = Stroke([(0.44, 0.42 + k * pitch), (0.6, 0.5 + k * pitch)], 0.06, 0.045)
        canvas.paint(signal, mask=canvas.strokes([spine]), value=0.5)


def _paint_cerebrum(signal: np.ndarray, *, subject: Subject) -> None:
    shape = [(-0.58, -0.2), (-0.56, -0.5), (-0.25, -0.8), (0.15, -0.85), (0.52, -0.67), (0.72, -0.3), (0.68, -0.02)]
    cerebrum = canvas.outline([*shape, (0.42, -0.03), (0.18, -0.1), (-0.1, -0.05), (-0.32, -0.02)])
    depth = 1.0 - 0.3 * canvas.ramp(texture.blur(cerebrum, sigma=9.0), low=0.45, high=1.0)
    canvas.paint(
        signal, mask=cerebrum, value=folded_brain(subject, depth=depth * canvas.ramp(cerebrum, low=0.0, high=0.9))
    )
    thick = subject.near(0.075, by=0.2)
    arc = [(-0.26, -0.14), (-0.34, -0.27), (-0.25, -0.4), (0.0, -0.46), (0.24, -0.4), (0.33, -0.26)]
    gap = Stroke([(x * 1.0, y - 0.035) for x, y in arc], thick + 0.05, thick + 0.05)
    canvas.paint(signal, mask=0.75 * canvas.strokes([gap]), value=0.26)
    room = [(-0.24, -0.2), (-0.2, -0.33), (0.0, -0.38), (0.22, -0.32), (0.24, -0.22), (0.05, -0.26)]
    canvas.paint(signal, mask=canvas.outline(room), value=CSF)
    canvas.paint(signal, mask=canvas.strokes([Stroke(arc, 0.9 * thick, 1.15 * thick)]), value=0.8)
    canvas.paint(
        signal, mask=canvas.strokes([Stroke([(-0.2, -0.22), (0.05, -0.3), (0.25, -0.32)], 0.025, 0.03)]), value=0.66
    )
    canvas.paint(signal, mask=canvas.ellipse(at=(0.06, -0.17), radii=(0.14, 0.085), tilt=0.15, edge=0.03), value=0.54)


def _paint_hindbrain(signal: np.ndarray, *, subject: Subject) -> None:
    canvas.paint(
        signal,
        mask=canvas.outline([(-0.1, -0.06), (0.3, -0.14), (0.7, 0.0), (0.55, 0.3), (0.2, 0.3), (0.04, 0.12)]),
        value=CSF,
    )
    stem = [Stroke([(0.1, -0.1), (0.13, 0.02), (0.19, 0.14), (0.27, 0.3)], 0.14, 0.1)]
    canvas.paint(signal, mask=canvas.strokes(stem), value=0.62)
    canvas.paint(signal, mask=canvas.ellipse(at=(0.1, 0.04), radii=(0.1, 0.12), tilt=-0.3), value=0.6)
    at = (0.43, 0.1)
    cerebellum = canvas.ellipse(at=at, radii=(subject.near(0.2), subject.near(0.185)), tilt=0.3)
    angle = np.arctan2(canvas.Y - 0.06, canvas.X - 0.26)
    folia = np.sin(angle * subject.near(26.0) + 1.2 * texture.anatomy_noise(subject, sigma=8.0))
    canvas.paint(signal, mask=cerebellum, value=0.46 + 0.15 * folia)
    tree = [
        Stroke([(0.28, 0.07), (0.42 + 0.12 * np.cos(a), 0.1 + 0.12 * np.sin(a))], 0.05, 0.02)
        for a in (-1.3, -0.6, 0.1, 0.8, 1.5)
    ]
    canvas.paint(signal, mask=0.8 * canvas.strokes(tree), value=0.7)
    canvas.paint(signal, mask=canvas.outline([(0.2, 0.02), (0.28, 0.07), (0.25, 0.16), (0.22, 0.1)]), value=CSF)
    size = subject.near(0.045, by=0.4)
    canvas.paint(signal, mask=canvas.ellipse(at=(-0.09, 0.0), radii=(size, 0.75 * size)), value=0.8)
