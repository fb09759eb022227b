import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from retrieval.management.base import ReportingCommand
from retrieval.models import MedicalImage
from retrieval.services.modalities import modality_name
from retrieval.services.searching import (
    TOP_K,
    Neighbour,
    SearchFilter,
    decode_query,
    embed_preview,
    find_neighbours,
    is_unlike,
    warm_up,
)
from retrieval.services.versions import active_version

K_MAX = 1000
FILTERS = ("dataset", "modality", "label")


class Command(ReportingCommand):
    help = "Find the images of the archive that are most similar to a file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, help="the image to search with: PNG, JPEG, TIFF or DICOM")
        parser.add_argument("--k", type=int, default=TOP_K, help=f"how many images (1 to {K_MAX}); default {TOP_K}")
        for name in FILTERS:
            parser.add_argument(f"--{name}", default="", help=f"only images of this {name}")

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        if not 1 <= options["k"] <= K_MAX:
            raise CommandError(f"k is a number from 1 to {K_MAX}.")
        if not options["file"].is_file():
            raise CommandError("There is no such file.")
        version = active_version()
        narrowed = _narrowed(options)
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
            "unlike": is_unlike(found, version=version, narrowed=narrowed),
            "usual_similarity": version.usual_similarity,
            "results": [_result(neighbour) for neighbour in found],
            "milliseconds": _milliseconds(times),
        }

    def describe(self, report: dict[str, Any]) -> None:
        if not report["results"]:
            self.stdout.write("Nothing found: no image that fits is indexed. `manage.py index` embeds what is missing.")
        for result in report["results"]:
            self.stdout.write(
                f"{result['rank']:4}  {result['similarity']:.4f}  {result['label']:24} {result['modality']:12} "
                f"{result['body_part']:12} {result['dataset']}  {result['image']}"
            )
        if report["unlike"]:
            self.stdout.write(
                f"Unlike the archive: 99 of 100 test images found one with {report['usual_similarity']:.4f} or more. "
                "The archive may hold nothing of this kind."
            )
        spent = report["milliseconds"]
        self.stdout.write(
            f"Model version {report['model_version']}; decode {spent['decode']:.0f} ms, embed {spent['embed']:.0f} ms, "
            f"search {spent['search']:.0f} ms."
        )


def _narrowed(options: dict[str, Any]) -> SearchFilter:
    """Refuse names that the archive does not have: an empty answer would look like "nothing similar"."""
    # To find the names reads the whole archive.
    if not any(options[name] for name in FILTERS):
        return SearchFilter()
    choices = MedicalImage.objects.filter_choices()
    return SearchFilter(
        dataset=_chosen(options["dataset"], among=choices["datasets"], what="dataset"),
        modality=_chosen(modality_name(options["modality"]), among=choices["modalities"], what="modality"),
        label=_chosen(options["label"], among=choices["labels"], what="label"),
    )


def _chosen(wanted: str, *, among: list[str], what: str) -> str:
    """The name as the archive spells it, in whatever case it was typed."""
    found = [name for name in among if name == wanted] or [name for name in among if name.lower() == wanted.lower()]
    if wanted and not found:
        raise CommandError(f"No image has the {what} {wanted!r}. There are: {', '.join(among)}.")
    return found[0] if found else ""


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
