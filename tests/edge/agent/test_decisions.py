"""Deciders of many streams: caps, what is forgotten, what the agent does when deciding fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.agent import Agent
from edge.config import EventSettings
from edge.decisions import Decisions, hour_json
from edge.events import Event
from edge.metrics import Metrics
from edge.pipeline.attack_rate import HourOfWindows
from edge.settings import ConfigError, load_settings
from edge.types import Result, ResultWindow
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording, write_recording
from tests.edge.agent.helpers import FakeTime, result, signal
from tests.edge.tiny import HOP, RATE_HZ, WINDOW, tiny_bundle

LABELS = ("normal", "other")


def window(at: int, stream: str, p: float = 0.9, status: str = "ok") -> Result:
    made = result(f"{stream}-{at}", stream, status=status, reason="residual" if status == "suspect" else "")
    place = ResultWindow(1.8e9 + 10 * at, 9000, 300.0, 0, 0)
    return replace(made, window=place, probabilities={"normal": 1 - p, "other": p})


def decisions(time: FakeTime, cap: int = 2, **more: object) -> tuple[Decisions, Metrics, list[HourOfWindows]]:
    metrics, hours = Metrics(), []
    settings = EventSettings(labels=("other",), k=1, n=1, **more)
    made = Decisions(
        settings, LABELS, max_streams=cap, idle_s=60, metrics=metrics, clock=time.clock, on_hour=hours.append
    )
    return made, metrics, hours


def told(events: list[Event]) -> list[tuple[str, str, str]]:
    return [(event.stream, event.type, event.reason) for event in events]


def test_streams_keep_to_themselves_and_to_the_cap():
    time = FakeTime()
    made, metrics, _ = decisions(time)
    assert told(made.push(window(0, "a"))) == [("a", "new", "")]
    assert told(made.push(window(0, "b"))) == [("b", "new", "")]
    assert made.push(window(0, "c")) == []
    assert metrics.by("dropped") == {"events_of_too_many_streams": 1}
    time.pass_s(61)
    made.push(window(1, "b"))
    assert told(made.push(window(1, "c"))) == [("a", "end", "forgotten"), ("c", "new", "")]
    assert told(made.end("b")) == [("b", "end", "stream_end")]
    assert made.end("never heard of") == []
    assert told(made.stop()) == [("c", "end", "stopped")]
    assert metrics.by("events") == {"label_new": 3, "label_end": 3}
    assert made.stop() == []


def test_what_is_dropped_is_told_as_forgotten():
    made, _, _ = decisions(FakeTime())
    made.push(window(0, "a"))
    made.drop("a")
    assert told(made.push(window(0, "b"))) == [("a", "end", "forgotten"), ("b", "new", "")]


def test_hours_are_handed_on_as_json():
    made, _, hours = decisions(FakeTime())
    for at in range(400):
        made.push(window(at, "a", 0.0, "suspect" if at % 4 == 0 else "ok"))
    (hour,) = hours
    assert (hour.stream, hour.windows, hour.suspect, hour.alarm) == ("a", 360, 90, True)
    assert '"share":0.25' in hour_json(hour)


def test_nothing_wanted_costs_nothing_and_unknown_labels_are_refused():
    nothing = EventSettings(tamper=False)
    assert not Decisions(nothing, LABELS, max_streams=1, idle_s=1, metrics=Metrics()).wanted
    with pytest.raises(ConfigError, match="did you mean 'other'"):
        Decisions(EventSettings(labels=("othr",)), LABELS, max_streams=1, idle_s=1, metrics=Metrics())


def test_results_go_on_when_deciding_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny_bundle(tmp_path / "tiny.bundle")
    path = tmp_path / "a.npz"
    write_recording(Recording("a", RATE_HZ, (Channel("ecg", "uV"),), analog=signal(400)[:, None]), path)
    settings = load_settings(
        flags={"source": f"replay:{path}", "sink": f"file:{tmp_path / 'r.jsonl'}"},
        overrides=[f"bundle.path={tmp_path / 'tiny.bundle'}", f"node.state_dir={tmp_path}"],
    )
    results: list[Result] = []
    agent = Agent(settings, on_result=results.append)

    def fail(self: Decisions, result: Result) -> list[Event]:
        raise np.linalg.LinAlgError("planted")

    monkeypatch.setattr(Decisions, "push", fail)
    agent.run(lambda: False)
    windows = (400 - WINDOW) // HOP + 1
    assert len(results) == windows
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == windows
    assert agent.metrics.by("dropped") == {"failed_decision": 1}
