import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from retrieval.management.base import ReportingCommand
from retrieval.services.searching import (
    TOP_K,
    Neighbour,
    SearchFilter,
    decode_query,
    embed_preview,
    find_neighbours,
    warm_up,
)
from retrieval.services.versions import active_version

K_MAX = 1000


class Command(ReportingCommand):
    help = "Find the images of the archive that are most similar to a file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path)
        parser.add_argument("--k", type=int, default=TOP_K, help=f"how many (1 to {K_MAX})")
        for name in ("dataset", "modality", "label"):
            parser.add_argument(f"--{name}", default="", help=f"only images of this {name}")

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        if not 1 <= options["k"] <= K_MAX:
            raise CommandError(f"k is a number from 1 to {K_MAX}.")
        if not options["file"].is_file():
            raise CommandError("There is no such file.")
        version = active_version()
        narrowed = SearchFilter(**{name: options[name] for name in ("dataset", "modality", "label")})
        # Not counted: a worker has done this before the first query comes.
        warm_up()
        times = [time.perf_counter()]
        preview = decode_query(options["file"]).preview
        times.append(time.perf_counter())
        vector = embed_preview(preview, version=version)
        times.append(time.perf_counter())
        found = find_neighbours(vector, version=version, k=options["k"], narrowed=narrowed)
        times.append(time.perf_counter())
        return {
            "model_version": version.number,
            "results": [_result(neighbour) for neighbour in found],
            "milliseconds": _milliseconds(times),
        }

    def describe(self, report: dict[str, Any]) -> None:
        if not report["results"]:
            self.stdout.write("Nothing found: no image of the archive is indexed, or none fits the filter.")
        for result in report["results"]:
            self.stdout.write(
                f"{result['rank']:4}  {result['similarity']:.4f}  {result['label']:24} {result['modality']:12} "
                f"{result['body_part']:12} {result['dataset']}  {result['image']}"
            )
        spent = report["milliseconds"]
        self.stdout.write(
            f"Model version {report['model_version']}; decode {spent['decode']:.0f} ms, embed {spent['embed']:.0f} ms, "
            f"search {spent['search']:.0f} ms."
        )


def _result(found: Neighbour) -> dict[str, Any]:
    image = found.image
    assert image is not None  # noqa: S101 - only stored answers can have lost theirs
    return {
        "rank": found.rank,
        "image": str(image.uuid),
        "label": image.label,
        "dataset": image.dataset.name,
        "modality": image.modality,
        "body_part": image.body_part_examined,
        "distance": found.distance,
        "similarity": found.similarity,
        "file_sha256": image.original.sha256,
    }


def _milliseconds(times: list[float]) -> dict[str, float]:
    steps = zip(("decode", "embed", "search"), times, times[1:], strict=False)
    spent = {name: round((after - before) * 1000, 2) for name, before, after in steps}
    return {**spent, "total": round((times[-1] - times[0]) * 1000, 2)}
