"""Augmentation: uint8 in and out, drawn from torch's generator alone, and never a mirror image unless chosen."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.pictures import drawn_pixels
from training.learning.augmentation import (
    Compression,
    Framing,
    Margin,
    Resolution,
    Tint,
    Turn,
    Window,
    make_augmentation,
)

KINDS = ("light", "strong")


def grey(seed: int = 0) -> Tensor:
    return torch.from_numpy(drawn_pixels(seed))[None]


def coloured(seed: int = 0) -> Tensor:
    return torch.from_numpy(np.stack([drawn_pixels(seed + each) for each in range(3)]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [224, 96])
@pytest.mark.parametrize("image", [grey(), coloured()], ids=["grey", "coloured"])
def test_what_comes_out_is_what_a_network_takes(kind: str, image: Tensor, side: int) -> None:
    change = make_augmentation(kind, side=side, flips=False)
    for seed in range(40):
        torch.manual_seed(seed)
        changed = change(image)
        assert changed.dtype == torch.uint8
        assert changed.shape[0] in (image.shape[0], 3)
        assert changed.shape[1:] == (side, side)


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_decides_everything(kind: str) -> None:
    change, image = make_augmentation(kind, side=224, flips=True), grey()

    def drawn(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return change(image)

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))


@pytest.mark.parametrize("kind", KINDS)
def test_left_stays_left_unless_flips_are_chosen(kind: str) -> None:
    # Bright on the left, black on the right: the brighter half tells whether it was mirrored.
    image = torch.zeros(1, 200, 200, dtype=torch.uint8)
    image[..., 40:160, 30:90] = 220

    def mirrored(*, flips: bool) -> int:
        change = make_augmentation(kind, side=224, flips=flips)
        torch.manual_seed(0)
        changed = [change(image).float().mean(dim=(0, 1)) for _ in range(60)]
        return sum(bool(columns[112:].sum() > columns[:112].sum() * 1.5) for columns in changed)

    assert mirrored(flips=True) > 10 > mirrored(flips=False)


def test_a_window_keeps_the_order_of_grey_values() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).repeat(4, 1)[None]
    for seed in range(30):
        torch.manual_seed(seed)
        assert (Window()(ramp).int().diff(dim=2) >= 0).all()


def test_fewer_pixels_leave_less_detail() -> None:
    noise = torch.randint(0, 256, (1, 224, 224), dtype=torch.uint8)
    torch.manual_seed(1)
    assert Resolution(least=32, most=224)(noise).float().std() < noise.float().std()


def test_margins_turns_and_tints_keep_to_the_image() -> None:
    image = torch.full((1, 100, 80), 90, dtype=torch.uint8)
    torch.manual_seed(0)
    wider = Margin(share=1.0, most=0.4)(image)
    assert wider.shape[1] >= 100
    assert wider.shape[2] >= 80
    assert Turn(degrees=15)(image).min() > 40  # what is bared is not black
    assert Tint()(image).shape == (3, 100, 80)


def test_framing_cuts_about_where_the_body_ends() -> None:
    image = torch.full((1, 200, 160), 30, dtype=torch.uint8)
    image[:, 60:140, 50:110] = 200
    for seed in range(20):
        torch.manual_seed(seed)
        _, height, width = Framing(least=-0.1, most=0.2)(image).shape
        assert 80 * 0.8 - 4 <= height <= 80 * 1.4 + 4
        assert 60 * 0.8 - 4 <= width <= 60 * 1.4 + 4


def test_compression_is_that_of_jpeg() -> None:
    image = grey()
    torch.manual_seed(0)
    changed = Compression(worst=20, best=30)(image)
    assert changed.shape == image.shape
    assert 0 < (changed.float() - image.float()).abs().mean() < 20
