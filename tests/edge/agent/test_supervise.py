"""Parts that die, hang or cannot take a window: started again, named, set aside; the others go on."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.agent import Agent
from edge.delivery.runner import SinkRunner
from edge.metrics import Metrics
from edge.pipeline.classify import Classifier
from edge.quarantine import Quarantine
from edge.settings import load_settings
from edge.sources.base import Emit
from edge.supervise import Pulse, Supervisor
from edge.types import Result, SampleBlock, Window
from tests.edge.agent.helpers import FakeTime, Systemd, block, signal
from tests.edge.tiny import WINDOW, tiny_bundle

POISON = 40_000.0  # a value that no test signal has


class Fed:
    """A source that gives blocks and then ends, or stays."""

    aligned, is_ready = False, True

    def __init__(self, blocks: list[SampleBlock], *, name: str = "fed", stay: bool = False) -> None:
        self.blocks, self.name, self.stay = blocks, name, stay

    def run(self, emit: Emit, stop: threading.Event) -> None:
        for each in self.blocks:
            emit(each)
        while self.stay and not stop.is_set():
            stop.wait(0.05)

    def status(self) -> dict[str, object]:
        return {"kind": self.name, "error": ""}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Agent]:
    monkeypatch.setattr("edge.supervise.RESTART_MIN_S", 0.02)
    bundle = tiny_bundle(tmp_path / "tiny.bundle")

    def make(*sources: Any, **flags: Any) -> Agent:
        given = {
            "bundle.path": str(bundle),
            "sink": [f"file:{tmp_path / 'out.jsonl'}"],
            "node.id": "gw1",
            "node.state_dir": str(tmp_path / "state"),
            **flags,
        }
        made = Agent(load_settings(None, {}, given))
        made.intake.sources = list(sources)
        return made

    return make


def results(tmp_path: Path) -> list[Result]:
    return [Result.from_json(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


def until(ready: Callable[[], object], timeout_s: float = 20.0) -> Callable[[], bool]:
    end = time.monotonic() + timeout_s

    def stop() -> bool:
        assert time.monotonic() < end, "waited in vain"
        return bool(ready())

    return stop


def one(stream: str, *, poison: bool = False) -> SampleBlock:
    values = signal(WINDOW)
    if poison:
        values[5] = POISON
    return block(values, stream=stream)


def breaks_on_poison(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The real classifier, but a window that holds POISON fails. Streams that came to it, in order."""
    seen: list[str] = []
    classify = Classifier.classify

    def breaks(self: Classifier, window: Window, **more: Any) -> Any:
        seen.append(window.stream)
        if window.values.max() >= POISON:
            raise ValueError("the model cannot take this")
        return classify(self, window, **more)

    monkeypatch.setattr(Classifier, "classify", breaks)
    return seen


