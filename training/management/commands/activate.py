from argparse import ArgumentParser
from typing import Any

from retrieval.management.base import ReportingCommand, model_version
from retrieval.models import MedicalImage
from training.services.activation import objections, put_into_service


class Command(ReportingCommand):
    help = "Put a model version into service in one step: queries from now on are answered by it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("number", type=int, metavar="N", help="the model version's number")

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        version = model_version(options["number"])
        warnings = objections(version)
        previous = put_into_service(version)
        return {
            "model_version": version.number,
            "previous": previous.number if previous else None,
            "without_embedding": MedicalImage.objects.without_embedding(version).count(),
            "not_embeddable": MedicalImage.objects.in_vain(version).count(),
            "warnings": warnings,
        }

    def describe(self, report: dict[str, Any]) -> None:
        is_other = report["previous"] not in (None, report["model_version"])
        before = f" instead of version {report['previous']}" if is_other else ""
        self.stdout.write(f"Model version {report['model_version']} is active{before}.")
        for warning in report["warnings"]:
            self.stdout.write(f"  {warning}")
        if report["not_embeddable"]:
            self.stdout.write(
                f"{report['not_embeddable']} images cannot be embedded: "
                f"`manage.py index --model-version {report['model_version']}` says why, and tries again."
            )
        if report["without_embedding"] > report["not_embeddable"]:
            self.stdout.write("Workers embed what is missing; without a running site, `manage.py index` does.")
