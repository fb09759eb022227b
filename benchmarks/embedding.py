"""How fast the Embedder turns images into embeddings, and what surrounds the network costs beside it.

    python -m benchmarks.embedding [--architecture published] [--batch 16] [--images 48]

All figures of one run come from the same process and the same network with random weights: what a network has learnt
makes it no slower, as long as its first block was frozen meanwhile. benchmarks/passes.py describes the references.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measuring import interleaved, median, peak_memory, seconds_of
from benchmarks.passes import IDENTITY_NOTE, bare_pass, device_details, plain_pass
from benchmarks.pictures import smooth_pictures, write_smooth_pngs
from benchmarks.report import Report
from retrieval.network.architectures import ARCHITECTURES
from retrieval.network.embedder import Embedder
from retrieval.network.preprocessing import TORCHVISION, load_image
from retrieval.network.projection import fit_projection
from retrieval.network.version_file import save_version
from retrieval.network.vgg import VGG, build_network

_PREVIEW_SIDES = (320, 1024)
_QUERY_RUNS = 15


def main() -> None:
    options = _options()
    report = Report("embedding", options=options)
    report.details |= device_details()
    network = build_network(options.architecture, classes=18).eval()
    with tempfile.TemporaryDirectory() as folder:
        embedder = _load(network, path=Path(folder) / "version.safetensors", report=report)
        speeds = _forward_speeds(network, embedder=embedder, batch=options.batch)
        _add_query_figures(embedder, report=report)
        for side in _PREVIEW_SIDES:
            previews = write_smooth_pngs(Path(folder) / str(side), count=options.images, side=side)
            speeds |= _preview_speeds(embedder, previews=previews, batch=options.batch, report=report)
    _add_speeds(speeds, report=report)
    report.add("peak resident memory", peak_memory() / 1e6, unit="MB")
    report.note(IDENTITY_NOTE)
    report.finish()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", choices=list(ARCHITECTURES), default="published")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=48, help="previews to embed from files")
    return parser.parse_args()


def _load(network: VGG, *, path: Path, report: Report) -> Embedder:
    projection = fit_projection(np.zeros((0, network.architecture.width), np.float32))
    classes = [f"class {number}" for number in range(network.classes)]
    saving = seconds_of(
        lambda: save_version(path, network=network, preprocessing=TORCHVISION, projection=projection, classes=classes)
    )
    loaded: list[Embedder] = []
    loading = seconds_of(lambda: loaded.append(Embedder.load(path)))
    report.add("save", saving, unit="s")
    report.add("load and warm up", loading, unit="s")
    return loaded[0]


def _forward_speeds(network: VGG, *, embedder: Embedder, batch: int) -> dict[str, float]:
    """Images a second on one batch: the plain loop, the bare forward pass, and Embedder.embed from uint8 pixels."""
    pixels = _rgb_pixels(batch)
    seconds = interleaved(
        {
            "plain float32 pass": plain_pass(network, pixels=pixels),
            "bare forward pass": bare_pass(network, pixels=pixels),
            "Embedder.embed": lambda: embedder.embed(pixels),
        }
    )
    network.to("cpu")
    return {name: batch / each for name, each in seconds.items()}


def _rgb_pixels(count: int) -> np.ndarray:
    """uint8 (count, 224, 224, 3)."""
    return np.stack([np.repeat(grey[..., None], 3, axis=2) for grey in smooth_pictures(count, side=224)])


def _add_query_figures(embedder: Embedder, *, report: Report) -> None:
    pixels = _rgb_pixels(1)
    taken = [seconds_of(lambda: embedder.embed(pixels)) * 1e3 for _ in range(_QUERY_RUNS)]
    report.add("one image, median", median(taken), unit="ms")
    report.add("one image, worst", max(taken), unit="ms")


def _preview_speeds(embedder: Embedder, *, previews: list[Path], batch: int, report: Report) -> dict[str, float]:
    side = previews[0].parent.name
    decoding = seconds_of(lambda: [load_image(path) for path in previews[:16]]) / len(previews[:16])
    report.add(f"load_image, {side} px", decoding * 1e3, unit="ms")
    seconds = seconds_of(lambda: list(embedder.embed_images(previews, batch_size=batch)))
    return {f"Embedder.embed_images, {side} px": len(previews) / seconds}


def _add_speeds(speeds: dict[str, float], *, report: Report) -> None:
    for name, speed in speeds.items():
        report.add(name, speed, unit="images/s")
    for name, speed in speeds.items():
        if name.startswith("Embedder"):
            report.add(f"{name} / bare forward pass", speed / speeds["bare forward pass"], unit="times")
            report.add(f"{name} / plain float32 pass", speed / speeds["plain float32 pass"], unit="times")


if __name__ == "__main__":
    main()