def test_a_poison_window_is_quarantined_with_its_reason_and_answered(
    make: Callable[..., Agent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    breaks_on_poison(monkeypatch)
    made = make(Fed([one("a"), one("bad", poison=True), one("b")]))
    made.run(until(lambda: False))
    got = {r.stream: r for r in results(tmp_path)}
    assert [r.status for r in (got["a"], got["b"])] == ["ok", "ok"]
    assert (got["bad"].status, got["bad"].reason) == ("abstain", "failed")
    (kept,) = (tmp_path / "state" / "quarantine-gw1").glob("*.npz")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    with np.load(kept, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        assert file["values"].shape == (WINDOW, 1)
    assert about["stream"] == "bad"
    assert about["reason"] == "ValueError: the model cannot take this"
    assert "breaks" in about["traceback"]
    assert made.metrics.count("poison_windows") == 1
    assert "cannot take this" not in json.dumps(made.health())


def test_an_interpreter_that_dies_is_made_anew_and_nothing_is_lost(
    make: Callable[..., Agent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = make(Fed([one(name) for name in ("a", "b", "c")]))
    broken = made.engine.classifier
    classify = Classifier.classify

    def breaks(self: Classifier, window: Window, **more: Any) -> Any:
        if self is broken and window.stream != "a":
            raise RuntimeError("interpreter is gone")
        return classify(self, window, **more)

    monkeypatch.setattr(Classifier, "classify", breaks)
    made.run(until(lambda: False))
    assert {r.stream: r.status for r in results(tmp_path)} == {"a": "ok", "b": "ok", "c": "ok"}
    assert made.metrics.by("restarts") == {"interpreter": 1}
    assert not (tmp_path / "state").exists()


def test_many_poison_windows_do_not_cost_an_interpreter_each(
    make: Callable[..., Agent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    breaks_on_poison(monkeypatch)
    made = make(Fed([one(f"s{at}", poison=True) for at in range(20)]))
    made.run(until(lambda: False))
    assert len(results(tmp_path)) == 20
    assert made.metrics.by("restarts").get("interpreter", 0) == 1


def test_quarantine_is_bounded_and_a_full_disk_costs_only_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    window = Window("s", "e", 0, 0.0, 100.0, np.zeros((64, 1), np.float32), np.ones(64, bool))
    quarantine = Quarantine(tmp_path / "q", max_files=3)
    for at in range(6):
        kept = quarantine.put(
            Window("s", "e", at, 0.0, 100.0, window.values, window.valid), ValueError("x"), "tiny@1", 0.0
        )
        assert kept is not None
        os.utime(kept, (at, at))
    assert len(list((tmp_path / "q").iterdir())) == 3
    assert Quarantine(tmp_path / "q" / kept.name / "sub").put(window, ValueError("x"), "tiny@1", 0.0) is None
    assert "could not be kept" in caplog.text


def test_a_sink_thread_that_dies_is_started_again_and_loses_nothing(
    make: Callable[..., Agent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, failures = SinkRunner.run, iter([True, True, False])

    def dies(self: SinkRunner, *more: Any, **named: Any) -> None:
        if next(failures, False):
            raise MemoryError("out of luck")
        run(self, *more, **named)

    monkeypatch.setattr(SinkRunner, "run", dies)
    made = make(Fed([one("a"), one("b")]))
    made.run(until(lambda: False))
    assert {r.stream for r in results(tmp_path)} == {"a", "b"}
    assert made.metrics.by("restarts") == {"sink-file": 2}


def test_a_pipeline_that_dies_is_started_again(
    make: Callable[..., Agent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = make(Fed([one("a")], stay=True))
    get_many, failures = made.queue.get_many, iter([True])

    def dies(most: int) -> Any:
        if next(failures, False):
            raise RuntimeError("no luck")
        return get_many(most)

    monkeypatch.setattr(made.queue, "get_many", dies)
    made.run(until(lambda: (tmp_path / "out.jsonl").exists() and results(tmp_path)))
    assert made.metrics.by("restarts") == {"pipeline": 1}


def test_a_part_that_failed_is_named_in_health_while_it_is_down(
    make: Callable[..., Agent], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("edge.supervise.RESTART_MIN_S", 0.5)

    class Dies(Fed):
        def run(self, emit: Emit, stop: threading.Event) -> None:
            if not self.blocks:
                self.blocks = [one("a")]
                raise OSError("unplugged, in a way that nobody thought of")
            super().run(emit, stop)

    made, said = make(Dies([], stay=True), Fed([one("b")], name="other", stay=True)), []

    def look() -> bool:
        said.extend(made.health()["reasons"])  # type: ignore[arg-type]
        return made.metrics.count("windows") == 2

    with caplog.at_level(logging.CRITICAL):
        made.run(until(look))
    assert "source-fed: failed (OSError); started again after a pause" in said
    assert made.health()["reasons"] == []


def test_two_parts_of_one_name_are_told_apart():
    supervisor = Supervisor(Metrics())
    assert [supervisor.name("source-serial") for _ in range(2)] == ["source-serial", "source-serial-2"]
    supervisor.keep("source-serial", lambda: None, threading.Event())
    assert supervisor.name("source-serial") == "source-serial"


def test_a_part_that_hangs_is_named_and_one_that_waits_is_not():
    time_, stop = FakeTime(), threading.Event()
    supervisor = Supervisor(Metrics(), lambda: time_.now)
    busy = True
    hung = supervisor.pulse("source-serial", stop)
    excused = supervisor.pulse("source-mqtt", stop, lambda: busy)
    time_.pass_s(61)
    assert supervisor.stuck(60) == {"source-serial": "has not moved for 60 s"}
    assert not hung.is_set()
    assert supervisor.stuck(60) == {}
    busy = False
    time_.pass_s(59)
    assert supervisor.stuck(60) == {}
    time_.pass_s(2)
    assert set(supervisor.stuck(60)) == {"source-serial", "source-mqtt"}
    stop.set()
    assert excused.is_set()


def test_waiting_on_a_pulse_is_a_sign_of_life():
    time_ = FakeTime()
    pulse = Pulse(threading.Event(), lambda: time_.now)
    seen: list[float] = []
    pulse._stop.wait = lambda timeout=None: seen.append(pulse.alive_s) or False  # type: ignore[method-assign,func-returns-value]
    pulse.wait(500.0)
    assert seen == [time_.now + 500.0]
    assert pulse.alive_s == time_.now


def test_samples_that_wait_behind_a_stuck_model_stop_the_feeding(
    make: Callable[..., Agent], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """The whole agent: idle and working it is fed; with a model that hangs it says why and is fed no more."""
    address = str(tmp_path / "notify")
    systemd, release = Systemd(address), threading.Event()
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    classify = Classifier.classify

    def hangs(self: Classifier, window: Window, **more: Any) -> Any:
        if window.stream == "hang":
            release.wait(30)
        return classify(self, window, **more)

    monkeypatch.setattr(Classifier, "classify", hangs)
    go = threading.Event()

    class Later(Fed):
        def run(self, emit: Emit, stop: threading.Event) -> None:
            go.wait(20)
            super().run(emit, stop)

    told: list[str] = []
    hanging = Later([one("hang")], name="later", stay=True)
    made = make(Fed([one("a")], stay=True), hanging, **{"health.stuck_s": "1"})
    began = time.monotonic()

    def idle() -> bool:
        told.extend(systemd.told())
        return time.monotonic() - began > 0.9

    def stuck() -> bool:
        told.extend(systemd.told())
        return any("pipeline" in str(reason) for reason in made.health()["reasons"])  # type: ignore[attr-defined]

    def quiet() -> bool:
        del told[:]
        told.extend(systemd.told())
        return time.monotonic() - since > 1.0

    thread = threading.Thread(target=lambda: made.run(release.is_set))
    thread.start()
    try:
        wait(idle)
        assert told.count("READY=1") == 1
        assert told.count("WATCHDOG=1") >= 3
        go.set()
        wait(stuck)
        time.sleep(0.3)
        systemd.told()
        since = time.monotonic()
        wait(quiet)
        assert "WATCHDOG=1" not in told
    finally:
        release.set()
        thread.join(10)
    assert "STOPPING=1" in systemd.told()
    systemd.close()


def wait(ready: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_dashboard_that_dies_is_served_again(make: Callable[..., Agent], monkeypatch: pytest.MonkeyPatch):
    from edge.dashboard.server import Dashboard

    run, failures = Dashboard.run, iter([True])

    def dies(self: Dashboard, stop: threading.Event) -> None:
        if next(failures, False):
            raise RuntimeError("no luck")
        run(self, stop)

    monkeypatch.setattr(Dashboard, "run", dies)
    made = make(Fed([one("a")], stay=True), **{"dashboard.listen": "127.0.0.1:0"})
    assert made.dashboard is not None
    url = made.dashboard.url

    def served() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    made.run(until(served))
    assert made.metrics.by("restarts") == {"dashboard": 1}


def test_a_connection_whose_thread_dies_is_opened_again(
    make: Callable[..., Agent], mosquitto: int, monkeypatch: pytest.MonkeyPatch
):
    from edge.mqtt_link import MqttLink

    run, failures = MqttLink.run, iter([True])

    def dies(self: MqttLink, stop: threading.Event) -> None:
        if next(failures, False):
            raise RuntimeError("no luck")
        run(self, stop)

    monkeypatch.setattr(MqttLink, "run", dies)
    made = make(Fed([one("a")], stay=True), **{"sink": ["mqtt"], "mqtt.port": str(mosquitto)})
    made.run(until(lambda: made.metrics.count("delivered_mqtt") == 1))
    assert made.metrics.by("restarts") == {"link": 1}
