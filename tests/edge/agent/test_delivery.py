"""Spool, runner and sinks: bounded, in order, tried again, nothing twice without need."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest

from edge.delivery.runner import SinkRunner
from edge.delivery.sinks.base import SinkError, SinkGone, SinkWaiting
from edge.delivery.sinks.lines import FileSink, StdoutSink
from edge.delivery.sinks.mqtt import MqttSink
from edge.delivery.spool import MemorySpool
from edge.metrics import Metrics
from edge.mqtt_link import BrokerError
from edge.topics import Topics
from edge.types import Result
from tests.edge.agent.helpers import FakeTime, result


class ListSink:
    """Takes results; `plan` says, call by call, what goes wrong."""

    kind = name = "list"

    def __init__(self, plan: Sequence[SinkError | None] = ()) -> None:
        self.plan, self.got, self.opened, self.closed = list(plan), list[Result](), 0, 0

    def open(self) -> None:
        self.opened += 1

    def write(self, results: Sequence[Result]) -> None:
        wrong = self.plan.pop(0) if self.plan else None
        if wrong is None:
            self.got += results
            return
        self.got += [r for at, r in enumerate(results) if at in wrong.done]
        raise wrong

    def close(self) -> None:
        self.closed += 1


def runner(
    plan: Sequence[SinkError | None] = (), cap: int = 100, time: FakeTime | None = None, **more
) -> tuple[SinkRunner, ListSink, Metrics]:
    time = time or FakeTime()
    sink, metrics = ListSink(plan), Metrics()
    overflow = more.pop("overflow", "drop_oldest")
    spool = MemorySpool(cap, overflow, lambda: time.now)
    return SinkRunner(sink, spool, metrics, clock=lambda: time.now, **more), sink, metrics


def ids(results: Sequence[Result]) -> str:
    return "".join(r.id for r in results)


def test_spool_keeps_order_and_removes_only_what_is_named():
    spool = MemorySpool(10)
    for name in "abcd":
        assert spool.put(result(name)) == 0
    entries = spool.peek(3, 0.0)
    assert ids([e.result for e in entries]) == "abc"
    spool.remove([entries[0].key, entries[2].key, 999])
    assert ids([e.result for e in spool.peek(9, 0.0)]) == "bd"
    assert len(spool) == 2


@pytest.mark.parametrize(("overflow", "left"), [("drop_oldest", "cde"), ("refuse_newest", "abc")])
def test_spool_overflow_has_an_order(overflow: str, left: str):
    spool = MemorySpool(3, overflow)  # type: ignore[arg-type]
    assert sum(spool.put(result(name)) for name in "abcde") == 2
    assert ids([e.result for e in spool.peek(9, 0.0)]) == left


def test_spool_wakes_a_waiting_reader():
    spool = MemorySpool(3)
    threading.Timer(0.05, spool.wake).start()
    assert spool.peek(1, 10.0) == []
    threading.Timer(0.05, lambda: spool.put(result("a"))).start()
    assert ids([e.result for e in spool.peek(1, 10.0)]) == "a"


def test_runner_delivers_in_order_and_in_batches():
    run, sink, metrics = runner(batch=2)
    for name in "abcde":
        run.offer(result(name))
    while len(run.spool):
        assert run.step()
    assert ids(sink.got) == "abcde"
    assert sink.opened == 1
    assert metrics.count("delivered_list") == 5


def test_runner_tries_again_what_was_not_written_and_only_that():
    run, sink, _ = runner([SinkError("down"), SinkError("half", done=[0, 2]), None])
    for name in "abcd":
        run.offer(result(name))
    assert [run.step(), run.step(), run.step()] == [False, False, True]
    assert ids(sink.got) == "acbd"
    assert sink.opened == 3  # closed and opened again after each failure


def test_runner_gives_up_what_a_sink_refuses_for_good():
    run, sink, metrics = runner([SinkError("no", done=[0], refused=[1])])
    run.offer(result("a"))
    run.offer(result("b"))
    assert run.step()
    assert ids(sink.got) == "a"
    assert metrics.by("dropped") == {"refused_by_sink": 1}
    assert len(run.spool) == 0


def test_runner_says_trouble_once_and_its_end(caplog: pytest.LogCaptureFixture):
    run, _, _ = runner([SinkError("disk full")] * 4)
    run.offer(result("a"))
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            run.step()
        assert run.last_error == "disk full"
        run.step()
    assert [("disk full" in r.message, "works again" in r.message) for r in caplog.records] == [
        (True, False),
        (False, True),
    ]
    assert run.last_error == ""


def test_runner_marks_what_waited_as_historical():
    time = FakeTime()
    run, sink, _ = runner([SinkError("down")], time=time, historical_after_s=10.0)
    run.offer(result("a"))
    run.step()
    time.pass_s(11.0)
    run.offer(result("b"))
    run.step()
    assert [(r.id, r.historical) for r in sink.got] == [("b", False), ("a", True)]


def test_runner_counts_what_the_spool_gives_up():
    run, _, metrics = runner(cap=2)
    for name in "abcd":
        run.offer(result(name))
    assert metrics.by("dropped") == {"spool_full": 2}


def test_runner_stops_when_nobody_reads():
    run, _, metrics = runner([SinkGone("closed pipe")])
    run.offer(result("a"))
    run.run(threading.Event())
    assert run.gone
    run.offer(result("b"))
    assert metrics.by("dropped") == {"sink_gone": 2}


def test_runner_survives_a_bug_in_a_sink():
    run, sink, _ = runner()
    run.offer(result("a"))
    sink.write, good = lambda results: 1 / 0, sink.write  # type: ignore[method-assign,return-value]
    assert not run.step()
    sink.write = good  # type: ignore[method-assign]
    assert run.step()
    assert ids(sink.got) == "a"


def test_runner_flushes_within_its_grace():
    run, sink, _ = runner([SinkError("once")], batch=1, retry_min_s=0.01)
    for name in "abc":
        run.offer(result(name))
    stop = threading.Event()
    stop.set()
    run.run(stop, lambda: 1.0)
    assert ids(sink.got) == "abc"


def test_runner_tells_what_it_could_not_deliver(caplog: pytest.LogCaptureFixture):
    run, _, metrics = runner([SinkError("down")] * 100)
    run.offer(result("a"))
    stop = threading.Event()
    stop.set()
    left = iter([0.3, 0.2, 0.1])
    with caplog.at_level(logging.WARNING):
        run.run(stop, lambda: next(left, 0.0))
    assert metrics.by("dropped") == {"undelivered": 1}
    assert "1 results not delivered" in caplog.text


def test_file_sink_appends_json_lines(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    path.write_text('{"old":1}\n')
    sink = FileSink(path)
    sink.open()
    sink.write([result("a"), result("b")])
    sink.close()
    sink.open()
    sink.write([result("c")])
    sink.close()
    sink.close()
    lines = path.read_text().splitlines()
    assert lines[0] == '{"old":1}'
    assert [Result.from_json(line).id for line in lines[1:]] == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ["folder missing", "is a folder"])
def test_file_sink_that_cannot_open_says_why(tmp_path: Path, kind: str):
    sink = FileSink(tmp_path / "none" / "x.jsonl" if kind == "folder missing" else tmp_path)
    with pytest.raises(SinkError, match=r"folder"):
        sink.open()


def test_file_sink_cuts_a_half_written_batch_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "out.jsonl"
    sink = FileSink(path)
    sink.open()
    sink.write([result("a")])
    real = os.write
    left = [10]

    def full(fd: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        size, left[0] = left[0], 0
        return real(fd, data[:size])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SinkError, match="disk is full"):
        sink.write([result("b")])
    monkeypatch.undo()
    sink.close()
    sink.open()
    sink.write([result("b")])
    assert [Result.from_json(line).id for line in path.read_text().splitlines()] == ["a", "b"]


def test_stdout_sink():
    out = io.StringIO()
    sink = StdoutSink(out)
    sink.open()
    sink.write([result("a")])
    sink.close()
    assert json.loads(out.getvalue())["id"] == "a"


def test_stdout_sink_whose_reader_has_gone():
    class Broken(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    with pytest.raises(SinkGone):
        StdoutSink(Broken()).write([result("a")])


class Link:
    """A connection that confirms what `answer` says: None never, else a reason code."""

    place = "broker:1883"

    def __init__(self, answer: Callable[[str], int | None] = lambda topic: 0) -> None:
        self.answer, self.sent = answer, list[tuple[str, bool, str]]()
        self.connected, self.last_error, self.refuses = True, "", False
        self.renewed = 0
        self.sink: MqttSink | None = None

    def wait_connected(self, timeout_s: float) -> bool:
        return self.connected

    def publish(self, topic: str, payload: str, *, qos: int = 0, retain: bool = False) -> int:
        assert qos == 1
        if self.refuses:
            raise BrokerError("queue is full")
        self.sent.append((topic, retain, json.loads(payload)["id"]))
        mid, code = len(self.sent), self.answer(topic)
        if code is not None:
            assert self.sink is not None
            self.sink.on_published(mid, code)  # before publish() returns, as may happen
        return mid

    def renew(self) -> None:
        self.renewed += 1

    def leaves(self) -> list[str]:
        return [f"{topic.rpartition('/')[2]} {id_}" for topic, _, id_ in self.sent]


def mqtt(link: Link, **more) -> MqttSink:
    link.sink = MqttSink(link, Topics("wavewall", "gw1"), ack_timeout_s=0.05, **more)  # type: ignore[arg-type]
    return link.sink


def positions(found: Collection[int]) -> list[int]:
    return sorted(found)


def test_mqtt_sink_publishes_results_and_the_last_of_each_stream():
    link = Link()
    mqtt(link).write([result("a"), result("b"), result("c", "s2")])
    assert link.leaves() == ["result a", "result b", "last b", "result c", "last c"]
    assert [retain for _, retain, _ in link.sent] == [False, False, True, False, True]
    assert link.sent[0][0] == "wavewall/gw1/stream/s1/result"


def test_mqtt_sink_historical_results_never_touch_last():
    link = Link()
    mqtt(link).write([result("a", historical=True)])
    assert link.leaves() == ["result a"]
    link = Link()
    mqtt(link, last=False).write([result("a")])
    assert link.leaves() == ["result a"]


def test_mqtt_sink_without_confirmation_connects_anew():
    link = Link(lambda topic: None)
    sink = mqtt(link, last=False)
    with pytest.raises(SinkError, match="no acknowledgement"):
        sink.write([result("a")])
    assert link.renewed == 1
    link.answer = lambda topic: 0
    sink.write([result("a")])
    assert link.leaves() == ["result a", "result a"]


def test_mqtt_sink_after_a_broken_connection_waits_for_the_same_message():
    link = Link(lambda topic: None)
    sink = mqtt(link, last=False)
    link.connected = False
    with pytest.raises(SinkWaiting):
        sink.write([result("a")])
    link.connected = True
    threading.Timer(0.02, lambda: sink.on_published(1, 0)).start()
    sink.write([result("a")])
    assert link.leaves() == ["result a"]  # paho sends it again itself
    assert link.renewed == 0


def test_mqtt_sink_partly_confirmed():
    link = Link(lambda topic: None if "s2" in topic else 0)
    with pytest.raises(SinkError) as caught:
        mqtt(link, last=False).write([result("a"), result("b", "s2"), result("c")])
    assert positions(caught.value.done) == [0, 2]


@pytest.mark.parametrize(("code", "says"), [(0x87, "not authorized"), (0x97, "quota"), (0xA0, "0xa0")])
def test_mqtt_sink_looks_at_the_reason_code(code: int, says: str):
    link = Link(lambda topic: code)
    sink = mqtt(link, last=False)
    with pytest.raises(SinkError, match=says) as caught:
        sink.write([result("a")])
    assert (positions(caught.value.done), positions(caught.value.refused)) == ([], [])
    link.answer = lambda topic: 0
    sink.write([result("a")])
    assert link.leaves() == ["result a", "result a"]  # a refusal ends a message: this one is new


@pytest.mark.parametrize("code", [0x90, 0x95, 0x99])
def test_mqtt_sink_refusals_for_good(code: int):
    with pytest.raises(SinkError) as caught:
        mqtt(Link(lambda topic: code), last=False).write([result("a")])
    assert positions(caught.value.refused) == [0]


def test_mqtt_sink_no_matching_subscriber_is_no_failure():
    link = Link(lambda topic: 0x10)
    mqtt(link).write([result("a")])
    assert len(link.sent) == 2


def test_mqtt_sink_without_a_connection():
    link = Link()
    link.connected, link.last_error = False, "nobody listens there"
    with pytest.raises(SinkWaiting, match="nobody listens"):
        mqtt(link).open()


def test_mqtt_sink_whose_connection_breaks():
    link = Link(lambda topic: None)
    sink = mqtt(link)
    link.connected, link.last_error = False, "connection lost"
    with pytest.raises(SinkWaiting, match="connection lost"):
        sink.write([result("a")])


def test_mqtt_sink_whose_queue_is_full():
    link = Link()
    link.refuses = True
    with pytest.raises(SinkError, match="queue is full"):
        mqtt(link).write([result("a")])


def test_mqtt_sink_forgets_what_the_spool_gave_up():
    link = Link(lambda topic: None)
    sink = mqtt(link, last=False)
    link.connected = False
    with pytest.raises(SinkWaiting):
        sink.write([result("a")])
    link.connected, link.answer = True, lambda topic: 0
    sink.write([result("b")])
    assert sink._flights == {}
    assert sink._by_mid == {}


def test_file_sink_starts_a_new_file_at_its_size_and_forgets_the_old_one_at_its_age(tmp_path: Path):
    path = tmp_path / "out.jsonl"
    sink = FileSink(path, sync=True, max_bytes=2000, keep_s=3600.0)
    sink.open()
    for k in range(20):
        sink.write([result(str(k))])
    old = tmp_path / "out.jsonl.1"
    assert old.stat().st_size >= 2000
    assert path.stat().st_size < 2000
    os.utime(old, (1.0, 1.0))
    sink.write([result("x")])
    assert not old.exists()
    sink.close()
