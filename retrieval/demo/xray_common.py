"""What all radiographs share: bones as hollow bodies in projection, exposure, noise, the marker on the film."""

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Point
from retrieval.demo.subject import Subject


def bone(mask: np.ndarray, *, cortex: float, marrow: float, depth: float = 1.8) -> np.ndarray:
    """Density that a bone adds to what lies before and behind it: rays along the rim pass through most cortex."""
    return mask * (cortex + (marrow - cortex) * texture.core(mask, depth=depth))


def exposed(density: np.ndarray, *, subject: Subject, noise: float = 0.014, turn: float = 0.05) -> np.ndarray:
    """The film: posed, scattered, grainy, a little too light or too dark; uint8 (256, 256), bone bright."""
    image = texture.posed(density, subject=subject, turn=turn)
    image = 0.92 * texture.blur(image, sigma=0.6) + 0.08 * texture.blur(image, sigma=14.0)
    image = image * subject.near(1.0, by=0.1) + subject.shift(0.03)
    # Many photons make dark film, and dark film has the relative noise of few photons: grain grows with density.
    grain = noise * subject.scan.uniform(0.7, 1.4) * texture.smooth_noise(subject.scan, sigma=0.6)
    return texture.to_uint8(image + grain * (0.5 + image))


def paint_marker(density: np.ndarray, *, text: str, at: Point) -> None:
    """The lead letter that tells left from right."""
    canvas.paint(density, mask=canvas.lettering(text, at=at), value=0.95)
