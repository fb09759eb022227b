"""PostgreSQL and Redis for the tests, ready before Django reads its settings (`-p tests.servers` in pyproject.toml).

The database server is the one that DATABASE_URL names, if it does: pytest-django makes a database of its own there.
Redis is always one of our own, since tests empty it and kill its clients.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Short, since the path of a Unix socket is limited to 107 bytes.
_FOLDER = Path(tempfile.mkdtemp(prefix="cbmir-t-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
os.environ.pop("REDIS_URL", None)
os.environ |= {
    "CBMIR_DATA_DIR": str(_FOLDER),
    "CBMIR_ARCHITECTURE": "narrow",
    "CBMIR_WEIGHTS": "none",
    "LOG_LEVEL": "WARNING",
}
# PostgreSQL runs as a user of its own when we are root, and has to reach its folder.
_FOLDER.chmod(0o755)

from cbmir_site import embedded  # noqa: E402 - reads the data folder from the environment

embedded.use_servers()
