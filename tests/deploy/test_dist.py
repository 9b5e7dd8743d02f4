"""The wheel and the source distribution: what is in them, and that they install and work from nothing."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.package, pytest.mark.slow]

SUPPORTED = ("3.10", "3.11", "3.12", "3.13")


def run(command: list[str], env: dict[str, str], cwd: Path, timeout: float = 280) -> str:
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tool(name: str) -> str:
    path = Path(sys.executable).with_name(name)
    assert path.exists(), f"{name} is not installed; run: pip install -e .[dev]"
    return str(path)


def interpreters() -> dict[str, str]:
    """version -> path of each supported CPython on this machine: on PATH, or among pyenv's or uv's own."""
    places = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    places += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    places += sorted(Path.home().glob(".local/share/uv/python/*/bin"))
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    for version in SUPPORTED:
        for place in places:
            path = place / f"python{version}"
            if version not in found and path.exists():
                works = subprocess.run([path, "-c", "import ssl, ctypes"], capture_output=True)
                if works.returncode == 0:
                    found[version] = str(path)
    return found


def classifies(program: str, env: dict[str, str], folder: Path) -> None:
    """The installed program, away from the sources, reads a recording and gives its four verdicts."""
    assert "every check passed" in run([program, "check", "--sink", "stdout", "--source",
        f"replay:{folder / 'recording.npz'}"], env, folder)  # fmt: skip
    lines = run([program, "replay", str(folder / "recording.npz"), "--json"], env, folder).splitlines()
    results = [json.loads(line) for line in lines]
    assert len(results) > 3
    assert {result["label"] for result in results} <= {"normal", "af", "other", "noise"}


@pytest.fixture
def folder(tmp_path: Path, repository: Path) -> Path:
    """A folder that is not the sources', with a recording in it."""
    shutil.copy(repository / "edge" / "demo" / "data" / "recording.npz", tmp_path)
    return tmp_path


def test_checkers_are_content(packages: tuple[Path, Path], repository: Path, clean_env: dict[str, str]):
    wheel, sdist = packages
    run([tool("twine"), "check", "--strict", str(wheel), str(sdist)], clean_env, repository)
    run([tool("check-wheel-contents"), str(wheel)], clean_env, repository)
    said = subprocess.run(
        [tool("pyroma"), "--min=8", str(sdist)], env=clean_env, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout
    # The two things that a project without a public home cannot state; see deploy/release.md.
    complaints = [line for line in said.stdout.splitlines() if line.startswith("Your package")]
    assert len(complaints) <= 2, complaints
    assert all("author-email" in line or "'url'" in line for line in complaints), complaints


def test_wheel_holds_the_product_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.compress_size for info in archive.infolist()}
        metadata = email.message_from_bytes(archive.read(next(n for n in sizes if n.endswith("/METADATA"))))
    assert {"edge/py.typed", "firmware_bridge/py.typed", "edge/zoo/ecg-rhythm.bundle"} <= set(sizes)
    assert not [name for name in sizes if re.search(r"(^|/)(tests?|out|build)/|\.pyc$|\.env$|\.key$", name)]
    zoo = sum(size for name, size in sizes.items() if "/zoo/" in name)
    assert sum(sizes.values()) - zoo < 2_000_000
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == "<3.14,>=3.10"
    base = [line for line in metadata.get_all("Requires-Dist") or [] if "extra ==" not in line]
    assert len(base) < 12
    assert not re.search("tensorflow|scipy", " ".join(base))


def test_source_distribution_names_no_machine(packages: tuple[Path, Path]):
    with tarfile.open(packages[1]) as archive:
        members = archive.getmembers()
    assert {(m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, "", "")}
    names = {m.name.partition("/")[2] for m in members}
    assert {"pyproject.toml", "LICENSE", "README.md", "edge/agent.py"} <= names


def test_uv_tool_install(wheel: Path, clean_env: dict[str, str], folder: Path):
    env = {**clean_env, "UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "bin")}
    run([tool("uv"), "tool", "install", "--python", sys.executable, str(wheel)], env, folder)
    assert {p.name for p in (folder / "bin").iterdir()} == {"edge-agent", "trainer", "firmware-bridge"}
    classifies(str(folder / "bin" / "edge-agent"), env, folder)


def test_pipx_install(wheel: Path, clean_env: dict[str, str], folder: Path):
    env = {**clean_env, "PIPX_HOME": str(folder / "pipx"), "PIPX_BIN_DIR": str(folder / "bin")}
    run([tool("pipx"), "install", "--python", sys.executable, str(wheel)], env, folder)
    classifies(str(folder / "bin" / "edge-agent"), env, folder)
    run([tool("pipx"), "uninstall", "wavewall"], env, folder)
    assert not list((folder / "bin").iterdir())


@pytest.mark.parametrize(("version", "python"), interpreters().items(), ids=interpreters())
def test_every_python_of_this_machine(
    version: str, python: str, wheel: Path, clean_env: dict[str, str], folder: Path
):
    assert version in SUPPORTED
    venv = folder / "venv"
    run([tool("uv"), "venv", "--python", python, str(venv)], clean_env, folder)
    run([tool("uv"), "pip", "install", "--python", str(venv), str(wheel)], clean_env, folder)
    assert version in run([str(venv / "bin" / "python"), "-V"], clean_env, folder)
    classifies(str(venv / "bin" / "edge-agent"), clean_env, folder)
    print(f"CPython {version} ({python}): installed from the wheel and classified")
