"""Make sure that there is a Chromium for the browser tests: the system's own, or one that can be installed."""

import os
import shutil
import subprocess
import sys


def chromium() -> str | None:
    """The path of the system's Chromium or Chrome, or None: then Playwright's own is used."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def main() -> int:
    if chromium() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=False)
    if chromium() is None:
        return subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
