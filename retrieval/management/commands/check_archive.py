import sys
from typing import Any

from retrieval.management.base import ReportingCommand
from retrieval.services.checking import check_archive


class Command(ReportingCommand):
    help = "Check that every file of the archive is there, unchanged, and known to the database."

    def work(self, options: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return check_archive()

    def describe(self, report: dict[str, Any]) -> None:
        self.stdout.write(f"{report['images']} images, {report['without_embedding']} of them not indexed.")
        for title in ("missing_files", "hash_mismatches", "orphan_files"):
            for name in report[title]:
                self.stdout.write(f"  {title.replace('_', ' ')[:-1]}: {name}")
        if report["stalled_jobs"]:
            self.stdout.write(
                f"  {report['stalled_jobs']} jobs have stalled; workers take them up again by themselves."
            )
        self.stdout.write("ok" if report["ok"] else "NOT ok")

    def check_report(self, report: dict[str, Any]) -> None:
        if not report["ok"]:
            sys.exit(1)
