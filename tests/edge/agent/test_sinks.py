"""Where results go: lines in a file or on standard output, and the broker."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from edge.delivery.sinks.base import SinkError, SinkGone, SinkWaiting
from edge.delivery.sinks.lines import FileSink, StdoutSink
from edge.delivery.sinks.mqtt import MqttSink
from edge.mqtt_link import BrokerError
from edge.topics import Topics
from edge.types import Result
from tests.edge.agent.helpers import result


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
