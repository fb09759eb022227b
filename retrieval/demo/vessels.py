"""Vessel trees: of the lung, the liver, the retina."""

import math

from retrieval.demo.canvas import Point, Stroke
from retrieval.demo.subject import Subject


def branches(subject: Subject, *, root: Point, angle: float, length: float, width: float, depth: int) -> list[Stroke]:
    """A vessel tree that forks `depth` times, thinner and shorter at each fork."""
    bend = angle + subject.shift(0.35)
    middle = (root[0] + 0.5 * length * math.cos(bend), root[1] + 0.5 * length * math.sin(bend))
    tip = (root[0] + length * math.cos(angle), root[1] + length * math.sin(angle))
    tree = [Stroke([root, middle, tip], width, 0.7 * width)]
    if depth:
        for side in (-1, 1):
            fork = angle + side * subject.near(0.5, by=0.4)
            shorter = length * subject.near(0.74, by=0.15)
            tree += branches(subject, root=tip, angle=fork, length=shorter, width=0.62 * width, depth=depth - 1)
    return tree
