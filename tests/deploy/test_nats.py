"""The example configurations for NATS are ones that nats-server takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["server.conf", "leaf.conf"])
def test_nats_server_takes_the_example(repository: Path, name: str):
    program = shutil.which("nats-server", path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
    assert program, "nats-server is not installed; run: make deps"
    path = repository / "deploy" / "nats" / name
    done = subprocess.run([program, "-t", "-c", str(path)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert "is valid" in done.stdout + done.stderr
