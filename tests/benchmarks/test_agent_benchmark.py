"""The benchmark measures what it says; whether goals are met is for the machine at hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import agent, agent_process, durable_work, own_work, throughput
from benchmarks.goals import Figure, report, table
from edge.bundle import read_bundle
from edge.config import BundleSettings
from tests.edge.tiny import tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bundle") / "tiny.bundle"
    tiny_bundle(path)
    return str(path)


@pytest.mark.parametrize("kind", ["binary", "json"])
def test_every_message_and_window_is_counted(bundle: str, kind: str):
    measured = own_work.measure(BundleSettings(name=bundle, path=Path(bundle)), kind, 40, seconds=0.1)
    samples = 40 * 10
    assert measured.windows == (samples - 64) // 16 + 1
    assert measured.messages == 40 - measured.windows  # ten samples never complete two windows
    assert measured.model_us > 0
    assert 0 < measured.message_us < 100_000


def test_durable_work_sends_the_same_through_both_agents(bundle: str):
    measured = durable_work.measure(BundleSettings(name=bundle, path=Path(bundle)), 300)
    assert measured.windows == (300 * 100 - 64) // 16 + 1
    assert measured.plain_ms > 0
    assert measured.durable_ms > 0
    assert measured.fsyncs > 0


def test_payloads_of_both_kinds_hold_the_same_samples(bundle: str):
    from edge.sources.json_payload import decode, parse
    from firmware_bridge.decoder import FrameDecoder
    from firmware_bridge.messages import Samples

    loaded = read_bundle(bundle)
    spec, signal = loaded.manifest.input, loaded.vectors.windows[0]
    binary = own_work.payloads("binary", spec, signal, 3)
    text = own_work.payloads("json", spec, signal, 3)
    frames = [m for p in binary for m in FrameDecoder("binary").feed(p) if isinstance(m, Samples)]
    values = [v for frame in frames for v in frame.values[:, 0].tolist()]
    parsed = [v for p in text for v in parse(decode(p), spec.channels).values[:, 0].tolist()]
    assert len(values) == 300
    assert values == parsed
    assert [frame.seq for frame in frames][:2] == [0, len(frames[0].values)]


@pytest.mark.integration
def test_a_real_agent_is_started_fed_and_stopped(bundle: str):
    (run,) = agent_process.measure(bundle, runs=1, streams=2, seconds=3)
    assert run.windows == 2 * ((300 - 64) // 16 + 1)
    assert run.messages == 6
    assert 0.1 < run.ready_s < 30
    assert 20 < run.resident_mb < 500


@pytest.mark.slow
@pytest.mark.integration
def test_a_bare_loop_and_the_agent_take_the_same_messages(bundle: str):
    (rates,) = throughput.measure(bundle, 1)
    assert rates.messages == throughput.STREAMS + 2
    assert rates.bare > 0
    assert rates.agent > 0
    assert 0 < rates.bare_us < 100_000


def test_a_missed_goal_is_told_and_gives_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    good, bad, plain = Figure("a", 1.0, "s", 2.0), Figure("b", 3.0, "s", 2.0), Figure("c", 9.0, "s")
    assert report([good, plain], {"benchmark": "x"}, None) == 0
    assert "every goal met" in capsys.readouterr().out
    assert report([good, bad], {"benchmark": "x"}, tmp_path / "new" / "f.json") == 1
    assert "missed: b" in capsys.readouterr().out
    stored = json.loads((tmp_path / "new" / "f.json").read_text())
    assert [row["missed"] for row in stored["figures"]] == [False, True]
    assert stored["cores"]
    assert Figure("nan", float("nan"), "s", 1.0).missed
    assert "goal 2 s" in table([good])


def test_goals_are_those_that_were_set():
    assert (agent.MESSAGE_US, agent.WINDOW_US, agent.READY_S, agent.RESIDENT_MB) == (60, 400, 1.5, 80)


def test_what_cannot_be_measured_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.argv", ["agent", "--bundle", "no-such"])
    assert agent.main() == 2
    message = capsys.readouterr().err
    assert "no-such" in message
    assert "Traceback" not in message
