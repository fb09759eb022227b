from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from retrieval.management.base import ReportingCommand, model_version, progress_bar
from retrieval.models import JobStatus, MedicalImage, ModelVersion
from retrieval.services import jobs
from retrieval.services.indexing import index_missing
from retrieval.services.versions import active_version
from training.models import Evaluation, TrainingRun
from training.services.judging import evaluate_version
from training.services.words import lines_of_report

NO_TEST_PART = (
    "There is no training run whose test images could be asked. Give images of your own: `--queries FOLDER`, with one "
    "folder for each class."
)


class Command(ReportingCommand):
    help = "Judge a model version: on the test images of its training run, or on a folder of images from elsewhere."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--model-version", type=int, metavar="N", help="the active one unless given")
        parser.add_argument("--run", type=int, metavar="R", help="on the test images of this run; its own unless given")
        parser.add_argument("--queries", type=Path, metavar="FOLDER", help="images in folders named after their class")

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        number = options["model_version"]
        version = active_version() if number is None else model_version(number)
        folder = options["queries"]
        if folder is None:
            evaluation = self._on_run(version, number=options["run"])
        elif folder.exists():
            evaluation = self._on_folder(version, folder=folder)
        else:
            raise CommandError("There is no such folder or archive.")
        return {"model_version": version.number, "run": evaluation.run_id, **evaluation.report}

    def _on_run(self, version: ModelVersion, *, number: int | None) -> Evaluation:
        run = _run_for(version, number=number)
        if run is None:
            raise CommandError(NO_TEST_PART if number is None else f"There is no split training run {number}.")
        evaluation = jobs.claim(Evaluation, Evaluation.objects.create(model_version=version, run=run).pk)
        if evaluation is None:
            raise CommandError("A worker was faster: its figures are on the page of the run.")
        with progress_bar("images") as progress, jobs.working_on(evaluation):
            try:
                evaluate_version(evaluation, progress=progress)
            except KeyboardInterrupt as stop:
                raise jobs.JobCancelled from stop
        evaluation.refresh_from_db()
        if evaluation.status != JobStatus.DONE:
            raise jobs.JobFailed(evaluation.reason or "Stopped.")
        return evaluation

    def _on_folder(self, version: ModelVersion, *, folder: Path) -> Evaluation:
        from training.services.elsewhere import judge_folder

        # A gallery of which a part is missing yet would give figures of that part.
        if MedicalImage.objects.without_embedding(version).exists():
            with progress_bar("images to index") as progress:
                index_missing(version, progress=progress)
        with progress_bar("images") as progress:
            return judge_folder(version, folder=folder.resolve(), progress=progress)

    def describe(self, report: dict[str, Any]) -> None:
        asked = "images from elsewhere" if report["run"] is None else f"the test images of run {report['run']}"
        self.stdout.write(f"Model version {report['model_version']} on {asked}")
        for line in lines_of_report(report):
            self.stdout.write(line)


def _run_for(version: ModelVersion, *, number: int | None) -> TrainingRun | None:
    """The run of that number; unless one is given the version's own, else the newest that is done, else the newest."""
    runs = TrainingRun.objects.filter(split__isnull=False).distinct()
    if number is not None:
        return runs.filter(pk=number).first()
    own, done = runs.filter(model_version=version), runs.filter(status=JobStatus.DONE)
    return own.first() or done.first() or runs.first()
