"""What a running program has loaded, and that the base install is enough for the agent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.edge.tiny import tiny_bundle

TRAINER_ONLY = ("tensorflow", "keras", "trainer", "sklearn", "matplotlib", "pandas", "h5py")
# What `pip install .` does not bring. (rich comes with typer.)
NOT_IN_BASE = (
    *TRAINER_ONLY,
    "wfdb",
    "edfio",
    "amqtt",
    "pytest",
    "hypothesis",
    "jsonschema",
    "psutil",
    "nats",
    "prometheus_client",
)

# Ends a run as a user does, then tells what was loaded on the way.
RUN_AND_TELL = """
import json, sys
from edge.cli import main
told = sys.argv.pop()
try:
    main()
finally:
    with open(told, "w") as file:
        json.dump(sorted({name.split(".")[0] for name in sys.modules}), file)
"""

# Refuses what the base install lacks, as an import error that names the module.
BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny bundle and a recording for it."""
    folder = tmp_path_factory.mktemp("agent")
    tiny_bundle(folder / "tiny.bundle")
    samples = np.random.default_rng(0).normal(0, 80, (400, 1)).astype(np.float32)
    np.savez(folder / "recording.npz", values=samples, rate_hz=100.0, channels=["ecg"], units=["uV"])
    return folder


def run(code: str, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=60)


def agent_run() -> list[str]:
    return [
        "run", "--bundle-path", "tiny.bundle", "--source", "replay:recording.npz",
        "--sink", "file:results.jsonl", "--log-level", "warning",
    ]  # fmt: skip


def test_a_running_agent_never_loads_the_trainer(place: Path):
    (place / "results.jsonl").unlink(missing_ok=True)
    done = run(RUN_AND_TELL, place, *agent_run(), "loaded.json")
    assert done.returncode == 0, done.stderr
    results = (place / "results.jsonl").read_text().splitlines()
    assert len(results) == (400 - 64) // 16 + 1, "the agent did not do its work"
    loaded = set(json.loads((place / "loaded.json").read_text()))
    assert {"edge", "firmware_bridge", "numpy"} <= loaded
    assert loaded.isdisjoint((*TRAINER_ONLY, "scipy"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["demo", "--help"],
        ["verify", "tiny.bundle"],
        ["replay", "recording.npz", "--bundle", "tiny.bundle", "--json"],
        ["schema"],
        agent_run(),
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_base_install_is_enough_for_the_agent(arguments: list[str], place: Path):
    code = f"BLOCKED = {NOT_IN_BASE!r}\n{BLOCK}\nfrom edge.cli import main\nmain()"
    done = run(code, place, *arguments)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["firmware_bridge.cli", "trainer.cli"])
def test_help_works_without_the_extras(module: str, place: Path):
    code = f"BLOCKED = {[n for n in NOT_IN_BASE if n != 'trainer']!r}\n{BLOCK}\nfrom {module} import main\nmain()"
    done = run(code, place, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_a_command_that_needs_an_extra_says_which(place: Path):
    blocked = [n for n in NOT_IN_BASE if n != "trainer"]
    code = f"BLOCKED = {blocked!r}\n{BLOCK}\nfrom trainer.cli import main\nmain()"
    (place / "recipe.toml").write_text("")
    done = run(code, place, "evaluate", "ecg-undefended", "--data", "recording.npz")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "wavewall[trainer]" in done.stderr + done.stdout


def test_the_block_itself_works(place: Path):
    done = run(f"BLOCKED = ('pandas',)\n{BLOCK}\nimport pandas", place)
    assert done.returncode != 0
    assert "No module named 'pandas'" in done.stderr
