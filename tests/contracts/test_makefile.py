"""`make deps` says what it does, and CI's script is one that bash can read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = ("bash", "make", "python3", "cat", "awk", "sh")
PROGRAMS = (
    "mosquitto",
    "mosquitto_sub",
    "socat",
    "openssl",
    "gcc",
    "clang",
    "qemu-system-arm",
    "arm-none-eabi-gcc",
    "avr-gcc",
    "chromium",
    "promtool",
    "nats-server",
    "git",
    "mmdebstrap",
    "qemu-aarch64-static",
    "systemd-analyze",
    "systemd-nspawn",
    "buildah",
    "lintian",
)
FILES = (
    "usr/include/stdio.h", "usr/include/newlib", "usr/lib/avr/include", "usr/share/arduino/hardware/arduino/avr",
    "usr/include/simavr", "usr/include/libelf.h", "usr/share/fonts/opentype/inter",
)  # fmt: skip


def machine(tmp_path: Path, user_id: int, *without: str) -> Path:
    """A folder that is a PATH and a root: what the scripts call, `id` telling ``user_id``, all that is needed."""
    folder = tmp_path / "machine"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found, name
        # pyenv's shims look at their own name's neighbours: link the program itself
        found = os.path.realpath("/usr/bin/" + name) if Path("/usr/bin/" + name).exists() else found
        (folder / name).symlink_to(found)
    scripts = {"id": f"echo {user_id}"} | dict.fromkeys(set(PROGRAMS) - set(without), "exit 0")
    for name, body in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    for name in set(FILES) - set(without):
        (folder / name).mkdir(parents=True)
    return folder


def make_deps(
    repository: Path, place: Path, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("make") or "make", "--no-print-directory", "deps", f"PYTHON={python}"]
    env = {"PATH": str(place), "HOME": str(place), "ROOT": str(place), "SBIN": ""}
    return subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True, timeout=60)


def test_deps_does_nothing_where_all_is_there(repository: Path, tmp_path: Path):
    done = make_deps(repository, machine(tmp_path, 1000))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("make deps: nothing to do")


def test_deps_tells_a_user_who_is_not_root_what_to_type(repository: Path, tmp_path: Path):
    place = machine(tmp_path, 1000, "mosquitto_sub", "usr/include/simavr")
    (place / "apt-get").symlink_to(place / "socat")
    done = make_deps(repository, place)
    assert done.returncode != 0
    assert "missing mosquitto-clients libsimavr-dev; run: sudo apt-get install" in done.stderr


def test_deps_installs_as_root_what_is_missing(repository: Path, tmp_path: Path):
    place = machine(tmp_path, 0, "socat")
    log = tmp_path / "apt.log"
    (place / "apt-get").write_text(f'#!/bin/bash\necho "$@" >> {log}\n')
    (place / "apt-get").chmod(0o755)
    done = make_deps(repository, place)
    assert done.returncode == 0, done.stderr
    assert "installing socat" in done.stdout
    assert log.read_text().splitlines() == ["install -y -qq --no-install-recommends socat"]


def test_deps_fetches_the_lists_when_apt_does_not_know_a_package(repository: Path, tmp_path: Path):
    place = machine(tmp_path, 0, "socat")
    log = tmp_path / "apt.log"
    (place / "apt-get").write_text(
        f'#!/bin/bash\necho "$1" >> {log}\n[ "$1" = update ] && touch {tmp_path}/lists\n[ -e {tmp_path}/lists ]\n'
    )
    (place / "touch").symlink_to("/usr/bin/touch")
    (place / "apt-get").chmod(0o755)
    done = make_deps(repository, place)
    assert done.returncode == 0, done.stderr
    assert log.read_text().split() == ["install", "update", "install"]


def test_deps_without_apt_says_so(repository: Path, tmp_path: Path):
    done = make_deps(repository, machine(tmp_path, 0, "gcc"))
    assert done.returncode != 0
    assert "missing gcc, and there is no apt-get here" in done.stderr


def test_an_unusable_python_is_missing_too(repository: Path, tmp_path: Path):
    place = machine(tmp_path, 1000)
    (place / "apt-get").symlink_to(place / "socat")
    (place / "python3").unlink()
    done = make_deps(repository, place, python="no-such-python")
    assert done.returncode != 0
    assert "missing python3 python3-venv" in done.stderr


def test_ci_script_is_valid_and_stops_at_errors(repository: Path):
    script = repository / ".ci" / "run"
    assert os.access(script, os.X_OK)
    for name in ("run", "deps"):
        subprocess.run(["bash", "-n", str(repository / ".ci" / name)], check=True, timeout=20)
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    for step in ("make deps", "make lint", "make test ", "make test-slow", "--no-skips"):
        assert step in text


@pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["one process", "two processes"])
@pytest.mark.parametrize(
    "body",
    [
        "def test_it():\n    pytest.skip('no data here')\n",
        "pytest.skip('no data here', allow_module_level=True)\n",
    ],
    ids=["test", "file"],
)
def test_a_skip_fails_ci_and_only_ci(repository: Path, tmp_path: Path, body: str, processes: list[str]):
    test = tmp_path / "test_one.py"
    test.write_text(f"import pytest\n\n{body}")
    (tmp_path / "test_two.py").write_text("def test_two():\n    pass\n")
    shutil.copy(repository / "tests" / "conftest.py", tmp_path / "conftest.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", *processes]
    env = {**os.environ, "PYTHONPATH": str(repository)}
    plain, strict = (
        subprocess.run([*command, *more], capture_output=True, text=True, cwd=tmp_path, timeout=60, env=env)
        for more in ([], ["--no-skips"])
    )
    assert plain.returncode == 0, plain.stdout
    assert strict.returncode == 1, strict.stdout
    assert "test_one.py" in strict.stdout.partition("skipped tests fail this run")[2]
