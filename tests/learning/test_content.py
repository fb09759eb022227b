"""The body in an image: found on dark and on grey, without what it lies on, and never less than plausible."""

import numpy as np
import pytest

from training.learning.content import content_box


def scene(*, background: int = 0, body: int = 200, table: bool = False) -> np.ndarray:
    image = np.full((240, 320), background, dtype=np.float32)
    image[80:160, 100:220] = body
    if table:
        image[200:202, 20:300] = body  # thin and wide, as a table is in cross section
        image[155:201, 160:162] = body
    return image


@pytest.mark.parametrize(
    "image",
    [scene(), scene(background=100, body=130), scene(background=250, body=60), scene(table=True)],
    ids=["black", "grey", "paper", "on a table"],
)
def test_the_body_is_found(image: np.ndarray) -> None:
    assert np.abs(np.subtract(content_box(image), (80, 160, 100, 220))).max() <= 6


@pytest.mark.parametrize("value", [0, 255])
def test_an_image_of_one_value_is_content_as_a_whole(value: int) -> None:
    assert content_box(np.full((30, 50), value, dtype=np.float32)) == (0, 30, 0, 50)


def test_a_speck_is_no_body() -> None:
    image = np.zeros((240, 320), dtype=np.float32)
    image[10:40, 10:40] = 255
    assert content_box(image) == (0, 240, 0, 320)


@pytest.mark.parametrize("shape", [(1, 1), (2, 500), (3, 3)])
def test_tiny_images_have_a_box_too(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    top, bottom, left, right = content_box(image)
    assert 0 <= top < bottom <= shape[0]
    assert 0 <= left < right <= shape[1]
