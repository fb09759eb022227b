"""The forward passes that indexing is compared with: the same network with the same weights, and nothing around it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from retrieval.network.execution import ModuleRunner, best_device, best_dtype
from retrieval.network.preprocessing import TORCHVISION, prepare
from retrieval.network.vgg import VGG

Pass = Callable[[], torch.Tensor]
IDENTITY_NOTE = (
    "The Embedder leaves out a convolution that is the identity, a ninth of all multiplications: in networks as built, "
    "and in those trained with their first block frozen. The references compute it."
)


def bare_pass(network: VGG, *, pixels: np.ndarray) -> Pass:
    """One batch of prepared images through plain modules, channels_last, in the precision that the Embedder chooses:

    without the Embedder's packed weights and its small steps through the convolutions.
    """
    device = best_device()
    dtype = best_dtype(device)
    images = prepare(pixels, preprocessing=TORCHVISION, device=device, dtype=dtype)
    runner = ModuleRunner(network, device=device, dtype=dtype)
    return lambda: _finished(runner, images=images)


def plain_pass(network: VGG, *, pixels: np.ndarray) -> Pass:
    """One batch of prepared images in float32, contiguous: what a loop does that takes PyTorch as it comes."""
    device = best_device()
    images = prepare(pixels, preprocessing=TORCHVISION, device=device).contiguous()
    runner = network.to(device)
    return lambda: _finished(runner.dense_features, images=images)


def torchvision_loop(network: VGG, *, paths: list[Path], batch: int) -> Pass:
    """The plain float32 loop of a torchvision tutorial, from files: open, resize, to tensor, normalise, forward."""
    device = best_device()
    runner = network.to(device)
    transform = transforms.Compose(
        [
            transforms.Resize((224, 224)),
            transforms.ToTensor(),
            transforms.Normalize(mean=TORCHVISION.mean, std=TORCHVISION.std),
        ]
    )

    def run() -> torch.Tensor:
        features = []
        for start in range(0, len(paths), batch):
            images = torch.stack([transform(_rgb(path)) for path in paths[start : start + batch]]).to(device)
            features.append(_finished(runner.dense_features, images=images))
        return torch.cat(features)

    return run


def _rgb(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def _finished(run: Callable[[torch.Tensor], torch.Tensor], *, images: torch.Tensor) -> torch.Tensor:
    """Wait for the device: a CUDA call returns before it is done."""
    with torch.inference_mode():
        return run(images).float().cpu()


def device_details() -> dict[str, object]:
    device = best_device()
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "precision": str(best_dtype(device)),
        "threads": torch.get_num_threads(),
    }
