"""One definition of the VGG networks: the published one, plain VGG16, and a narrow one for tests and demonstrations.

The published network is VGG16 (Simonyan and Zisserman 2015, configuration D) with one more 64 -> 64 convolution in its
first block and one more 4096-wide dense layer. Module names follow torchvision's `vgg16`, so that plain VGG16 has the
same state-dict keys.
"""

import torch
from torch import Tensor, nn

from retrieval.network.architectures import (
    ARCHITECTURES,
    KERNEL_SIDE,
    LOCAL_BLOCKS,
    LOCAL_GRID,
    POOLED_SIDE,
    Architecture,
)

_DROPOUT = 0.5


class VGG(nn.Module):
    """A VGG network for float batches (n, 3, 224, 224), normalised by a Preprocessing."""

    def __init__(self, architecture: Architecture, *, classes: int) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"A network needs at least one class, not {classes}.")
        self.architecture = architecture
        self.classes = classes
        self.features = _convolutions(architecture.blocks)
        self.classifier = _dense_layers(architecture, classes=classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (n, classes), before softmax."""
        return self.classifier[-2:](self.dense_features(images))

    def dense_features(self, images: Tensor) -> Tensor:
        """Return the last hidden dense layer after its ReLU: (n, dense_width), not negative, not normalised."""
        return self.classifier[:-2](self.features(images).flatten(1))

    def image_features(self, images: Tensor) -> Tensor:
        """Return what images are compared by: (n, width), the dense features, then the local ones, not normalised."""
        first, rest = split_at_block(self, blocks=LOCAL_BLOCKS)
        activations = first(images)
        return torch.cat([rest[:-2](activations), local_features(activations)], dim=1)


def local_features(activations: Tensor) -> Tensor:
    """Return (n, channels * 16): averages over a 4 x 4 grid of the third block's output, (n, channels, side, side)."""
    return nn.functional.adaptive_avg_pool2d(activations, LOCAL_GRID).flatten(1)


def build_network(architecture: str, *, classes: int, seed: int = 0) -> VGG:
    """Return a new network on the CPU in float32 and training mode; the same seed gives the same parameters.

    Raises ValueError for an unknown architecture or for fewer than one class.
    """
    # Built without storage first: PyTorch would otherwise fill 150 million parameters twice.
    network = empty_network(architecture, classes=classes).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    layers = weighted_layers(network)
    with torch.no_grad():
        for name, layer in layers.items():
            _initialise(layer, generator=generator, identity=name in network.architecture.added)
        # Small logits: a new head starts at a loss of about ln(classes), whatever the features.
        nn.init.normal_(list(layers.values())[-1].weight, std=0.01, generator=generator)
    return network


def empty_network(architecture: str, *, classes: int) -> VGG:
    """Return the network with parameters on the meta device: shapes, no storage. Raises ValueError as build_network."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"Unknown architecture {architecture!r}; known are {', '.join(ARCHITECTURES)}.")
    with torch.device("meta"):
        return VGG(ARCHITECTURES[architecture], classes=classes)


def weighted_layers(network: VGG) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return the layers that hold parameters by their module names, from input to output."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}


def is_identity(layer: nn.Module) -> bool:
    """Whether a layer is a convolution that, with its ReLU, changes nothing in what is not negative."""
    if not isinstance(layer, nn.Conv2d) or layer.in_channels != layer.out_channels:
        return False
    without_bias = layer.bias is None or not layer.bias.any()
    return without_bias and torch.equal(layer.weight, nn.init.dirac_(torch.empty_like(layer.weight)))


def split_at_block(network: VGG, *, blocks: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the first `blocks` blocks of convolutions, and all that follows up to the logits.

    Both share the network's parameters. Raises ValueError for fewer than 0 blocks and for more than there are.
    """
    layers = list(network.features)
    ends = [0, *(number for number, layer in enumerate(layers, start=1) if isinstance(layer, nn.MaxPool2d))]
    if not 0 <= blocks < len(ends):
        raise ValueError(f"The network has {len(ends) - 1} blocks, not {blocks}.")
    # torchvision has this pool too. It changes nothing at 224 pixels, and lets the rest learn from smaller images.
    pool = nn.AdaptiveAvgPool2d(POOLED_SIDE)
    rest = (*layers[ends[blocks] :], pool, nn.Flatten(), *network.classifier)
    return nn.Sequential(*layers[: ends[blocks]]), nn.Sequential(*rest)


def _convolutions(blocks: tuple[tuple[int, ...], ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for block in blocks:
        for width in block:
            layers += [nn.Conv2d(channels, width, kernel_size=KERNEL_SIDE, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    return nn.Sequential(*layers)


def _dense_layers(architecture: Architecture, *, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = architecture.blocks[-1][-1] * POOLED_SIDE**2
    for width in architecture.dense:
        layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True), nn.Dropout(_DROPOUT)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def _initialise(layer: nn.Conv2d | nn.Linear, *, generator: torch.Generator, identity: bool) -> None:
    """Kaiming for ReLU (He et al. 2015), forward variance kept; the identity for a layer that VGG16 does not have."""
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    if not identity:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    elif isinstance(layer, nn.Conv2d):
        nn.init.dirac_(layer.weight)
    else:
        nn.init.eye_(layer.weight)
