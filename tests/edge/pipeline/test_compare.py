"""Counting what an attack turned."""

from __future__ import annotations

from dataclasses import replace

from edge.events import Event
from edge.pipeline.compare import Turned, compare
from tests.edge.agent.helpers import result


def event(id: str, start: float, end: float, label: str | None = "af", kind: str = "label") -> Event:
    return Event(
        id=id, seq=0, type="end", kind=kind, t=0.0, boot_id="b", stream="s", model="m", label=label, start=start,
        end=end, peak_score=None, windows=1, evidence=("w",), reason="over",
    )  # fmt: skip


def test_verdicts_and_events_that_turned_and_those_noticed():
    clean = [result(label="normal")] * 4
    attacked = [result(label="normal"), result(label="other"), result(label="other", status="suspect"), clean[0]]
    before = [event("a", 0, 10), event("b", 20, 30), event("n", 40, 50, "normal")]
    after = [
        replace(event("a", 5, 6), type="new"),
        event("a", 5, 12),  # the same event's end: counted once
        event("x", 21, 29, "other"),  # b is lost, this is false; both are noticed
        event("n", 40, 50, "normal"),
        event("y", 70, 80),
        event("t", 25, 26, None, "tamper"),
    ]
    found = compare(clean, attacked, [*before, event("t0", 0, 1, None, "tamper")], after, 0.5)
    assert (found.windows, found.turned, found.turned_noticed, found.suspect) == (4, 2, 1, 1)
    assert (found.clean_events, found.lost, found.false, found.events_noticed) == (3, 1, 2, 2)
    assert (found.tampers, found.false_tampers) == (1, 1)
    assert found.events_per_hour == 6.0
    total = found + found + Turned()
    assert (total.hours, total.events_turned, total.events_per_hour) == (1.0, 6, 6.0)
    assert Turned().events_per_hour == 0.0
