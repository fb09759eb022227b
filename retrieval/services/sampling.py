"""A few of many images, where all of them would take too long."""

from typing import TypeVar

T = TypeVar("T")


def sample(images: list[T], *, most: int) -> list[T]:
    """At most so many of them, evenly spread, since images that were imported together resemble each other."""
    if len(images) <= most:
        return images
    return [images[number * len(images) // most] for number in range(most)]
