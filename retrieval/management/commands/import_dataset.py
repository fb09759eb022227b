import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db.models import F

from retrieval.management.base import ReportingCommand, progress_bar
from retrieval.models import Dataset, ImportedFile, ImportJob, JobStatus
from retrieval.services import jobs
from retrieval.services.importing import import_dataset

CANCELLED = "The import was cancelled. What was imported so far is kept: start the import again to go on."
STOPPED = "Stopped. What was imported so far is kept: start the import again to go on."
TAKEN_OVER = "Stopped. The import goes on: a worker has taken it over, since this command was paused for too long."


class Command(ReportingCommand):
    help = "Import a folder or zip of PNG, JPEG, TIFF and DICOM images into a dataset, made if it does not exist."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("path", type=Path, help="a folder or a zip archive")
        parser.add_argument("--name", required=True, help="the dataset's name")

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        name = options["name"].strip()
        if not name or len(name) > 100:
            raise CommandError("A dataset's name has 1 to 100 characters.")
        if not options["path"].exists():
            raise CommandError("There is no such folder or file.")
        started = time.perf_counter()
        dataset, is_new = Dataset.objects.get_or_create(name=name)
        job = ImportJob.objects.create(dataset=dataset, source_path=str(options["path"].resolve()))
        try:
            self._run(job)
        except (KeyboardInterrupt, jobs.ClaimLost) as stop:
            raise jobs.JobFailed(TAKEN_OVER) from stop
        if job.status != JobStatus.DONE:
            # A typing error in the path must not leave an empty dataset; images that were imported stay.
            if is_new and not dataset.images.exists():
                dataset.delete()
            raise jobs.JobFailed(job.reason or CANCELLED)
        return {
            "dataset": name,
            "accepted": job.accepted,
            "duplicates": job.duplicates,
            "rejected": list(
                job.files.filter(status=ImportedFile.Status.REFUSED).values("reason", file=F("name")).order_by("pk")
            ),
            "skipped": [file.name for file in job.files.filter(status=ImportedFile.Status.SKIPPED)],
            "notes": job.notes,
            "seconds": round(time.perf_counter() - started, 3),
        }

    def _run(self, job: ImportJob) -> None:
        """Until it has ended: a process that is paused for longer than a lease loses it to a worker, and waits."""
        with progress_bar("files") as progress:
            while not job.is_finished:
                claimed = jobs.claim(ImportJob, job.pk)
                if claimed:
                    self._work_on(claimed, progress=progress)
                else:
                    jobs.sweep()
                    time.sleep(0.5)
                job.refresh_from_db()
                progress(job.done, job.total)

    def _work_on(self, claimed: ImportJob, *, progress: jobs.Progress) -> None:
        """Raises ClaimLost where it was to be stopped, and is not ours any more."""
        try:
            with jobs.working_on(claimed):
                import_dataset(claimed, index_afterwards=False, progress=progress)
        except KeyboardInterrupt:
            # Otherwise a worker would take it for interrupted, and go on with it.
            jobs.fail(claimed, STOPPED)

    def describe(self, report: dict[str, Any]) -> None:
        self.stdout.write(
            f"{report['dataset']}: {report['accepted']} accepted, {report['duplicates']} duplicates, "
            f"{len(report['rejected'])} rejected, in {report['seconds']:.1f} s."
        )
        for rejected in report["rejected"]:
            self.stdout.write(f"  {rejected['file']}: {rejected['reason']}")
        for note in report["notes"]:
            self.stdout.write(f"  {note}")
        if report["skipped"]:
            self.stdout.write(f"  skipped: {', '.join(report['skipped'])}")
        if report["accepted"]:
            self.stdout.write("Next: `manage.py index` makes the new images searchable.")
