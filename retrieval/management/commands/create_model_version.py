from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from retrieval.management.base import ReportingCommand
from retrieval.services.indexing import have_missing_embedded
from retrieval.services.switching import activate_model_version
from retrieval.services.versions import create_model_version


class Command(ReportingCommand):
    help = "Make a model version from ImageNet weights, from a file of weights, or untrained."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--architecture",
            default="published",
            choices=["published", "vgg16", "narrow"],
            help="the network; default published. There are no ImageNet weights of narrow",
        )
        text = "imagenet, none, or a safetensors or PyTorch file; default imagenet"
        parser.add_argument("--weights", default="imagenet", help=text)
        parser.add_argument("--caffe", action="store_true", help="the file's weights expect BGR in 0..255")
        parser.add_argument("--seed", type=int, default=0, help="of random weights and of the projection; default 0")
        parser.add_argument("--activate", action="store_true", help="and put it into service")

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        from retrieval.network.errors import NetworkError

        weights = options["weights"]
        if weights not in ("imagenet", "none") and not Path(weights).is_file():
            raise CommandError("There is no such file of weights.")
        try:
            version = create_model_version(
                architecture=options["architecture"],
                weights=weights,
                caffe_preprocessing=options["caffe"],
                seed=options["seed"],
            )
        except NetworkError as error:
            raise CommandError(error.reason) from error
        previous = None
        if options["activate"]:
            with transaction.atomic():
                previous = activate_model_version(version)
                have_missing_embedded(version)
            # An import that ended meanwhile has taken the version before for the active one.
            have_missing_embedded(version)
        return {
            "model_version": version.number,
            "loaded": version.weights_report,
            "active": options["activate"],
            "previous": previous.number if previous else None,
        }

    def describe(self, report: dict[str, Any]) -> None:
        number = report["model_version"]
        state = "active" if report["active"] else "ready"
        self.stdout.write(f"Model version {number} is {state}. {report['loaded']}")
        self.stdout.write(
            "The workers embed the archive with it now; `manage.py index` helps them and waits until they are done."
            if report["active"]
            else f"Next: `manage.py index --model-version {number}` embeds the archive with it; then `activate` it."
        )
