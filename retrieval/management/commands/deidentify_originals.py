import sys
import time
from typing import Any

from retrieval.management.base import ReportingCommand, progress_bar
from retrieval.models import StoredFile
from retrieval.services.deidentifying import deidentify_originals


class Command(ReportingCommand):
    help = (
        "Remove what identifies patients from originals that were stored as they came: before this was done at the "
        "import, or under another setting. Interrupted, it goes on when it is started again."
    )

    def work(self, options: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        started = time.perf_counter()
        with progress_bar("files") as progress:
            report = deidentify_originals(progress=progress)
        return {
            "cleaned": report.cleaned,
            "already": report.already,
            "failed": [
                {"file": str(original.file), "images": _images(original), "reason": reason}
                for original, reason in report.failed
            ],
            "seconds": round(time.perf_counter() - started, 3),
        }

    def describe(self, report: dict[str, Any]) -> None:
        self.stdout.write(
            f"{report['cleaned']} originals cleaned, {report['already']} were already, {len(report['failed'])} are as "
            f"they came, in {report['seconds']:.1f} s."
        )
        for failed in report["failed"]:
            self.stdout.write(f"  {failed['file']}: {failed['reason']}")

    def check_report(self, report: dict[str, Any]) -> None:
        if report["failed"]:
            sys.exit(1)


def _images(original: StoredFile) -> list[str]:
    return [str(uuid) for uuid in original.images.order_by("pk").values_list("uuid", flat=True)]
