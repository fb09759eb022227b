"""The one source of chance behind a phantom: what belongs to the patient, and what belongs to the single image."""

import numpy as np

# How far an image of a patient strays from the patient's own value, in parts of the range between patients.
SLIP = 0.10


class Subject:
    """A synthetic patient in front of the scanner, once.

    `body` gives the anatomy and is the same for all images of a patient; `scan` gives what differs from image to
    image: positioning, noise. Every drawing function must ask `body` in an order that does not depend on `scan`,
    or the images of one patient would drift apart.
    """

    def __init__(self, *, patient_seed: int, image_seed: int) -> None:
        self.body = np.random.default_rng(patient_seed)
        # The second word keeps the two streams apart where both seeds are the same number.
        self.scan = np.random.default_rng([image_seed, 1])

    def near(self, value: float, *, by: float = 0.08) -> float:
        """A value of the patient within `by` (a fraction) of the given one."""
        return value * (1.0 + self.shift(by))

    def shift(self, reach: float) -> float:
        """A deviation of the patient in -reach..reach, a little different in every image."""
        own = self.body.uniform(-1.0, 1.0)
        return float(reach * np.clip(own + SLIP * self.scan.normal(), -1.0, 1.0))

    def has(self, chance: float) -> bool:
        """Whether the patient has a finding: the same answer for all of the patient's images."""
        return bool(self.body.random() < chance)

    def count(self, *, low: int, high: int) -> int:
        """A whole number of the patient in low..high, both included."""
        return int(self.body.integers(low, high + 1))

    def point(self, at: tuple[float, float], *, reach: float) -> tuple[float, float]:
        """A place of the patient within `reach` of the given one, in both directions."""
        return at[0] + self.shift(reach), at[1] + self.shift(reach)
