"""How fast images become embeddings, and what surrounds the network costs beside it.

    python benchmarks/embedding.py [--json PATH] [--architecture published] [--batch 16] [--images 48]

All figures of one run come from the same process and the same network with random weights: speed does not depend on
what a network has learnt. "plain" is the usual float32 loop over contiguous batches; "bare" is the forward pass alone,
on prepared images, with the same modules in the format and precision that the Embedder chose, but without its packed
weights and its small steps through the convolutions.
"""

import argparse
import io
import json
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from retrieval.network.embedder import Embedder
from retrieval.network.execution import ModuleRunner, best_device, best_dtype
from retrieval.network.preprocessing import TORCHVISION, load_image, prepare
from retrieval.network.projection import fit_projection
from retrieval.network.version_file import save_version
from retrieval.network.vgg import ARCHITECTURES, VGG, build_network

_PREVIEW_SIDES = (320, 1024)
_QUERY_RUNS = 15


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        figures = _measured(Path(folder), options=options)
    report = {"figures": figures, "options": vars(options) | {"json": str(options.json)}, "machine": _machine()}
    for name, value in figures.items():
        print(f"{name:44s} {value:10.3f}")
    print(json.dumps(report["machine"]))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--architecture", choices=list(ARCHITECTURES), default="published")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=48, help="previews to embed from files")
    return parser.parse_args()


def _measured(folder: Path, *, options: argparse.Namespace) -> dict[str, float]:
    network = build_network(options.architecture, classes=18).eval()
    embedder, figures = _loaded(network, path=folder / "version.safetensors")
    pixels = _pixels(options.batch)
    figures |= _forward_figures(network, embedder=embedder, pixels=pixels)
    figures |= _query_figures(embedder, pixels=pixels[:1])
    for side in _PREVIEW_SIDES:
        figures |= _preview_figures(
            embedder, previews=_previews(folder, side=side, count=options.images), options=options
        )
    return figures | _ratios(figures)


def _loaded(network: VGG, *, path: Path) -> tuple[Embedder, dict[str, float]]:
    """Save and load a version; seconds for each."""
    projection = fit_projection(np.zeros((0, network.architecture.width), np.float32))
    start = time.perf_counter()
    save_version(
        path,
        network=network,
        preprocessing=TORCHVISION,
        projection=projection,
        classes=[f"class {number}" for number in range(network.classes)],
    )
    saved = time.perf_counter()
    embedder = Embedder.load(path)
    return embedder, {"save, s": saved - start, "load and warm up, s": time.perf_counter() - saved}


def _forward_figures(network: VGG, *, embedder: Embedder, pixels: np.ndarray) -> dict[str, float]:
    """Images a second on one batch: the plain loop, the bare forward pass, and Embedder.embed from uint8 pixels."""
    device, count = embedder.device, len(pixels)
    plain_images = prepare(pixels, preprocessing=TORCHVISION, device=device).contiguous()
    bare_images = prepare(pixels, preprocessing=TORCHVISION, device=device, dtype=embedder.dtype)
    bare = ModuleRunner(network, device=device, dtype=embedder.dtype)
    network.to(device)
    with torch.inference_mode():
        seconds = _interleaved(
            {
                "plain float32 loop": lambda: _finished(network.dense_features(plain_images)),
                "bare forward pass": lambda: _finished(bare(bare_images)),
                "Embedder.embed": lambda: embedder.embed(pixels),
            }
        )
    network.to("cpu")
    return {f"{name}, images/s": count / each for name, each in seconds.items()}


def _interleaved(runs: dict[str, Callable[[], object]], *, rounds: int = 3) -> dict[str, float]:
    """Median seconds of each, one after the other in every round, so that a busy moment meets all alike."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            taken[name].append(_seconds(run))
    return {name: float(np.median(each)) for name, each in taken.items()}


def _query_figures(embedder: Embedder, *, pixels: np.ndarray) -> dict[str, float]:
    taken = [_seconds(lambda: embedder.embed(pixels)) * 1e3 for _ in range(_QUERY_RUNS)]
    return {"one image, ms, median": float(np.median(taken)), "one image, ms, worst": max(taken)}


def _preview_figures(embedder: Embedder, *, previews: list[Path], options: argparse.Namespace) -> dict[str, float]:
    side = previews[0].parent.name
    decoding = _seconds(lambda: [load_image(path) for path in previews[:16]]) / 16
    seconds = _seconds(lambda: list(embedder.embed_images(previews, batch_size=options.batch)))
    return {
        f"load_image, {side} px, ms": decoding * 1e3,
        f"Embedder.embed_images, {side} px, images/s": len(previews) / seconds,
    }


def _ratios(figures: dict[str, float]) -> dict[str, float]:
    bare, plain = figures["bare forward pass, images/s"], figures["plain float32 loop, images/s"]
    return {
        f"{name[:-10]} / bare forward pass": value / bare for name, value in figures.items() if "Embedder" in name
    } | {f"{name[:-10]} / plain float32 loop": value / plain for name, value in figures.items() if "Embedder" in name}


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _finished(features: torch.Tensor) -> torch.Tensor:
    """Wait for the device: a CUDA call returns before it is done."""
    return features.float().cpu()


def _pixels(count: int) -> np.ndarray:
    return np.stack(list(_pictures(count, side=224)))


def _pictures(count: int, *, side: int) -> Iterator[np.ndarray]:
    """Smooth random RGB pictures with some noise, about as hard to decode as a radiograph."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.int16)
        grey = (smooth + rng.integers(-3, 4, (side, side), dtype=np.int16)).clip(0, 255).astype(np.uint8)
        yield np.repeat(grey[..., None], 3, axis=2)


def _previews(folder: Path, *, side: int, count: int) -> list[Path]:
    """Grey PNG files as the archive stores its previews."""
    place = folder / str(side)
    place.mkdir()
    paths = [place / f"{number}.png" for number in range(count)]
    for path, picture in zip(paths, _pictures(count, side=side), strict=True):
        out = io.BytesIO()
        Image.fromarray(picture[..., 0]).save(out, "PNG", compress_level=1)
        path.write_bytes(out.getvalue())
    return paths


def _machine() -> dict[str, object]:
    device = best_device()
    flags = torch.cpu.get_capabilities()
    return {
        "device": torch.cuda.get_device_name()
        if device.type == "cuda"
        else flags.get("cpu_name", platform.processor()),
        "precision": str(best_dtype(device)),
        "threads": torch.get_num_threads(),
        "avx512_bf16": flags.get("avx512_bf16", False),
        "amx_bf16": flags.get("amx_bf16", False),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    main()
