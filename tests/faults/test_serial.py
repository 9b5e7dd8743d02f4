"""A device on a port that is unplugged again and again, and an agent that dies while it sends."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from edge.recorder.record import BLOCK, Decoder
from edge.recorder.segments import list_segments, read_segment
from edge.types import Result
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording
from firmware_bridge.simulator import Simulator
from tests.edge.agent.helpers import signal
from tests.edge.tiny import HOP, RATE_HZ, WINDOW, tiny_bundle
from tests.faults.conftest import Tally
from tests.integration.rig import AgentProcess, wait_for

DIGITAL = (signal(1000) * 2).astype("int16").reshape(-1, 1)


def results(path: Path) -> list[Result]:
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [Result.from_json(line) for line in lines if line.endswith("\n")]


def words(folder: Path) -> list[object]:
    return [
        "--bundle", tiny_bundle(folder / "tiny.bundle"), "--node", "gw1", "--node-state-dir", folder,
        "--source", f"serial:{folder / 'port'},silence_s=5", "--sink", f"file:{folder / 'out.jsonl'}",
        "--durability-folder", folder / "state", "--durability-sync-s", "0.1", "--durability-commit-s", "0.3",
    ]  # fmt: skip


def test_pty_unplugged_twenty_times(tmp_path: Path, tally: Tally):
    """Each time a device that starts its count anew: every whole window of every visit is answered, once."""
    record = Recording("r1", RATE_HZ, (Channel("ecg", "uV", 0.5),), digital=DIGITAL[:200])
    each = (200 - WINDOW) // HOP + 1
    agent = AgentProcess(tmp_path, words(tmp_path))
    agent.ready()
    for visit in range(20):
        with Simulator(record, speed=20, link=tmp_path / "port"):
            wait_for(lambda: len(results(tmp_path / "out.jsonl")) >= each * (visit + 1), f"visit {visit}")  # noqa: B023
    assert agent.stop()[0] == 0
    got = results(tmp_path / "out.jsonl")
    assert len(got) == 20 * each
    assert sum(r.window.missing for r in got) == 0
    tally("serial port unplugged, 20 times", {"windows": 20 * each, "missing": 0, "double": 0})


def test_serial_samples_are_on_the_disk_within_a_second(tmp_path: Path, tally: Tally):
    """Nobody sends them again: what was answered a second before kill -9 must be in the recorder by then."""
    long = Recording("r2", RATE_HZ, (Channel("ecg", "uV", 0.5),), digital=np.tile(DIGITAL, (9, 1)))
    out, kills, windows = tmp_path / "out.jsonl", 3, 0
    given = [w if w != "0.1" else "0.5" for w in words(tmp_path)]  # the default
    with Simulator(long, speed=2, link=tmp_path / "port"):
        for _ in range(kills):
            agent = AgentProcess(tmp_path, given)
            before = len(results(out))
            wait_for(lambda: len(results(out)) > before + 12, "results")  # noqa: B023
            windows = len({r.id for r in results(out)})
            time.sleep(1.0)
            agent.kill()
            recorded = {
                at + k
                for segment in list_segments(tmp_path / "state" / "samples")
                for raw in read_segment(segment.path)
                if raw.kind == BLOCK
                for block in [Decoder().block(raw.number, raw.payload).block]
                for at, k in ((block.first_index, k) for k in range(len(block.values)))
            }
            assert len(recorded) >= (windows - 1) * HOP + WINDOW
    tally(f"agent on a serial port killed, {kills} times", {"windows": windows, "missing": 0, "double": 0})
