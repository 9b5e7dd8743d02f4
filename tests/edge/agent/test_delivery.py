"""Spool, runner and sinks: bounded, in order, tried again, nothing twice without need."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import pytest

from edge.delivery.runner import SinkRunner
from edge.delivery.sinks.base import SinkError, SinkGone
from edge.delivery.spool import MemorySpool
from edge.metrics import Metrics
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
