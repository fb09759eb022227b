"""What a site needs before its processes start, each step only where its result is missing.

A process of its own: making the first model version loads PyTorch, which nobody needs afterwards.
"""

import os
import sys

import django
from django.core.exceptions import ImproperlyConfigured


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cbmir_site.settings")
    from retrieval.network.errors import NetworkError

    try:
        django.setup()
        _prepare()
    except ImproperlyConfigured as error:
        say(str(error))
        return 1
    except NetworkError as error:
        say(f"  {error.reason} CBMIR_ARCHITECTURE and CBMIR_WEIGHTS say which network and which weights are taken.")
        return 1
    return 0


def _prepare() -> None:
    from django.conf import settings
    from django.core.management import call_command

    from retrieval.services import demo
    from training.services.demo import start_demo_run

    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    if settings.DEMO:
        logins = demo.create_demo_logins()
        demo.create_demo_archive(say=say)
        if logins.exists():
            say(f"Demo logins: {logins}")
    demo.create_first_version(architecture=settings.INITIAL_ARCHITECTURE, weights=settings.INITIAL_WEIGHTS, say=say)
    if settings.DEMO:
        start_demo_run(say=say)


def say(line: str) -> None:
    sys.stderr.write(f"cbmir: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
