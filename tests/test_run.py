"""What `make run` says before it starts anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("port", ["abc", "0", "99999", "-1", "٣"])
def test_a_port_that_is_none_is_refused_in_a_sentence(port: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PORT": port, "CBMIR_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", "cbmir_site.run"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "PORT is a number from 1 to 65535" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "postgres").exists()
