"""The networks have the published shape, and VGG16 is torchvision's."""

import itertools
import math

import pytest
import torch
from torch import nn
from torchvision.models import vgg16

from retrieval.network.architectures import ARCHITECTURES
from retrieval.network.preprocessing import TORCHVISION, prepare
from retrieval.network.vgg import VGG, build_network, empty_network, split_at_block, weighted_layers
from retrieval.network.weights import layer_names
from tests.network.conftest import batch_of


def shapes(network: VGG) -> list[tuple[int, ...]]:
    return [tuple(layer.weight.shape) for layer in weighted_layers(network).values()]


def test_the_published_network_has_the_published_layers() -> None:
    network = empty_network("published", classes=18)
    widths = [3, 64, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convolutions = [(wide, narrow, 3, 3) for narrow, wide in itertools.pairwise(widths)]
    assert shapes(network) == [*convolutions, (4096, 25088), (4096, 4096), (4096, 4096), (18, 4096)]
    assert ARCHITECTURES["published"].weight_shapes() == shapes(network)[:-1]
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in network.features) == 5


@pytest.mark.parametrize(
    ("architecture", "classes", "count"), [("published", 18, 151_152_530), ("vgg16", 1000, 138_357_544)]
)
def test_parameter_counts(architecture: str, classes: int, count: int) -> None:
    assert sum(each.numel() for each in empty_network(architecture, classes=classes).parameters()) == count


def test_dropout_of_one_half_follows_each_hidden_dense_layer() -> None:
    kinds = [type(layer).__name__ for layer in empty_network("published", classes=18).classifier]
    assert kinds == ["Linear", "ReLU", "Dropout"] * 3 + ["Linear"]
    assert all(
        layer.p == 0.5 for layer in empty_network("published", classes=18).classifier if isinstance(layer, nn.Dropout)
    )


def test_vgg16_computes_what_torchvision_computes(published: VGG) -> None:
    """Same keys, same outputs; and the published network on VGG16's weights has VGG16's features, by its identities."""
    with torch.device("meta"):
        theirs, ours = vgg16(num_classes=18), VGG(ARCHITECTURES["vgg16"], classes=18)
    names = layer_names(source="published", target="vgg16")
    state = published.state_dict()
    renamed = {
        f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": state[key]
        for key in state
        if key.rpartition(".")[0] in names
    }
    for network in (theirs, ours):
        network.load_state_dict(renamed, strict=True, assign=True)
        network.eval()
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images))
        torch.testing.assert_close(published.features(images), theirs.features(images))
        torch.testing.assert_close(published.dense_features(images), ours.dense_features(images))


def test_the_same_seed_gives_the_same_parameters() -> None:
    first, again, other = (build_network("narrow", classes=3, seed=seed).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])


def test_building_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    build_network("narrow", classes=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_new_network_keeps_the_size_of_its_signal(narrow: VGG) -> None:
    """Kaiming initialisation: the features of unit-variance input neither vanish nor explode over 17 layers."""
    with torch.inference_mode():
        features = narrow.dense_features(torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert 0.05 < float(features.std()) < 20
    assert 0.2 < float((features > 0).float().mean()) < 0.8


def test_logits_follow_from_the_dense_features(narrow: VGG) -> None:
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        assert narrow.dense_features(images).min() >= 0
        torch.testing.assert_close(narrow(images), narrow.classifier[-1](narrow.dense_features(images)))
        assert narrow(images).shape == (2, 3)


def test_local_features_are_averages_over_fields_of_the_picture(narrow: VGG) -> None:
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        activations = split_at_block(narrow, blocks=3)[0](images)
        assert activations.shape == (2, 8, 28, 28)
        fields = activations.reshape(2, 8, 4, 7, 4, 7).mean(dim=(3, 5)).flatten(1)
        features = narrow.image_features(images)
        torch.testing.assert_close(features, torch.cat([narrow.dense_features(images), fields], dim=1))
    assert features.shape == (2, narrow.architecture.width)


def test_the_narrow_network_learns(narrow: VGG) -> None:
    """It fits eight pictures, dark ones and bright ones, in twenty steps, and gradients reach every layer."""
    labels = torch.arange(8) % 2
    brightness = (1 + labels.numpy())[:, None, None, None]
    images = prepare((batch_of(8) // 3 * brightness).astype("uint8"), preprocessing=TORCHVISION)
    optimizer = torch.optim.Adam(narrow.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(narrow(images), labels)
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            assert all(parameter.grad.abs().sum() > 0 for parameter in narrow.parameters())
        optimizer.step()
        losses.append(loss.item())
    # A new head knows nothing: ln(3), and a little for its small random weights.
    assert losses[0] == pytest.approx(math.log(3), abs=0.3)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(("architecture", "classes"), [("vgg19", 3), ("narrow", 0)])
def test_what_cannot_be_built_is_refused(architecture: str, classes: int) -> None:
    with pytest.raises(ValueError, match=r"vgg19|at least one"):
        build_network(architecture, classes=classes)
