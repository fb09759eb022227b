"""Rescaling gives layers outputs of one size, and changes nothing else in what loaded weights compute."""

import torch

from retrieval.network.vgg import is_identity, weighted_layers
from tests.learning.conftest import narrow_network
from training.learning.scaling import scale_layers


def sample() -> torch.Tensor:
    return 100 * torch.randn(8, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_outputs_have_variance_one() -> None:
    network, images = narrow_network(), sample()
    scale_layers(network, sample=images)
    *layers, last = weighted_layers(network).values()
    same = [layer for layer in layers if is_identity(layer)]
    seen: dict[int, float] = {}
    for layer in layers:
        layer.register_forward_hook(lambda own, _, outputs: seen.update({id(own): float(outputs.std())}))
    before = last.weight.clone()
    with torch.no_grad():
        network.eval()(images)
    assert len(seen) == len(layers)
    assert len(same) == 1
    assert is_identity(same[0])
    assert all(abs(seen[id(layer)] - 1) < 1e-3 for layer in layers if layer is not same[0])
    assert torch.equal(last.weight, before)


def test_features_keep_their_direction() -> None:
    network, images = narrow_network(), sample()
    with torch.no_grad():
        for layer in weighted_layers(network).values():
            layer.bias += torch.randn(layer.bias.shape, generator=torch.Generator().manual_seed(1))
        before = network.eval().dense_features(images)
        scale_layers(network, sample=images)
        after = network.eval().dense_features(images)
    assert torch.allclose(torch.nn.functional.normalize(before), torch.nn.functional.normalize(after), atol=1e-4)


def test_a_dead_layer_does_no_harm() -> None:
    network = narrow_network()
    with torch.no_grad():
        network.features[0].weight.zero_()
        scale_layers(network, sample=sample())
    assert all(torch.isfinite(each).all() for each in network.parameters())
