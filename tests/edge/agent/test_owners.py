"""One stream id from two sources: one of them is taken, the other is told of, others are unharmed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from edge.agent import Agent
from edge.metrics import Metrics
from edge.owners import Owners
from edge.settings import load_settings
from edge.types import Result
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording, write_recording
from tests.edge.agent.helpers import FakeTime, signal
from tests.edge.tiny import HOP, RATE_HZ, WINDOW, tiny_bundle


class Named:
    def __init__(self, name: str) -> None:
        self.name = name


def test_who_came_first_keeps_it_until_it_is_silent_ends_or_is_gone(caplog: pytest.LogCaptureFixture):
    time, metrics = FakeTime(), Metrics()
    made = Owners(30.0, metrics, time.clock.monotonic)
    serial: Any = Named("serial")
    mqtt: Any = Named("mqtt")
    both = [serial, mqtt]
    with caplog.at_level(logging.WARNING):
        assert made.takes("bed-1", serial, both)
        for _ in range(3):
            time.pass_s(20)
            assert not made.takes("bed-1", mqtt, both)
            assert made.takes("bed-1", serial, both)
            assert made.takes("bed-2", mqtt, both)
    assert [record.getMessage() for record in caplog.records] == [
        "stream bed-1 comes from serial and from mqtt: samples of the second are dropped; give it another name"
    ]
    assert metrics.by("dropped") == {"stream_of_another_source": 3}
    time.pass_s(31)
    assert made.takes("bed-1", mqtt, both), "the first is silent"
    assert not made.takes("bed-1", serial, both)
    assert made.takes("bed-1", mqtt, both, end=True)
    assert made.takes("bed-1", serial, both), "the stream has ended"
    assert made.takes("bed-1", mqtt, [mqtt]), "the first source is gone"


def test_an_agent_with_two_sources_of_one_id(tmp_path: Path):
    tiny_bundle(tmp_path / "tiny.bundle")
    sources = []
    for at, (record, stream) in enumerate([("a", "x"), ("b", "x"), ("c", "y")]):
        values = signal(200, seed=at)[:, None]
        path = tmp_path / f"{record}.npz"
        write_recording(Recording(record, RATE_HZ, (Channel("ecg", "uV"),), analog=values), path)
        sources.append(f"replay:{path},stream={stream},speed=2")
    settings = load_settings(
        flags={"source": sources, "sink": [f"file:{tmp_path / 'r.jsonl'}"]},
        overrides=[f"bundle.path={tmp_path / 'tiny.bundle'}", f"node.state_dir={tmp_path}"],
    )
    results: list[Result] = []
    agent = Agent(settings, on_result=results.append)
    agent.run(lambda: False)
    windows = (200 - WINDOW) // HOP + 1
    streams = [r.stream for r in results]
    # One of the two is answered whole; the other may go on where the first has ended.
    assert windows <= streams.count("x") < 2 * windows
    assert streams.count("y") == windows
    assert agent.metrics.by("dropped")["stream_of_another_source"] > 0
