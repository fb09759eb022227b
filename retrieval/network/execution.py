"""A network made ready to compute features as fast as the processor can, and nothing else."""

import copy
from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from retrieval.network.architectures import INPUT_SIDE, LOCAL_BLOCKS
from retrieval.network.vgg import VGG, is_identity, local_features, split_at_block

Precision = Literal["auto", "float32", "bfloat16"]
# Prepared images (n, 3, 224, 224), channels_last -> features (n, width).
Runner = Callable[[Tensor], Tensor]

_THREADS_PER_IMAGE = 2


def best_device() -> torch.device:
    """The CUDA device where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def best_dtype(device: torch.device, *, precision: Precision = "auto") -> torch.dtype:
    """Return bfloat16 where the hardware multiplies it faster than float32, else float32.

    Told from what the hardware says of itself and not from a timed trial, so that all workers of a host decide alike.
    Not float16: weights from Caffe drive activations towards its largest value, 65,504.
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    native = _cuda_has_bfloat16() if device.type == "cuda" else _processor_has_bfloat16()
    return torch.bfloat16 if native else torch.float32


def make_runner(network: VGG, *, device: torch.device, dtype: torch.dtype) -> Runner:
    """Return a function that computes `network.image_features` in evaluation mode, with weights of its own.

    Input is `dtype` on `device`. The network is left as it is and is not needed afterwards.
    """
    if device.type == "cpu" and _has_packed_kernels(dtype):
        return PackedRunner(network, dtype=dtype)
    return ModuleRunner(network, device=device, dtype=dtype)


def make_block_runner(blocks: nn.Sequential, *, device: torch.device, dtype: torch.dtype) -> Runner:
    """Return a function that computes whole blocks of convolutions as they are now, with weights of its own.

    Prepared images (n, 3, h, w) -> activations (n, channels, side, side), `dtype` on `device`, channels_last.
    """
    if device.type == "cpu" and _has_packed_kernels(dtype):
        return PackedBlocks(blocks, dtype=dtype)
    return _frozen_copy(blocks, device=device, dtype=dtype)


class ModuleRunner:
    """Plain modules, channels_last: for CUDA, and for what oneDNN cannot do on this processor."""

    def __init__(self, network: VGG, *, device: torch.device, dtype: torch.dtype) -> None:
        self._network = _frozen_copy(network, device=device, dtype=dtype)

    def __call__(self, images: Tensor) -> Tensor:
        return self._network.image_features(images)


class PackedBlocks:
    """oneDNN kernels called directly: weights reordered once into the layout that its kernels read, ReLU fused.

    These are the operators that torch.compile emits for a frozen network, without its minutes of compilation.
    """

    def __init__(self, blocks: nn.Sequential, *, dtype: torch.dtype, side: int = INPUT_SIDE) -> None:
        self._layers = _packed_convolutions(blocks, dtype=dtype, batch=_images_at_once(), side=side)

    def __call__(self, images: Tensor) -> Tensor:
        # A few images at a time: what one layer writes is still in the cache when the next one reads it.
        return torch.cat([self.few(few) for few in images.split(_images_at_once())])

    def few(self, images: Tensor) -> Tensor:
        for layer in self._layers:
            images = layer(images)
        return images


class PackedRunner:
    """PackedBlocks, and the dense layers in the same way."""

    def __init__(self, network: VGG, *, dtype: torch.dtype) -> None:
        first, rest = split_at_block(network, blocks=LOCAL_BLOCKS)
        self._first = PackedBlocks(first, dtype=dtype)
        self._rest = PackedBlocks(rest, dtype=dtype, side=INPUT_SIDE // 2**LOCAL_BLOCKS)
        hidden = [layer for layer in network.classifier[:-2] if isinstance(layer, nn.Linear)]
        self._dense = [_packed_dense(layer, dtype=dtype) for layer in hidden]

    def __call__(self, images: Tensor) -> Tensor:
        local, last = [], []
        for few in images.split(_images_at_once()):
            activations = self._first.few(few)
            local.append(local_features(activations))
            last.append(self._rest.few(activations))
        # The dense layers take the whole batch, since their cost is reading 270 MB of weights once.
        features = torch.cat(last).flatten(1)
        for layer in self._dense:
            features = layer(features)
        return torch.cat([features, torch.cat(local)], dim=1)


ModuleT = TypeVar("ModuleT", bound=nn.Module)


def _frozen_copy(module: ModuleT, *, device: torch.device, dtype: torch.dtype) -> ModuleT:
    """A copy, since Module.to changes a module in place and the caller's network may go on training."""
    frozen = copy.deepcopy(module).eval().requires_grad_(requires_grad=False)
    return frozen.to(device=device, dtype=dtype).to(memory_format=torch.channels_last)


def _images_at_once() -> int:
    return max(1, torch.get_num_threads() // _THREADS_PER_IMAGE)


def _packed_convolutions(features: nn.Sequential, *, dtype: torch.dtype, batch: int, side: int) -> list[Runner]:
    layers: list[Runner] = []
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            # The layer that VGG16 does not have begins as the identity, and stays it in a frozen block: a ninth of all
            # multiplications. It is no first layer, whose input alone can be negative.
            if layers and is_identity(layer):
                continue
            layers.append(_packed_convolution(layer, dtype=dtype, input_shape=(batch, layer.in_channels, side, side)))
        elif isinstance(layer, nn.MaxPool2d):
            layers.append(layer)
            side //= 2
    return layers


def _packed_convolution(layer: nn.Conv2d, *, dtype: torch.dtype, input_shape: tuple[int, ...]) -> Runner:
    one = (1, 1)
    weight = layer.weight.detach().to(dtype).to_mkldnn()
    reorder: Callable[..., Tensor] = torch._C._nn.mkldnn_reorder_conv2d_weight
    weight = reorder(weight, one, one, one, 1, input_shape)
    bias = None if layer.bias is None else layer.bias.detach().to(dtype, copy=True)
    run = torch.ops.mkldnn._convolution_pointwise
    return lambda images: run(images, weight, bias, one, one, one, 1, "relu", [], "")


def _packed_dense(layer: nn.Linear, *, dtype: torch.dtype) -> Runner:
    weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().to(dtype).contiguous(), 1)
    bias = layer.bias.detach().to(dtype, copy=True)
    run = torch.ops.mkldnn._linear_pointwise
    return lambda features: run(features, weight, bias, "relu", [], "")


def _has_packed_kernels(dtype: torch.dtype) -> bool:
    """Whether oneDNN has kernels for `dtype`: for bfloat16 it has none below AVX-512, where modules still work."""
    operators = ("_convolution_pointwise", "_linear_pointwise", "_reorder_linear_weight", "_is_mkldnn_bf16_supported")
    if not torch.backends.mkldnn.is_available() or not all(hasattr(torch.ops.mkldnn, name) for name in operators):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _processor_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(flag, False) for flag in ("avx512_bf16", "amx_bf16"))


def _cuda_has_bfloat16() -> bool:
    return torch.cuda.is_bf16_supported(including_emulation=False)
