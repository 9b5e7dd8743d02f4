"""The agent as a whole, in this process: threads, order of stopping, faults of one part."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.agent import Agent
from edge.settings import ConfigError, load_settings
from edge.sources.base import Emit
from edge.types import Result, SampleBlock
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording, write_recording
from tests.edge.agent.helpers import block, signal
from tests.edge.tiny import HOP, RATE_HZ, WINDOW, tiny_bundle

WINDOWS = (400 - WINDOW) // HOP + 1


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, Any]:
    bundle = tiny_bundle(tmp_path / "tiny.bundle")
    return {
        "bundle.path": str(bundle),
        "sink": [f"file:{tmp_path / 'out.jsonl'}"],
        "node.id": "gw1",
        "delivery.retry_min_s": "0.05",
    }


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "r1.npz"
    write_recording(Recording("r1", RATE_HZ, (Channel("ecg", "uV"),), analog=signal(400)[:, None]), path)
    return path


def results(tmp_path: Path) -> list[Result]:
    return [Result.from_json(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


class Fed:
    """A source that gives blocks and then waits, or ends."""

    name, aligned, is_ready = "fed", False, True

    def __init__(self, blocks: list[SampleBlock], *, stay: bool = False, fail: int = 0) -> None:
        self.blocks, self.stay, self.fail = blocks, stay, fail
        self.accepted = 0

    def run(self, emit: Emit, stop: threading.Event) -> None:
        if self.fail:
            self.fail -= 1
            raise RuntimeError("a bug in the source")
        for item in self.blocks:
            emit(item, self._accept)
        if self.stay:
            stop.wait()

    def _accept(self) -> None:
        self.accepted += 1

    def status(self) -> dict[str, object]:
        return {"kind": "fed"}


def agent(flags: dict[str, Any], *sources: Fed, **more: Any) -> Agent:
    made = Agent(load_settings(None, {}, flags), **more)
    if sources:
        made.intake.sources = list(sources)
    return made


def stop_when(ready: Callable[[], bool], timeout_s: float = 20.0) -> Callable[[], bool]:
    until = time.monotonic() + timeout_s
    return lambda: ready() or time.monotonic() > until


def test_a_replay_is_played_to_its_end(flags: dict[str, Any], recording: Path, tmp_path: Path):
    seen: list[Result] = []
    made = agent({**flags, "source": [f"replay:{recording}"]}, on_result=seen.append)
    made.run(stop_when(lambda: False))
    got = results(tmp_path)
    assert [r.seq for r in got] == list(range(WINDOWS))
    assert {r.stream for r in got} == {"r1"}
    assert [r.id for r in seen] == [r.id for r in got]
    assert len({r.id for r in got}) == WINDOWS


def test_what_ends_before_the_first_look_was_ready(flags: dict[str, Any], caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        agent(flags, Fed([])).run(lambda: True)
    assert "ready in" in caplog.text


def test_a_quiet_moment_gives_memory_back(flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    looks: list[int] = []
    monkeypatch.setattr("edge.memory.HighWater.look", lambda water: looks.append(1))
    agent(flags, Fed([block(signal(400))], stay=True)).run(stop_when(lambda: bool(looks)))
    assert looks


def test_the_same_record_again_gives_the_same_ids(flags: dict[str, Any], recording: Path, tmp_path: Path):
    for _ in range(2):
        agent({**flags, "source": [f"replay:{recording}"]}).run(stop_when(lambda: False))
    got = results(tmp_path)
    assert [r.id for r in got[:WINDOWS]] == [r.id for r in got[WINDOWS:]]


def test_no_threads_are_left_behind(flags: dict[str, Any]):
    before = set(threading.enumerate())
    agent(flags, Fed([block(signal(400))])).run(stop_when(lambda: False))
    assert set(threading.enumerate()) == before


def test_making_an_agent_starts_nothing(flags: dict[str, Any], tmp_path: Path):
    before = set(threading.enumerate())
    agent(flags)
    assert set(threading.enumerate()) == before
    assert not (tmp_path / "out.jsonl").exists()


def test_a_stop_classifies_and_delivers_what_was_accepted(flags: dict[str, Any], tmp_path: Path):
    source = Fed([block(signal(WINDOW), stream=f"s{at}") for at in range(100)], stay=True)
    made = agent(flags, source)
    made.run(stop_when(lambda: source.accepted == 100))
    assert len(results(tmp_path)) == 100


def test_a_stop_is_quick_even_when_everything_hangs(flags: dict[str, Any]):
    class Hanging(Fed):
        def run(self, emit: Emit, stop: threading.Event) -> None:
            release.wait(30)

    release = threading.Event()
    made = agent({**flags, "mqtt.host": "127.0.0.1", "mqtt.port": "9", "sink": ["mqtt"]}, Hanging([]))
    made.runners[0].offer(next(iter(_one_result(flags))))
    began = time.monotonic()
    made.run(lambda: time.monotonic() - began > 0.3)
    release.set()
    assert time.monotonic() - began < 5.3


def _one_result(flags: dict[str, Any]) -> list[Result]:
    return agent(flags).engine.push(block(signal(WINDOW)))


def test_a_source_that_fails_is_started_again(
    flags: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("edge.supervise.RESTART_MIN_S", 0.01)
    made = agent(flags, Fed([block(signal(WINDOW))], fail=2))
    with caplog.at_level(logging.ERROR):
        made.run(stop_when(lambda: False))
    assert len(results(tmp_path)) == 1
    assert made.metrics.by("restarts") == {"source-fed": 2}


def test_one_stream_that_breaks_the_pipeline_does_not_end_the_others(
    flags: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    made = agent(flags, Fed([block(signal(WINDOW), stream=s) for s in ("a", "poison", "b")]))
    push = made.engine.push

    def breaks(item: SampleBlock, *, aligned: bool = False) -> list[Result]:
        if item.stream == "poison":
            raise ValueError("a bug in the pipeline")
        return push(item, aligned=aligned)

    monkeypatch.setattr(made.engine, "push", breaks)
    with caplog.at_level(logging.ERROR):
        made.run(stop_when(lambda: False))
    assert [r.stream for r in results(tmp_path)] == ["a", "b"]
    assert made.metrics.by("dropped") == {"failed_block": 1}


def test_a_full_queue_holds_the_source_back(flags: dict[str, Any], tmp_path: Path):
    source = Fed([block(signal(WINDOW), stream=f"s{at}") for at in range(50)])
    agent({**flags, "pipeline.queue_blocks": "2"}, source).run(stop_when(lambda: False))
    assert len(results(tmp_path)) == 50


def test_a_folder_that_is_not_there_yet(
    flags: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "later" / "out.jsonl"
    made = agent({**flags, "sink": [f"file:{path}"]}, Fed([block(signal(WINDOW))], stay=True))
    threading.Timer(0.4, path.parent.mkdir).start()
    with caplog.at_level(logging.WARNING):
        made.run(stop_when(lambda: path.exists() and path.stat().st_size > 0))
    assert len(path.read_text().splitlines()) == 1
    assert len([r for r in caplog.records if "does not exist" in r.message]) == 1


def test_health_and_counters(flags: dict[str, Any]):
    made = agent(flags, Fed([block(signal(WINDOW)), block(np.full(30, np.nan), first=WINDOW)], stay=True))
    facts: list[dict[str, Any]] = []

    def look() -> bool:
        facts.append(json.loads(json.dumps(made.health())))
        return facts[-1]["counters"].get("not_finite", 0) == 30

    made.run(stop_when(look))
    last = facts[-1]
    assert (last["schema"], last["status"], last["streams"], last["online"]) == (
        "wavewall.health/1",
        "ok",
        1,
        1,
    )
    assert last["counters"]["samples"] == WINDOW + 30
    assert last["sources"] == [{"kind": "fed"}]
    assert last["boot_id"] == made.boot_id


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": ["mqtt", "mqtt:a"]}, "two sources of kind mqtt"),
        ({"sink": ["mqtt", "mqtt"]}, "two sinks of kind mqtt"),
        ({"source": ["replay:/nowhere/x.npz"]}, "source.0 \\(replay\\): /nowhere/x.npz: no such file"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(
    flags: dict[str, Any], change: dict[str, Any], says: str
):
    with pytest.raises(ConfigError, match=says):
        agent({**flags, **change})


def test_a_record_that_is_not_there_is_refused_at_start(flags: dict[str, Any], recording: Path):
    with pytest.raises(ConfigError, match=r"did you mean 'r1'"):
        agent({**flags, "source": [f"replay:{recording},records=r11"]})


def test_a_password_file(flags: dict[str, Any], tmp_path: Path):
    secret = tmp_path / "password"
    wanted = {**flags, "sink": ["mqtt"], "mqtt.username": "u", "mqtt.password_file": str(secret)}
    with pytest.raises(ConfigError, match=r"mqtt\.password_file"):
        agent(wanted)
    secret.write_text("\nx")
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match=r"mode 0644 lets others read it; run chmod 600"):
        agent(wanted)
    secret.chmod(0o600)
    with pytest.raises(ConfigError, match="first line is empty"):
        agent(wanted)
    secret.write_text("canary-9\n")
    made = agent(wanted)
    assert "canary-9" not in json.dumps(made.health())
