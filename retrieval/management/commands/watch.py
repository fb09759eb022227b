import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import OperationalError, connection

from retrieval.management.base import ReportingCommand
from retrieval.models import Dataset
from retrieval.services.hot_folder import REFUSED, DatasetGone, HotFolder, Outcome, was_watched
from retrieval.services.jobs import JobFailed

WAIT_AFTER_FAILURE_SECONDS = 60
NO_SUCH_DATASET = (
    "There is no dataset of this name, and the folder was watched before: the dataset was deleted, or has another name "
    "now. Give that name, or make the dataset in the administration, where you also say whether all its images are "
    "looked at before they are shown. With --create it is made, and they are not."
)


class Command(ReportingCommand):
    help = (
        "Watch a folder: what scanners or scripts drop into it is imported, and moved to `done` or `refused` in it. "
        "Ctrl-C ends it with the report, SIGTERM without; started again, it goes on with what was interrupted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("folder", type=Path, help="files, zips and folders that lie in it are imported")
        parser.add_argument("--name", required=True, help="the dataset that they go into, made if it does not exist")
        text = "make the dataset even where the folder was watched before"
        parser.add_argument("--create", action="store_true", help=text)
        text = "import what has not changed for so long; default 10"
        parser.add_argument("--settle", type=float, default=10, metavar="SECONDS", help=text)
        text = "look into the folder so often; default every 5"
        parser.add_argument("--every", type=float, default=5, metavar="SECONDS", help=text)
        parser.add_argument("--once", action="store_true", help="import what lies there, and end")

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        name = options["name"].strip()
        if not name or len(name) > 100:
            raise CommandError("A dataset's name has 1 to 100 characters.")
        if not options["folder"].is_dir():
            raise CommandError("There is no such folder.")
        dataset = self._dataset(name, folder=options["folder"], is_wanted=options["create"])
        try:
            hot = HotFolder(
                options["folder"], dataset=dataset, settle_seconds=options["settle"], tell=self.stderr.write
            )
            outcomes = list(hot.work()) if options["once"] else self._watch(hot, every=options["every"])
        except DatasetGone as gone:
            raise CommandError(str(gone)) from gone
        except OSError as error:
            raise CommandError(f"The folder cannot be used: {error.strerror}.") from error
        return {
            "dataset": name,
            "batches": len(outcomes),
            "accepted": sum(each.accepted for each in outcomes),
            "duplicates": sum(each.duplicates for each in outcomes),
            "staying": sorted(hot.staying),
            "refused": [
                {"batch": each.batch, "file": path, "reason": reason}
                for each in outcomes
                for path, reason in each.refused.items()
            ],
        }

    def _dataset(self, name: str, *, folder: Path, is_wanted: bool) -> Dataset:
        """Not made anew by itself: a supervisor starts this again, and of the one before all may have been held."""
        if was_watched(folder) and not is_wanted and not Dataset.objects.filter(name=name).exists():
            raise CommandError(NO_SUCH_DATASET)
        return Dataset.objects.get_or_create(name=name)[0]

    def _watch(self, hot: HotFolder, *, every: float) -> list[Outcome]:
        """Until Ctrl-C; what was imported is told at once. A failure that may pass is waited for."""
        outcomes: list[Outcome] = []
        try:
            while True:
                wait = every
                try:
                    for outcome in hot.work():
                        outcomes.append(outcome)
                        self.stderr.write(_line(outcome))
                except (JobFailed, OperationalError) as error:
                    connection.close()
                    self.stderr.write(self.style.ERROR(f"{error} Trying again in a minute."))
                    wait = WAIT_AFTER_FAILURE_SECONDS
                time.sleep(wait)
        except KeyboardInterrupt:
            return outcomes

    def describe(self, report: dict[str, Any]) -> None:
        self.stdout.write(
            f"{report['dataset']}: {report['accepted']} accepted, {report['duplicates']} duplicates, "
            f"{len(report['refused'])} refused, in {report['batches']} batches."
        )
        if report["refused"]:
            self.stdout.write(f"What was refused lies in `{REFUSED}`, with the reasons.")


def _line(outcome: Outcome) -> str:
    counts = f"{outcome.accepted} accepted, {outcome.duplicates} duplicates, {len(outcome.refused)} refused"
    return f"{outcome.batch}: {counts}"
