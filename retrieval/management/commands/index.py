import time
from argparse import ArgumentParser
from typing import Any

from retrieval.management.base import ReportingCommand, model_version, progress_bar
from retrieval.models import JobStatus
from retrieval.services.indexing import index_missing
from retrieval.services.jobs import JobFailed
from retrieval.services.versions import active_version


class Command(ReportingCommand):
    help = "Embed all images that a model version has not embedded yet, together with whatever workers are free."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--model-version", type=int, metavar="N", help="the active one unless given")

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        number = options["model_version"]
        version = active_version() if number is None else model_version(number)
        already = version.embeddings.count()
        started = time.perf_counter()
        with progress_bar("images") as progress:
            job = index_missing(version, progress=progress)
        seconds = time.perf_counter() - started
        indexed = version.embeddings.count() - already
        failed = [
            {"image": str(failure.image.uuid), "reason": failure.reason}
            for failure in job.failures.select_related("image")
        ]
        given_up = list(job.batches.filter(status=JobStatus.FAILED))
        if given_up and not indexed:
            raise JobFailed(given_up[0].reason)
        failed += [{"image": "", "reason": batch.reason} for batch in given_up]
        return {
            "model_version": version.number,
            "indexed": indexed,
            "already": already,
            "failed": failed,
            "seconds": round(seconds, 3),
            "images_per_second": round(indexed / seconds, 2) if indexed else 0.0,
        }

    def describe(self, report: dict[str, Any]) -> None:
        self.stdout.write(
            f"Model version {report['model_version']}: {report['indexed']} images indexed, {report['already']} were "
            f"already, {len(report['failed'])} failed, in {report['seconds']:.1f} s "
            f"({report['images_per_second']:.1f} images a second)."
        )
        for failed in report["failed"]:
            self.stdout.write(f"  image {failed['image']}: {failed['reason']}")
