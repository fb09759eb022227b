"""What the loop reads of training images."""

import numpy as np
import torch

from retrieval.network.preprocessing import TORCHVISION
from retrieval.network.vgg import split_at_block
from tests.learning.conftest import narrow_network
from training.learning.augmentation import make_augmentation
from training.learning.data import FrozenBlocks, Inputs, LabelledImages


def drawn(images: LabelledImages, *, workers: int, seed: int, order: list[list[int]]) -> torch.Tensor:
    blocks, _ = split_at_block(narrow_network(), blocks=0)
    inputs = Inputs(
        images,
        side=64,
        frozen=FrozenBlocks(blocks, preprocessing=TORCHVISION, device=torch.device("cpu"), dtype=torch.float32),
        cache_bytes=0,
        workers=workers,
        on_progress=lambda _: None,
        augmentation=make_augmentation("strong", side=64, flips=True),
    )
    batches = list(inputs.batches([np.array(rows) for rows in order], seed=seed))
    return torch.cat(batches)[np.argsort(np.concatenate(order))]


def test_the_seed_alone_decides_the_augmentation(images: LabelledImages) -> None:
    order = [[5, 2, 0], [1, 4, 3]]
    expected = drawn(images, workers=0, seed=7, order=order)
    for workers in (1, 2):
        assert torch.equal(drawn(images, workers=workers, seed=7, order=order), expected)
    assert torch.equal(drawn(images, workers=0, seed=7, order=[[3, 1], [0, 2, 4, 5]]), expected)
    assert not torch.equal(drawn(images, workers=0, seed=8, order=order), expected)


def test_decoding_here_leaves_the_draws_of_the_network_alone(images: LabelledImages) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    drawn(images, workers=0, seed=7, order=[[0, 1]])
    assert torch.equal(torch.rand(4), wanted)
