"""`make deps` says what it does, and CI's script is one that bash can read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

TOOLS = ("bash", "make", "python3", "cat", "awk", "sh")


def folder_of_tools(tmp_path: Path, user_id: int, *others: str) -> Path:
    """A PATH of its own: what the Makefile calls, `id` telling ``user_id``, and ``others``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found, name
        # pyenv's shims look at their own name's neighbours: link the program itself
        found = os.path.realpath("/usr/bin/" + name) if Path("/usr/bin/" + name).exists() else found
        (folder / name).symlink_to(found)
    for name, body in {"id": f"echo {user_id}", **dict.fromkeys(others, "exit 0")}.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


def make_deps(repository: Path, tools: Path, python: str) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("make") or "make", "--no-print-directory", "deps", f"PYTHON={python}", "SBIN="]
    env = {"PATH": str(tools), "HOME": str(tools)}
    return subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True, timeout=60)


def test_deps_does_nothing_where_all_is_there(repository: Path, tmp_path: Path):
    tools = folder_of_tools(tmp_path, 1000, "mosquitto", "mosquitto_sub", "socat")
    done = make_deps(repository, tools, sys.executable)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("make deps: nothing to do")


def test_deps_tells_a_user_who_is_not_root_what_to_type(repository: Path, tmp_path: Path):
    tools = folder_of_tools(tmp_path, 1000, "mosquitto", "apt-get")
    done = make_deps(repository, tools, sys.executable)
    assert done.returncode != 0
    assert "missing mosquitto-clients socat; run: sudo apt-get install" in done.stderr


def test_deps_installs_as_root_what_is_missing(repository: Path, tmp_path: Path):
    tools = folder_of_tools(tmp_path, 0, "mosquitto", "mosquitto_sub")
    log = tmp_path / "apt.log"
    (tools / "apt-get").write_text(f'#!/bin/bash\necho "$@" >> {log}\n')
    (tools / "apt-get").chmod(0o755)
    done = make_deps(repository, tools, sys.executable)
    assert done.returncode == 0, done.stderr
    assert "installing socat" in done.stdout
    assert log.read_text().split()[-1] == "socat"


def test_deps_without_apt_says_so(repository: Path, tmp_path: Path):
    tools = folder_of_tools(tmp_path, 0)
    done = make_deps(repository, tools, sys.executable)
    assert done.returncode != 0
    assert "no apt-get here" in done.stderr


def test_ci_script_is_valid_and_stops_at_errors(repository: Path):
    script = repository / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=20)
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    for step in ("make deps", "make lint", "make test ", "make test-slow", "--no-skips"):
        assert step in text


def test_a_skip_fails_ci_and_only_ci(repository: Path, tmp_path: Path):
    test = tmp_path / "test_one.py"
    test.write_text("import pytest\n\ndef test_it():\n    pytest.skip('no data here')\n")
    shutil.copy(repository / "tests" / "conftest.py", tmp_path / "conftest.py")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tmp_path}",
        str(test),
    ]
    plain = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    strict = subprocess.run(
        [*command, "--no-skips"], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert plain.returncode == 0, plain.stdout
    assert strict.returncode == 1, strict.stdout
    assert "test_one.py::test_it" in strict.stdout
