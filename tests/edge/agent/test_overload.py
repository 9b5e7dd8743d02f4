"""Too many windows: what is left out is what was said, it is told, high-priority streams hold, and it passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.agent import Agent
from edge.blockqueue import BlockQueue
from edge.config import OverloadSettings
from edge.overload import Overload, Priority
from edge.pipeline.classify import Classifier
from edge.settings import ConfigError, load_settings
from edge.sources.base import Emit
from edge.types import Result
from tests.edge.agent.helpers import FakeTime, block, signal
from tests.edge.tiny import HOP, WINDOW, tiny_bundle

HIGH, NORMAL, LOW = Priority.HIGH, Priority.NORMAL, Priority.LOW
MODEL_S = 0.004
COUNT = 24  # streams


def made(mode: str, **more: Any) -> tuple[Overload, FakeTime]:
    time_ = FakeTime()
    return Overload(OverloadSettings(mode=mode, **more), time_.clock.monotonic), time_


def late(overload: Overload, time_: FakeTime, seconds: int, lag_s: float = 5.0) -> None:
    for _ in range(seconds):
        time_.pass_s(1.0)
        overload.note(lag_s)


def test_stretch_grows_step_by_step_and_goes_back():
    overload, time_ = made("stretch", lag_s=2.0, recover_s=3.0)
    answered = []
    for _ in range(8):
        answered.append(sum(not overload.skips(NORMAL, number) for number in range(64)))
        late(overload, time_, 1)
    assert answered == [64, 32, 16, 8, 4, 2, 1, 1]
    assert not any(overload.skips(HIGH, number) for number in range(64))
    late(overload, time_, 2, lag_s=1.0)  # neither late nor calm: it stays
    assert overload.level == 6
    late(overload, time_, 30, lag_s=0.1)
    assert overload.level == 0
    assert overload.reason == ""


def test_shed_takes_the_low_ones_first_and_never_the_high_ones():
    overload, time_ = made("shed", lag_s=2.0)
    late(overload, time_, 1)
    assert [overload.skips(p, 1) for p in (LOW, NORMAL, HIGH)] == [True, False, False]
    late(overload, time_, 5)
    assert [overload.skips(p, 1) for p in (LOW, NORMAL, HIGH)] == [True, True, False]
    assert "shed, step 2 of 2" in overload.reason


def test_wait_leaves_nothing_out_and_says_that_it_is_late():
    overload, time_ = made("wait", lag_s=2.0)
    late(overload, time_, 10)
    assert not any(overload.skips(LOW, number) for number in range(64))
    assert "overload.mode says wait" in overload.reason


@given(st.lists(st.floats(0, 10), max_size=60), st.sampled_from(["wait", "stretch", "shed"]))
def test_the_step_stays_in_its_range_and_moves_by_one(lags: list[float], mode: str):
    overload, time_ = made(mode)
    before = 0
    for lag_s in lags:
        time_.pass_s(1.0)
        overload.note(lag_s)
        assert abs(overload.level - before) <= 1
        assert 0 <= overload.level <= {"wait": 0, "stretch": 6, "shed": 2}[mode]
        assert not overload.skips(HIGH, 1)
        before = overload.level


def test_priorities_by_name_and_by_its_beginning():
    overload, _ = made("shed", high=("icu-*", "bed7"), low=("test*",))
    wanted = {"icu-1": HIGH, "bed7": HIGH, "bed77": NORMAL, "test": LOW, "test-2": LOW, "x": NORMAL}
    assert {stream: overload.priority(stream) for stream in wanted} == wanted


@pytest.mark.parametrize("text", ["a/b", "#", "a*b"])
def test_a_pattern_that_no_stream_can_have_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"overload\.high"):
        load_settings(None, {}, {"overload.high": text})


def test_what_goes_first_comes_first_and_each_keeps_its_order():
    queue: BlockQueue[str] = BlockQueue(8)
    for item in ("a1", "a2", "H1", "a3", "H2"):
        queue.put(item, first=item.startswith("H"))
    assert len(queue) == queue.unfinished == 5
    assert queue.get_many(3) == ["H1", "H2", "a1"]
    assert queue.get_many(9) == ["a2", "a3"]


class Paced:
    """Every stream sends a hop every `period_s`, for `seconds`, then at a tenth of the pace."""

    name, aligned, is_ready = "paced", False, True

    def __init__(self, streams: list[str], period_s: float, seconds: float, after_s: float) -> None:
        self._streams, self._period_s, self._seconds, self._after_s = streams, period_s, seconds, after_s
        self.sent: dict[tuple[str, int], float] = {}

    def run(self, emit: Emit, stop: threading.Event) -> None:
        values = signal(WINDOW + HOP * 4000)
        began, at, due = time.monotonic(), 0, time.monotonic()
        while not stop.is_set() and time.monotonic() - began < self._seconds + self._after_s:
            start, end = (0, WINDOW) if at == 0 else (WINDOW + (at - 1) * HOP, WINDOW + at * HOP)
            for stream in self._streams:
                self.sent[stream, at] = time.monotonic()
                emit(block(values[start:end], stream=stream, first=start))
            at += 1
            due += self._period_s * (1 if time.monotonic() - began < self._seconds else 10)
            stop.wait(max(0.0, due - time.monotonic()))

    def status(self) -> dict[str, object]:
        return {"kind": self.name, "error": ""}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["stretch", "shed"])
def test_an_overloaded_agent_holds_its_high_priority_streams_and_recovers(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Windows that take 4 ms come at 2.4 times what one thread can do, then at a quarter of it."""
    classify = Classifier.classify

    def slow(self: Classifier, *args: Any, **more: Any) -> Any:
        time.sleep(MODEL_S)
        return classify(self, *args, **more)

    flags = {
        "bundle.path": str(tiny_bundle(tmp_path / "tiny.bundle")),
        "sink": [f"file:{tmp_path / 'out.jsonl'}"],
        "node.id": "gw1",
        "node.state_dir": str(tmp_path / "state"),
        "overload.mode": mode,
        "overload.lag_s": "0.4",
        "overload.recover_s": "0.2",
        "overload.high": "icu*",
        "overload.low": "spare*",
    }
    names = ["icu1", "icu2", *(f"spare{k}" for k in range(COUNT - 2))]
    came: dict[tuple[str, int], tuple[float, Result]] = {}
    agent = Agent(
        load_settings(None, {}, flags),
        on_result=lambda result: came.setdefault((result.stream, result.seq), (time.monotonic(), result)),
    )
    # The classifier was made before: only the call is slowed.
    monkeypatch.setattr(Classifier, "classify", slow)
    source = Paced(names, COUNT * MODEL_S / 2.4, 4.0, 6.0)
    agent.intake.sources = [source]
    steps: list[int] = []
    agent.run(lambda: False, lambda: steps.append(agent.overload.level))
    assert set(came) == set(source.sent), "a window was neither answered nor told to be left out"
    left_out = [key for key, (_, result) in came.items() if result.reason == "overload"]
    assert left_out
    assert agent.metrics.count("skipped") == len(left_out)
    assert all(came[key][1].status == "abstain" for key in left_out)
    assert not any(stream.startswith("icu") for stream, _ in left_out)
    waits = {key: came[key][0] - source.sent[key] for key in came}
    high = sorted(wait for (stream, _), wait in waits.items() if stream.startswith("icu"))
    rest = max(wait for (stream, _), wait in waits.items() if not stream.startswith("icu"))
    assert high[int(0.95 * len(high))] < 0.4, f"high-priority windows waited {high[-1]:.2f} s"
    assert rest > high[len(high) // 2]
    assert max(steps) >= 1
    assert steps[-1] == 0, "it did not recover"
    last = max(at for _, at in source.sent)
    assert came["spare1", last][1].reason != "overload"


def test_a_replay_is_never_overloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import numpy as np

    classify: Callable[..., Any] = Classifier.classify

    def slow(self: Classifier, *args: Any, **more: Any) -> Any:
        time.sleep(0.01)
        return classify(self, *args, **more)

    monkeypatch.setattr(Classifier, "classify", slow)
    np.savez(tmp_path / "r.npz", values=signal(2000)[:, None], rate_hz=100.0, channels=["ecg"], units=["uV"])
    flags = {
        "bundle.path": str(tiny_bundle(tmp_path / "tiny.bundle")),
        "sink": [f"file:{tmp_path / 'out.jsonl'}"],
        "source": [f"replay:{tmp_path / 'r.npz'}"],
        "overload.mode": "stretch",
        "overload.lag_s": "0.05",
    }
    agent = Agent(load_settings(None, {}, flags))
    agent.run(lambda: False)
    assert agent.metrics.count("skipped") == 0
    assert agent.metrics.count("windows") == (2000 - WINDOW) // HOP + 1
