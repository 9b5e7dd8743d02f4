"""The small parts: queue, table, presence, back-off, metrics, warnings, announcements, health."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.announce import Announcer
from edge.backoff import Backoff
from edge.blockqueue import BlockQueue
from edge.health import health, rss_bytes
from edge.metrics import Metrics
from edge.mqtt_link import BrokerError
from edge.presence import Presence
from edge.sources.base import Closed
from edge.streamtable import StreamTable
from edge.topics import Topics
from edge.warnings_once import MAX_KEYS, WarnOnce
from tests.edge.agent.helpers import FakeTime


def test_queue_waits_when_full_and_loses_nothing():
    queue: BlockQueue[int] = BlockQueue(3)
    got: list[int] = []
    sender = threading.Thread(target=lambda: [queue.put(i) for i in range(200)])
    sender.start()
    while len(got) < 200:
        batch = queue.get_many(5)
        assert len(queue) <= 3
        got += batch
        queue.done(len(batch))
    sender.join()
    assert got == list(range(200))
    assert queue.unfinished == 0


def test_queue_closed_refuses_and_gives_out_what_it_has():
    queue: BlockQueue[int] = BlockQueue(1)
    queue.put(1)
    failed: list[BaseException] = []

    def put() -> None:
        try:
            queue.put(2)
        except Closed as error:
            failed.append(error)

    waiting = threading.Thread(target=put)
    waiting.start()
    time.sleep(0.02)
    queue.close()
    waiting.join(5)
    assert len(failed) == 1
    assert queue.get_many(5) == [1]
    assert queue.get_many(5) == []


def table(time: FakeTime, cap: int = 2) -> StreamTable[list[str]]:
    return StreamTable(lambda stream: [stream], cap, 60.0, lambda: time.now)


def test_table_refuses_a_new_stream_while_the_others_are_heard():
    time = FakeTime()
    streams = table(time)
    first = streams.get("a")
    streams.get("b")
    assert streams.get("c") is None
    assert streams.get("a") is first
    time.pass_s(61)
    streams.get("a")
    assert streams.get("c") == ["c"]  # in the place of b, silent for a minute
    assert [name for name, _ in streams] == ["a", "c"]
    assert streams.peek("b") is None


def test_table_gives_the_place_of_an_ended_stream():
    streams = table(FakeTime())
    streams.get("a")
    streams.get("b")
    streams.done("a")
    assert streams.peek("a") == ["a"]
    assert streams.get("c") == ["c"]
    assert len(streams) == 2
    streams.done("b")
    streams.get("b")  # speaks again, so it is not done
    assert streams.get("d") is None


def test_table_names_the_silent_ones():
    time = FakeTime()
    streams = table(time, 5)
    streams.get("a")
    time.pass_s(10)
    streams.get("b")
    time.pass_s(1)
    assert streams.idle(5) == ["a"]
    streams.drop("a")
    assert streams.idle(5) == []


@given(
    st.lists(st.tuples(st.sampled_from(["get", "done", "drop"]), st.sampled_from("abcdef"), st.floats(0, 50)))
)
def test_table_never_holds_more_than_its_cap(calls: list[tuple[str, str, float]]):
    time = FakeTime()
    streams = table(time, 3)
    for call, stream, wait in calls:
        time.pass_s(wait)
        getattr(streams, call)(stream)
        assert len(streams) <= 3
        assert all(state == [name] for name, state in streams)


def test_presence():
    time = FakeTime()
    presence = Presence(30.0, lambda: time.now)
    assert presence.heard("a")
    assert not presence.heard("a")
    time.pass_s(20)
    presence.heard("b")
    time.pass_s(15)
    assert presence.silent() == ["a"]
    assert presence.silent() == []
    assert presence.online() == ["b"]
    assert presence.ended("b")
    assert not presence.ended("b")
    assert presence.heard("b")


def test_presence_of_a_slow_sensor():
    time = FakeTime()
    presence = Presence(30.0, lambda: time.now)
    presence.heard("meter", 60.0)
    time.pass_s(179)
    assert presence.silent() == []
    time.pass_s(2)
    assert presence.silent() == ["meter"]


def test_backoff_doubles_to_its_cap_and_begins_anew():
    pause = Backoff(1.0, 5.0, uniform=lambda: 0.0)
    assert [pause.next_s() for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]
    pause.reset()
    assert pause.next_s() == 1.0
    assert Backoff(1.0, 5.0, uniform=lambda: 1.0).next_s() == 0.75


def test_metrics_from_many_threads():
    metrics = Metrics()
    metrics.gauge("level", lambda: 7.0)

    def work() -> None:
        for _ in range(1000):
            metrics.add("n")
            metrics.add_by("dropped", "why", 2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.snapshot() == {"n": 4000, "dropped": {"why": 8000}, "level": 7.0}
    assert metrics.count("dropped") == 8000


def test_warnings_once_then_debug_then_recovery(caplog: pytest.LogCaptureFixture):
    warn = WarnOnce(logging.getLogger("edge.test"))
    with caplog.at_level(logging.DEBUG):
        assert warn.warn("k", "bad %d", 1)
        assert not warn.warn("k", "bad %d", 2)
        warn.recovered("k", "good")
        warn.recovered("k", "good again")
        assert warn.warn("k", "bad %d", 3)
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("WARNING", "bad 1"),
        ("DEBUG", "bad 2"),
        ("WARNING", "good (after 2 times)"),
        ("WARNING", "bad 3"),
    ]


def test_warnings_keep_a_bounded_number_of_keys(caplog: pytest.LogCaptureFixture):
    warn = WarnOnce(logging.getLogger("edge.test"))
    with caplog.at_level(logging.WARNING):
        for at in range(MAX_KEYS + 100):
            warn.warn(f"stream {at}", "bad")
    assert len(caplog.records) == MAX_KEYS


@dataclass
class Link:
    connected: bool = True
    sent: list[tuple[str, str, int]] = field(default_factory=list)
    fails: bool = False

    def publish(self, topic: str, payload: str, *, qos: int = 0, retain: bool = False) -> int:
        assert retain
        if self.fails:
            raise BrokerError("lost")
        self.sent.append((topic, payload, qos))
        return len(self.sent)


def announcer(link: Link) -> Announcer:
    made = Announcer(Topics("w", "n"))
    made.attach(link)  # type: ignore[arg-type]
    return made


def test_announcements_are_told_at_every_connect():
    link = Link(connected=False)
    told = announcer(link)
    told.online()
    told.info({"a": 1})
    told.availability("s", True)
    told.availability("s", False)
    assert link.sent == []
    link.connected = True
    told.connected()
    assert link.sent == [
        ("w/n/state", "online", 0),
        ("w/n/info", '{"a":1}', 0),
        ("w/n/stream/s/availability", "offline", 0),
    ]
    link.sent.clear()
    told.availability("s", False)
    assert link.sent == []
    told.availability("s", True)
    assert link.sent == [("w/n/stream/s/availability", "online", 0)]


def test_announcement_of_the_stop_waits_for_its_confirmation():
    link = Link()
    told = announcer(link)
    told.on_published(1, 0)  # of something earlier
    threading.Timer(0.05, lambda: told.on_published(1, 0)).start()
    assert told.stopped(5.0)
    assert link.sent == [("w/n/state", "stopped", 1)]
    assert not announcer(Link()).stopped(0.01)
    assert not announcer(Link(connected=False)).stopped(0.01)
    assert not announcer(Link(fails=True)).stopped(0.01)


def test_announcements_survive_a_lost_connection():
    link = Link(fails=True)
    told = announcer(link)
    told.health({"x": 1})
    link.fails = False
    told.connected()
    assert ("w/n/health", '{"x":1}', 0) in link.sent


def test_health_names_what_is_wrong():
    facts = health(
        now=1.8e9,
        boot_id="b",
        uptime_s=1.0,
        streams=1,
        online=1,
        sources=[{"kind": "serial", "error": "busy"}],
        sinks=[{"kind": "mqtt", "error": ""}],
        counters={"windows": 1},
    )
    assert (facts["status"], facts["reasons"]) == ("degraded", ["serial: busy"])
    assert json.loads(json.dumps(facts))["t"] == "2027-01-15T08:00:00.000Z"
    assert rss_bytes() > 1 << 20


def test_repeated_warnings_are_counted(caplog: pytest.LogCaptureFixture):
    warn = WarnOnce(logging.getLogger("edge.test"))
    with caplog.at_level(logging.WARNING, "edge.test"):
        for _ in range(1000):
            warn.warn("lost", "%s lost", "port")
        warn.recovered("lost", "%s back", "port")
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "port lost",
        "port lost (10 times so far)",
        "port lost (100 times so far)",
        "port lost (1000 times so far)",
        "port back (after 1000 times)",
    ]
    assert [getattr(record, "times", None) for record in caplog.records] == [None, 10, 100, 1000, 1000]


def test_logs_are_json_where_the_journal_reads_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from edge.cli import logs

    with (tmp_path / "log").open("w+") as file:
        monkeypatch.setattr("sys.stderr", file)
        found = os.fstat(file.fileno())
        said = []
        for stream in (f"{found.st_dev}:{found.st_ino}", f"{found.st_dev}:1", "nonsense", ""):
            monkeypatch.setenv("JOURNAL_STREAM", stream)
            logs.set_up("info")
            try:
                raise ValueError("two\nlines")
            except ValueError:
                logging.getLogger("edge.test").exception("it %s", "failed")
            file.seek(0)
            said.append(file.read())
            file.truncate(0)
            file.seek(0)
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    logging.getLogger("edge").setLevel(logging.NOTSET)
    (line,) = said[0].splitlines()
    facts = json.loads(line)
    assert (facts["level"], facts["logger"], facts["message"]) == ("error", "edge.test", "it failed")
    assert "ValueError: two\nlines" in facts["error"]
    assert all("ERROR edge.test: it failed\n" in text for text in said[1:])
