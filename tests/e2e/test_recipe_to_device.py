"""From a recipe to a verdict with the commands a user types, and the same files on the old runtime of 32-bit boards."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge import zoo
from tests.conftest import data_folder

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = REPOSITORY / "trainer" / "zoo" / "recipes" / "coffee.toml"
# What the agent needs on a board where ai-edge-litert has no wheel.
OLD_RUNTIME = ("tflite-runtime==2.14.0", "numpy==1.26.4", "paho-mqtt", "pyserial", "typer", "pydantic", "cryptography")


def run(*command: object, **kwargs: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, **kwargs)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def coffee(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the example recipe, trained and exported here."""
    archive = data_folder() / "UCRArchive_2018"
    if not archive.is_dir():
        pytest.skip(f"{archive} is absent: set WAVEWALL_DATA to the folder that holds UCRArchive_2018")
    folder = tmp_path_factory.mktemp("coffee")
    run(BIN / "trainer", "train", RECIPE, "--data", archive, "--out", folder / "run")
    run(BIN / "trainer", "keygen", folder / "key.pem")
    run(BIN / "trainer", "export", folder / "run", "--out", folder / "coffee.bundle", "--sign", folder / "key.pem")
    return folder / "coffee.bundle"


@pytest.fixture(scope="module")
def old_runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with tflite-runtime 2.14, which ended at CPython 3.11."""
    python = shutil.which("python3.11") or (sys.executable if sys.version_info[:2] == (3, 11) else None)
    assert python is not None, "tflite-runtime 2.14 needs a CPython 3.11 on this machine"
    folder = tmp_path_factory.mktemp("old")
    run(python, "-m", "venv", folder / "venv")
    run(folder / "venv" / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *OLD_RUNTIME)
    return folder / "venv" / "bin" / "python"


def answers(python: Path, bundle: Path, recording: Path, record: str) -> list[dict[str, object]]:
    command = [python, "-m", "edge.cli", "replay", recording, "--record", record, "--bundle", bundle, "--json"]
    return [json.loads(line) for line in run(*command, cwd=REPOSITORY).splitlines()]


def test_a_recipe_becomes_a_verdict_on_both_runtimes(coffee: Path, old_runtime: Path) -> None:
    public = coffee.parent / "key.pem.pub"
    assert "ok" in run(BIN / "edge-agent", "verify", coffee, "--key", public).lower()
    recording = data_folder() / "UCRArchive_2018" / "Coffee" / "Coffee_TEST.tsv"
    labels = []
    for record in ("Coffee_TEST:0", "Coffee_TEST:27"):
        (new,) = answers(Path(sys.executable), coffee, recording, record)
        (old,) = answers(old_runtime, coffee, recording, record)
        assert new["label"] == old["label"]
        labels.append(new["label"])
    assert labels == ["0", "1"]


@pytest.mark.parametrize("name", zoo.names())
def test_golden_vectors_hold_on_the_old_runtime(old_runtime: Path, name: str) -> None:
    out = run(old_runtime, "-m", "edge.cli", "verify", zoo.resolve_bundle(name), cwd=REPOSITORY)
    assert f"{name}@" in out
    assert "tflite_runtime" in out
