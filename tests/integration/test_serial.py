"""A simulated device on a pseudo-terminal, the agent a real process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.types import Result
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording, write_recording
from firmware_bridge.serial_stream import open_port
from firmware_bridge.simulated_device import DeviceSettings
from firmware_bridge.simulator import Simulator
from tests.edge.agent.helpers import signal
from tests.edge.agent.test_cli import edge_agent
from tests.edge.tiny import HOP, RATE_HZ, WINDOW
from tests.integration.rig import AgentProcess, agent, wait_for

# What a converter gives: whole numbers, a scale that is no power of two.
DIGITAL = (signal(1000) * 2).astype("int16").reshape(-1, 1)
RECORD = Recording("r1", RATE_HZ, (Channel("ecg", "uV", 0.4882812),), digital=DIGITAL)
WINDOWS = (len(DIGITAL) - WINDOW) // HOP + 1


def results(path: Path) -> list[Result]:
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [Result.from_json(line) for line in lines if line.endswith("\n")]


def words(bundle: Path, port: object, out: Path, **settings: Any) -> list[object]:
    source = "".join([f"serial:{port}", *(f",{key}={value}" for key, value in settings.items())])
    return ["--bundle", bundle, "--node", "gw1", "--source", source, "--sink", f"file:{out}"]


def replayed(bundle: Path, folder: Path) -> list[Result]:
    write_recording(RECORD, folder / "r1.hea")
    done = edge_agent("replay", folder / "r1.hea", "--bundle", bundle, "--json")
    assert done.returncode == 0, done.stderr
    return [Result.from_json(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("csv", [False, True])
def test_live_probabilities_are_those_of_replay_to_the_bit(bundle: Path, tmp_path: Path, csv: bool):
    out = tmp_path / "out.jsonl"
    more = {"rate_hz": RATE_HZ, "stream": "sim-1"} if csv else {}
    device = Simulator(RECORD, speed=0, csv=csv, link=tmp_path / "port")
    with device, agent(tmp_path, *words(bundle, tmp_path / "port", out, **more)):
        wait_for(lambda: len(results(out)) >= WINDOWS, "every window")
    live, offline = results(out), replayed(bundle, tmp_path)
    assert [r.probabilities for r in live] == [r.probabilities for r in offline]
    assert {r.stream for r in live} == {"sim-1"}
    assert [r.window.missing for r in live] == [0] * WINDOWS


def test_lost_frames_are_asked_for_again_and_nothing_is_missing(bundle: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    device = Simulator(RECORD, speed=20, drop=0.05, corrupt=0.05, seed=2, link=tmp_path / "port")
    with device, agent(tmp_path, *words(bundle, tmp_path / "port", out)):
        wait_for(lambda: len(results(out)) >= WINDOWS - 4, "the windows", 60)
    live = results(out)
    assert sum(r.window.missing for r in live) == 0
    offline = {r.seq: r.probabilities for r in replayed(bundle, tmp_path)}
    assert [r.probabilities for r in live] == [offline[r.seq] for r in live]


def test_a_device_that_cannot_send_again_leaves_marked_gaps(bundle: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    one_way = DeviceSettings(ring_blocks=0, hello_every_s=0.5)
    device = Simulator(RECORD, speed=20, drop=0.1, seed=3, link=tmp_path / "port", settings=one_way)
    with device, agent(tmp_path, *words(bundle, tmp_path / "port", out)):
        wait_for(lambda: len(results(out)) >= WINDOWS // 2, "the windows", 60)
    missing = [r.window.missing for r in results(out)]
    assert any(missing)
    assert all(count % 32 == 0 or count < WINDOW for count in missing)
    for each in results(out):
        assert (each.status == "abstain") == (each.window.missing > 0.2 * WINDOW)


@pytest.mark.parametrize("resend", [True, False])
def test_one_percent_loss(bundle: Path, tmp_path: Path, resend: bool):
    """With resend every window is complete, and as without loss; without, the gaps are marked."""
    out = tmp_path / "out.jsonl"
    long = Recording("r2", RATE_HZ, RECORD.channels, digital=np.tile(DIGITAL, (12, 1)))
    settings = DeviceSettings(block_samples=16, ring_blocks=64 if resend else 0, hello_every_s=0.5)
    device = Simulator(long, speed=12, drop=0.01, seed=5, link=tmp_path / "port", settings=settings)
    windows = (len(DIGITAL) * 12 - WINDOW) // HOP + 1
    with device, agent(tmp_path, *words(bundle, tmp_path / "port", out, verdicts="false")):
        wait_for(lambda: len(results(out)) >= windows - 8, "the windows", 60)
    assert device.faulty.counts["drop"] >= 5
    live = results(out)
    missing = [each.window.missing for each in live]
    if resend:
        assert missing == [0] * len(live)
        write_recording(long, tmp_path / "r2.hea")
        done = edge_agent("replay", tmp_path / "r2.hea", "--bundle", bundle, "--json")
        offline = {r.seq: r.probabilities for r in map(Result.from_json, done.stdout.splitlines())}
        assert [r.probabilities for r in live] == [offline[r.seq] for r in live]
        return
    gapped = [count for count in missing if count]
    assert 0 < len(gapped) < len(missing) / 2
    # Whole blocks of 16 are missing, and the windows' hop is 16, too.
    assert all(count % 16 == 0 for count in gapped)
    assert {r.status for r in live if r.window.missing > 0.2 * WINDOW} <= {"abstain"}


def test_unplugged_and_plugged_in_again(bundle: Path, tmp_path: Path):
    out, link = tmp_path / "out.jsonl", tmp_path / "port"
    with agent(tmp_path, *words(bundle, link, out)) as running:
        for boot in (1, 2, 3):
            before = len(results(out))
            with Simulator(RECORD, speed=0, link=link, settings=DeviceSettings(boot=boot)):
                wait_for(lambda wanted=before + WINDOWS: len(results(out)) >= wanted, "every window")  # type: ignore[misc]
        assert running.process.poll() is None
        assert "Traceback" not in running.said()
    got = results(out)
    assert len(got) == len({r.id for r in got}) == 3 * WINDOWS


def test_the_same_samples_after_a_restart_of_the_agent_have_the_same_ids(bundle: Path, tmp_path: Path):
    runs = []
    for at in range(2):
        out = tmp_path / f"out{at}.jsonl"
        with Simulator(RECORD, speed=0, link=tmp_path / "port"):
            with agent(tmp_path, *words(bundle, tmp_path / "port", out)):
                wait_for(lambda out=out: len(results(out)) >= WINDOWS, "every window")  # type: ignore[misc]
        runs.append(results(out))
    assert [r.id for r in runs[0]] == [r.id for r in runs[1]]
    assert runs[0][0].boot_id != runs[1][0].boot_id


def test_a_busy_port_is_said_and_read_once_it_is_free(bundle: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    with Simulator(RECORD, speed=20, loop=True, link=tmp_path / "port") as device:
        other = open_port(device.port, 115_200)
        with agent(tmp_path, *words(bundle, device.port, out)) as running:
            wait_for(lambda: "is busy: another program has it open" in running.said(), "the complaint")
            other.close()
            wait_for(lambda: len(results(out)) >= 1, "a result")
            assert running.said().count("is busy") == 1


def test_an_absent_port_is_said_once_and_waited_for(bundle: Path, tmp_path: Path):
    out, link = tmp_path / "out.jsonl", tmp_path / "port"
    with agent(tmp_path, *words(bundle, link, out)) as running:
        wait_for(lambda: "is not there" in running.said(), "the complaint")
        with Simulator(RECORD, speed=0, link=link):
            wait_for(lambda: len(results(out)) >= WINDOWS, "every window")
        assert running.said().count("is not there") == 1


def test_two_devices_at_once(bundle: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    ports = [tmp_path / "a", tmp_path / "b"]
    devices = [
        Simulator(RECORD, speed=0, link=port, settings=DeviceSettings(device_id=port.name)) for port in ports
    ]
    more = ["--source", f"serial:{ports[1]}"]
    with devices[0], devices[1], agent(tmp_path, *words(bundle, ports[0], out), *more):
        wait_for(lambda: len(results(out)) >= 2 * WINDOWS, "every window")
    got = results(out)
    for name in ("a", "b"):
        assert [r.seq for r in got if r.stream == name] == list(range(WINDOWS))


def test_lines_without_a_rate_are_counted_with_the_setting_to_make(bundle: Path, tmp_path: Path):
    link, out = tmp_path / "port", tmp_path / "out.jsonl"
    with (
        Simulator(RECORD, speed=0, csv=True, link=link),
        agent(tmp_path, *words(bundle, link, out)) as running,
    ):
        wait_for(lambda: "set rate_hz of this source" in running.said(), "the advice")
        assert running.process.poll() is None


def test_a_stop_while_reading(bundle: Path, tmp_path: Path):
    link, out = tmp_path / "port", tmp_path / "out.jsonl"
    with Simulator(RECORD, speed=1, loop=True, link=link):
        running = AgentProcess(tmp_path, words(bundle, link, out))
        running.ready()
        wait_for(lambda: len(results(out)) >= 1, "a result")
        code, took = running.stop()
    assert (code, took < 5.0) == (0, True)
