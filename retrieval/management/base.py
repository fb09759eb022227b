"""What all commands share: one JSON document for scripts, lines and a progress bar for people."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError, ProgrammingError
from psycopg.errors import UndefinedColumn, UndefinedTable
from tqdm import tqdm

from retrieval.imaging import DecoderUnavailable, FileRefused
from retrieval.models import ModelVersion
from retrieval.services.jobs import JobFailed, Progress
from retrieval.services.versions import NoActiveVersion

NOT_MIGRATED = "The database lacks tables or columns of this version of the site: run `manage.py migrate` first."


class ReportingCommand(BaseCommand):
    """`work` returns the report; `describe` writes it for people. With --json it is the only thing on standard output.

    Exit status 0: done; 1: refused or failed, {"error": ...}; 2: wrong usage.
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        try:
            report = self.work(options)
        except (FileRefused, DecoderUnavailable, JobFailed, NoActiveVersion, CommandError) as error:
            self._refuse(str(error), as_json=options["json"])
        except (OperationalError, InterfaceError) as error:
            # The first line says what happened; those after it may say more than a log should hold.
            what = next(iter(str(error).splitlines()), type(error).__name__)
            self._refuse(f"The database does not answer as it should: {what}", as_json=options["json"])
        except ProgrammingError as error:
            if not isinstance(error.__cause__, UndefinedTable | UndefinedColumn):
                raise
            self._refuse(NOT_MIGRATED, as_json=options["json"])
        except OSError as error:
            what = ": ".join(str(part) for part in (error.strerror or error, error.filename) if part)
            self._refuse(f"A file, a folder or a connection cannot be used: {what}.", as_json=options["json"])
        if options["json"]:
            self.stdout.write(json.dumps(report, ensure_ascii=False))
        else:
            self.describe(report)
        self.check_report(report)

    def _refuse(self, reason: str, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"error": reason}, ensure_ascii=False))
        else:
            self.stderr.write(self.style.ERROR(reason))
        sys.exit(1)

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def describe(self, report: dict[str, Any]) -> None:
        raise NotImplementedError

    def check_report(self, report: dict[str, Any]) -> None:
        """Exit with 1 where the report itself is bad news."""


def model_version(number: int) -> ModelVersion:
    try:
        return ModelVersion.objects.get(number=number)
    except ModelVersion.DoesNotExist as error:
        raise CommandError(f"There is no model version {number}.") from error


@contextmanager
def progress_bar(unit: str) -> Iterator[Progress]:
    """A bar on standard error for work that takes over a second, with the rate and the time left."""
    with tqdm(unit=f" {unit}", delay=1, file=sys.stderr, disable=None, leave=False) as bar:

        def update(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
