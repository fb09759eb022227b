#!/usr/bin/env python
"""Django's command line, with the embedded PostgreSQL and Redis started for commands that need them."""

import json
import os
import sys

from cbmir_site import embedded

# Commands that read no data: they must work where no server can be started (image builds, linters).
WITHOUT_SERVERS = {
    "help",
    "version",
    "--help",
    "--version",
    "-h",
    "check",
    "collectstatic",
    "makemigrations",
    "startapp",
}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cbmir_site.settings")
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    if command not in WITHOUT_SERVERS and not {"-h", "--help"} & set(sys.argv):
        _use_servers()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


def _use_servers() -> None:
    try:
        embedded.use_servers()
    except embedded.ServerFailed as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": f"{error}."}))
            sys.exit(1)
        sys.exit(f"{error}.")


if __name__ == "__main__":
    main()
