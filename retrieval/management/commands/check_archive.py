import sys
from argparse import ArgumentParser
from typing import Any

from retrieval.management.base import ReportingCommand
from retrieval.services.checking import check_archive, remove_orphans

FOUND = {"missing_files": "missing", "hash_mismatches": "changed", "orphan_files": "belongs to nothing"}


class Command(ReportingCommand):
    help = "Check that every file of the archive is there, unchanged, and known to the database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--remove-orphans", action="store_true", help="first remove the files that no row knows")

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        removed = {"removed_orphans": remove_orphans()} if options["remove_orphans"] else {}
        return {**check_archive(), **removed}

    def describe(self, report: dict[str, Any]) -> None:
        self.stdout.write(f"{report['images']} images, {report['without_embedding']} of them not indexed.")
        for name in report.get("removed_orphans", ()):
            self.stdout.write(f"  removed: {name}")
        for title, words in FOUND.items():
            for name in report[title]:
                self.stdout.write(f"  {words}: {name}")
        if report["stalled_jobs"]:
            self.stdout.write(
                f"  {report['stalled_jobs']} jobs have stalled; workers take them up again by themselves."
            )
        self.stdout.write("ok" if report["ok"] else "NOT ok")

    def check_report(self, report: dict[str, Any]) -> None:
        if not report["ok"]:
            sys.exit(1)
