"""Layers are rescaled to what really arrives before a training begins: loaded ones compute the same features."""

import torch
from torch import Tensor, nn

from retrieval.network.vgg import VGG, is_identity, weighted_layers


@torch.no_grad()
def scale_layers(network: VGG, *, sample: Tensor) -> None:
    """Give every layer but the last outputs of variance one on `sample`, prepared images (n, 3, 224, 224) float32.

    Weights from Caffe hand on activations of several hundred: gradients then differ by as much from layer to layer, and
    fresh layers behind them learn nothing (layer-sequential unit variance, Mishkin and Matas 2016). ReLU and max-pools
    pass a positive factor on, so loaded weights compute the same features as before, but for one common factor. The
    last layer stays small: a network that knows nothing should claim nothing. A convolution that changes nothing stays
    so: in a frozen block it need not be computed.
    """
    *layers, _ = weighted_layers(network).values()
    wanted = {id(layer) for layer in layers if not is_identity(layer)}
    network.eval()
    activations, factor = sample, torch.ones(())
    for layer in (*network.features, nn.Flatten(), *network.classifier[:-1]):
        if id(layer) not in wanted:
            activations = layer(activations)
            continue
        layer.bias /= factor
        deviation = layer(activations).std()
        if deviation > 0:
            layer.weight /= deviation
            layer.bias /= deviation
            factor *= deviation
        activations = layer(activations)
    network.train()
