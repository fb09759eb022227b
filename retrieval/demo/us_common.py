"""What the ultrasound phantoms share: log-compressed speckle, attenuation, and the screen around the picture."""

import numpy as np

from retrieval.demo import canvas, texture
from retrieval.demo.canvas import Stroke
from retrieval.demo.subject import Subject


def insonified(echo: np.ndarray, *, subject: Subject, field: np.ndarray, across: float = 2.2) -> np.ndarray:
    """The echo levels (0..1, already compressed) as the machine shows them inside its field of view; uint8."""
    # Grains are wider than deep: the beam is resolved worse across than along.
    grains = texture.speckle(subject, along=across, across=0.9)
    image = 0.9 * texture.blur(echo, sigma=1.3, sigma_y=0.6) + 0.12 * np.log(grains + 0.05) * canvas.ramp(
        echo, low=-0.05, high=0.25
    )
    image = image * subject.near(1.0, by=0.14) - subject.near(0.025, by=0.9) * (canvas.Y + 1.0)
    image = image * field
    _paint_screen(image)
    return texture.to_uint8(image)


def _paint_screen(image: np.ndarray) -> None:
    """The grey wedge and the depth scale beside the picture."""
    wedge = (np.abs(canvas.X + 0.95) < 0.02) & (np.abs(canvas.Y + 0.4) < 0.4)
    canvas.paint(image, mask=wedge.astype(np.float32), value=-1.25 * canvas.Y)
    ticks = [Stroke([(0.94, y), (0.975, y)], 0.012, 0.012) for y in np.arange(-0.9, 0.95, 0.2)]
    canvas.paint(image, mask=canvas.strokes(ticks), value=0.6)
