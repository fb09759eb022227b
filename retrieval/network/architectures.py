"""The networks in numbers. Free of torch: any process may import it."""

from dataclasses import dataclass
from itertools import pairwise

INPUT_SIDE = 224
POOLED_SIDE = INPUT_SIDE // 2**5
KERNEL_SIDE = 3
# Local features: what the third block gives, averaged over the fields of a 4 x 4 grid (docs/measurements.md).
LOCAL_BLOCKS = 3
LOCAL_GRID = 4


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The widths of a network, and the layers that it has beyond VGG16.

    `blocks` are the widths of the convolutions, a 2x2 max-pool after each block; `dense` those of the hidden dense
    layers. `added` names the layers that start as the identity: after a ReLU the identity changes nothing, so that
    with VGG16's weights in all other layers the network computes what VGG16 computes.
    """

    name: str
    blocks: tuple[tuple[int, ...], ...]
    dense: tuple[int, ...]
    added: frozenset[str] = frozenset()

    @property
    def dense_width(self) -> int:
        """Width of the last hidden dense layer, which is what the head reads."""
        return self.dense[-1]

    @property
    def width(self) -> int:
        """The number of features of an image: the dense ones, then the local ones."""
        return self.dense_width + self.blocks[LOCAL_BLOCKS - 1][-1] * LOCAL_GRID**2

    def convolutions(self, *, blocks: int) -> dict[str, tuple[int, ...]]:
        """Names and weight shapes of the convolutions of the first blocks, from input to output."""
        shapes: dict[str, tuple[int, ...]] = {}
        index, into = 0, 3
        for block in self.blocks[:blocks]:
            for width in block:
                shapes[f"features.{index}"] = (width, into, KERNEL_SIDE, KERNEL_SIDE)
                # A ReLU follows each, and a max-pool each block.
                index, into = index + 2, width
            index += 1
        return shapes

    def weight_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the weights from input to output, without the last layer, which has a row for each class."""
        convolutions = [width for block in self.blocks for width in block]
        dense = [convolutions[-1] * POOLED_SIDE**2, *self.dense]
        return [
            *((out, into, KERNEL_SIDE, KERNEL_SIDE) for into, out in pairwise([3, *convolutions])),
            *((out, into) for into, out in pairwise(dense)),
        ]


_ADDED = frozenset({"features.4", "classifier.6"})

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name="published",
            blocks=((64, 64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
            dense=(4096, 4096, 4096),
            added=_ADDED,
        ),
        Architecture(
            name="vgg16",
            blocks=((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
            dense=(4096, 4096),
        ),
        Architecture(
            name="narrow",
            blocks=((4, 4, 4), (8, 8), (8,) * 3, (16,) * 3, (32,) * 3),
            dense=(512, 512, 512),
            added=_ADDED,
        ),
    )
}
