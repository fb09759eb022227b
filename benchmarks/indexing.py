"""Indexing as users do it, from previews on disk to rows in PostgreSQL, beside the network alone.

    python -m benchmarks.indexing [--architecture published] [--images 320] [--rounds 3]

References with the same network and the same batch size, one after the other in every round: the bare forward pass on
prepared images, once by plain modules and once as the Embedder does it (the stricter one: what decoding and storing
cost), and the plain float32 loop of a torchvision tutorial from the same preview files.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.installation import manage, use_own_installation
from benchmarks.measuring import interleaved, seconds_of
from benchmarks.pictures import write_smooth_pngs
from benchmarks.report import Report, has_bf16

if TYPE_CHECKING:
    from retrieval.models import ModelVersion

SIDE = 512
TARGET_OF_BARE = 0.85
TARGET_OF_PLAIN = 3
# The plain loop is several times slower: two batches of it tell its speed.
_PLAIN_BATCHES = 2


def main() -> None:
    options = _options()
    report = Report("indexing", options=options)
    folder = use_own_installation()
    from retrieval.services.indexing import FORWARD_IMAGES
    from retrieval.services.versions import create_model_version, load_embedder

    write_smooth_pngs(folder / "pictures" / "smooth", count=options.images, side=SIDE)
    manage("import_dataset", folder / "pictures", "--name", "benchmark")
    version = create_model_version(architecture=options.architecture, weights="none")
    command = manage("index", "--model-version", str(version.number))
    loading = seconds_of(lambda: load_embedder(version.pk))
    speeds = _speeds(version, images=options.images, rounds=options.rounds)
    for name, speed in speeds.items():
        report.add(name, speed, unit="images/s")
    ours, bare, own, plain = speeds.values()
    report.add("whole path / bare forward pass", ours / bare, unit="times", at_least=TARGET_OF_BARE)
    report.add("whole path / Embedder.embed alone", ours / own, unit="times", at_least=TARGET_OF_BARE)
    target = TARGET_OF_PLAIN if has_bf16() else None
    report.add("whole path / plain float32 torchvision loop", ours / plain, unit="times", at_least=target)
    report.add("manage.py index, once, with loading the network", command["images_per_second"], unit="images/s")
    report.add("loading the network", loading, unit="s")
    if target is None:
        report.note(f"No target of {TARGET_OF_PLAIN} times the plain loop here: this processor has no bfloat16.")
    report.note(f"{options.images} previews of {SIDE} px, {FORWARD_IMAGES} at a time; the network is loaded before.")
    _add_passes(report)
    report.finish()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", choices=("published", "vgg16", "narrow"), default="published")
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def _speeds(version: "ModelVersion", *, images: int, rounds: int) -> dict[str, float]:
    """Images a second: the whole path, the bare forward pass, the Embedder's own, the plain loop, in this order."""
    from benchmarks.passes import bare_pass, torchvision_loop
    from retrieval.models import MedicalImage
    from retrieval.network.preprocessing import load_image
    from retrieval.network.version_file import load_version
    from retrieval.services.indexing import FORWARD_IMAGES
    from retrieval.services.versions import load_embedder

    previews = [Path(image.preview.path) for image in MedicalImage.objects.order_by("pk")]
    network = load_version(Path(version.weights.path)).network
    pixels = np.stack([load_image(path) for path in previews[:FORWARD_IMAGES]])
    few = previews[: _PLAIN_BATCHES * FORWARD_IMAGES]
    bare, embedder = bare_pass(network, pixels=pixels), load_embedder(version.pk)
    batches = max(1, images // len(pixels))
    seconds = interleaved(
        {
            "whole path: previews -> rows": _indexing(version, images=images),
            "bare forward pass": lambda: [bare() for _ in range(batches)],
            "Embedder.embed alone": lambda: [embedder.embed(pixels) for _ in range(batches)],
            "plain float32 torchvision loop": torchvision_loop(network, paths=few, batch=FORWARD_IMAGES),
        },
        rounds=rounds,
    )
    counts = (images, batches * len(pixels), batches * len(pixels), len(few))
    return {name: count / each for (name, each), count in zip(seconds.items(), counts, strict=True)}


def _indexing(version: "ModelVersion", *, images: int) -> Callable[[], None]:
    """What `manage.py index` does once the network is loaded, from an index without rows."""
    from retrieval.models import Embedding
    from retrieval.services.indexing import create_index_job, work_on_index_job

    def run() -> None:
        # Within the time that is measured: a few milliseconds, against us.
        Embedding.objects.of(version).delete()
        job = create_index_job(version=version, publish=False)
        work_on_index_job(job)
        stored = Embedding.objects.of(version).count()
        if stored != images:
            reasons = set(job.failures.values_list("reason", flat=True))
            raise RuntimeError(f"{stored} of {images} images were indexed: {reasons}")

    return run


def _add_passes(report: Report) -> None:
    from benchmarks.passes import IDENTITY_NOTE, device_details

    report.note(IDENTITY_NOTE)
    report.details |= device_details()


if __name__ == "__main__":
    main()
