import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from retrieval.management.base import ReportingCommand
from retrieval.models import Dataset
from retrieval.network.architectures import ARCHITECTURES
from retrieval.services.jobs import JobFailed


class Command(ReportingCommand):
    help = "Judge simple methods on the test part of a dataset, divided as a training with the same seed divides it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        text = "the dataset that is divided, and on whose test part they are judged"
        parser.add_argument("--dataset", required=True, metavar="NAME", help=text)
        text = "of the frozen features: imagenet, none, or a file; default imagenet"
        parser.add_argument("--weights", default="imagenet", help=text)
        parser.add_argument("--caffe", action="store_true", help="the file's weights expect BGR in 0..255")
        text = "of the frozen features; default published"
        parser.add_argument("--architecture", default="published", choices=list(ARCHITECTURES), help=text)
        parser.add_argument("--seed", type=int, default=0, help="of the split and the random weights; default 0")

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        from retrieval.network.errors import NetworkError
        from training.services.comparing import Comparison
        from training.services.starting import RunRefused, check_classes

        dataset = Dataset.objects.filter(name=options["dataset"]).first()
        if dataset is None:
            raise CommandError(f"There is no dataset “{options['dataset']}”.")
        try:
            check_classes([dataset])
            comparison = Comparison(dataset, seed=options["seed"])
            rows, started = [], time.perf_counter()
            for name, judgement in comparison.judgements(
                architecture=options["architecture"], weights=options["weights"], caffe=options["caffe"]
            ):
                seconds, started = time.perf_counter() - started, time.perf_counter()
                self.stderr.write(f"{name}: {seconds:.0f} s")
                rows.append({"baseline": name, **judgement.to_dict()})
        except (NetworkError, RunRefused) as error:
            raise JobFailed(str(error)) from error
        return {"dataset": dataset.name, "seed": options["seed"], "baselines": rows}

    def describe(self, report: dict[str, Any]) -> None:
        first = report["baselines"][0]
        self.stdout.write(f"{report['dataset']}: {first['queries']} queries in a gallery of {first['gallery']} images")
        width = max(len(row["baseline"]) for row in report["baselines"])
        for row in report["baselines"]:
            self.stdout.write(
                f"  {row['baseline']:{width}}  accuracy {row['accuracy']:.4f}  P@1 {row['p_at']['1']:.4f}  "
                f"P@20 {row['p_at']['20']:.4f}  mAP@20 {row['map_at_20']:.4f}"
            )
