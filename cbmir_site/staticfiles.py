"""The files of npm packages (package.json) that pages load. The rest of node_modules/ is not served."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.contrib.staticfiles.utils import matches_patterns
from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError

from cbmir_site.paths import BASE_DIR

PACKAGE_FILES = (
    "node_modules/chart.js/dist/chart.umd.min.js",
    # The scripts name their maps, and collectstatic refuses a name that leads nowhere.
    "node_modules/chart.js/dist/chart.umd.min.js.map",
    "node_modules/tus-js-client/dist/tus.min.js",
    "node_modules/tus-js-client/dist/tus.min.js.map",
)


class PackageFinder(BaseFinder):
    def find(self, path: str, find_all: bool = False) -> Any:  # noqa: FBT001, FBT002 - Django calls it so
        found = [str(BASE_DIR / path)] if path in PACKAGE_FILES else []
        return found[0] if found and not find_all else found

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, FileSystemStorage]]:
        storage = FileSystemStorage(location=BASE_DIR)
        for path in PACKAGE_FILES:
            if not storage.exists(path):
                raise CommandError(f"{path} is missing: `make setup` brings it.")
            if not matches_patterns(path, ignore_patterns or ()):
                yield path, storage
