"""The demo on a real broker, real pseudo-terminals and real agents, with a tiny model in place of the shipped ones."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import edge.demo.agents
import edge.demo.broker
from edge.demo.screen import DEFENDED, MODELS, UNDEFENDED
from edge.demo.session import run_demo
from edge.demo.stage import DATA, DemoError
from edge.errors import EdgeError
from tests.edge.tiny import tiny_bundle

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("bundles") / "tiny.bundle"
    tiny_bundle(path)
    return dict.fromkeys(MODELS, str(path))


def children() -> set[str]:
    """Command lines of this process's children."""
    listing = subprocess.run(
        ["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True
    )
    return {line.strip() for line in listing.stdout.splitlines() if "ps -o" not in line}


def test_every_window_of_both_models_is_seen_and_known(bundles: dict[str, str]):
    lines: list[str] = []
    before = children()
    assert run_demo(4, lines.append, bundles=bundles)
    text = "\n".join(lines)
    assert "broker      mosquitto on 127.0.0.1:" in text
    assert "10 times real time" in text
    rows = [line for line in lines if re.match(r"\s+\d+ s ", line)]
    parts = [row.split()[2] for row in rows]
    # 20 s of signal a half, a window of 0.64 s every 0.16 s: nothing is lost and nothing is twice
    assert parts.count("clean") == parts.count("attacked") == 1 + (2000 - 64) // 16
    assert parts.count("mixed") == 3
    assert text.index("an attacker is on the wire") > text.index(" clean ")
    assert f"{DEFENDED:<15} 122 windows clean, 122 attacked" in text
    # the same model twice: it answers alike, and the demo says that nothing was gained
    assert lines[-1].endswith("this time the defence made no difference.")
    assert children() == before


def test_amqtt_serves_where_mosquitto_is_not_installed(
    bundles: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(edge.demo.broker.shutil, "which", lambda *_, **__: None)
    lines: list[str] = []
    assert run_demo(2, lines.append, bundles=bundles)
    assert "amqtt" in lines[0]
    assert "MQTT 3.1.1" in lines[0]


def test_an_agent_that_ends_at_start_is_named_with_its_reason(
    bundles: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    write = edge.demo.agents.config_text

    def wrong(node: str, *rest: object) -> str:
        text = write(node, *rest)
        return text.replace("[bundle]", "[bundel]") if node == DEFENDED else text

    monkeypatch.setattr(edge.demo.agents, "config_text", wrong)
    before = children()
    with pytest.raises(DemoError, match=rf"agent {DEFENDED} ended at start: .*did you mean 'bundle'"):
        run_demo(4, lambda _: None, bundles=bundles)
    assert children() == before


def test_bundles_with_other_windows_cannot_be_compared(bundles: dict[str, str], tmp_path: Path):
    from edge.bundle import InputSpec

    other = tmp_path / "other.bundle"
    tiny_bundle(other, input=InputSpec(("ecg",), "uV", 100.0, 64, 32))
    with pytest.raises(DemoError, match="take different windows"):
        run_demo(4, lambda _: None, bundles={UNDEFENDED: bundles[UNDEFENDED], DEFENDED: str(other)})


def test_an_unknown_bundle_is_an_error_of_ours(bundles: dict[str, str]):
    with pytest.raises(EdgeError, match="no-such"):
        run_demo(4, lambda _: None, bundles=bundles | {DEFENDED: "no-such"})


def test_sigterm_stops_broker_and_agents_and_still_sums_up(bundles: dict[str, str]):
    code = (
        "import sys, edge.demo.session as s, edge.demo.command as c\n"
        f"s.run_demo.__kwdefaults__['bundles'] = {bundles!r}\n"
        "import typer; typer.run(c.demo)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--seconds", "60"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if " clean " in line:
            break
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    started = [int(pid) for pid in listing.stdout.split()]
    assert len(started) == 3  # broker and two agents
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    assert process.wait(15) == 1  # nothing of the attack was seen
    assert "stopped by you" in rest
    assert "Too little was seen" in rest
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


def test_committed_files_belong_together():
    with np.load(DATA / "recording.npz") as recording, np.load(DATA / "perturbation.npz") as stored:
        assert stored["delta_uv"].shape == recording["digital"].shape
        assert 1 <= np.abs(stored["delta_uv"]).max() <= 20, "a few microvolts, no more"
