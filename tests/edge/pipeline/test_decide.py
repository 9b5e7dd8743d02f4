"""Events from verdicts: properties that hold for any stream, and the rules one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import DecisionError, EdgeError, EventError
from edge.events import Event, message_from_json
from edge.pipeline.attack_rate import AttackRate, RateRule
from edge.pipeline.decide import MAX_EVIDENCE, Rule, StreamDecider
from edge.schemas import read_schema
from edge.types import Result, ResultWindow
from tests.edge.agent.helpers import result

HOP_S, WINDOW_S = 10.0, 30.0


def window(at: int, p: float = 0.0, status: str = "ok", t0: float | None = None, **more: Any) -> Result:
    """Window number `at` of a stream; `p` is the probability of "af"."""
    reason = {"ok": "", "suspect": "residual+disagreement", "abstain": "missing"}[status]
    return result(
        f"w{at}",
        "bed-1",
        t=2e9 + at,
        label="af" if p >= 0.5 else "normal",
        probabilities={"normal": 1 - p, "af": p},
        window=ResultWindow(1.8e9 + at * HOP_S if t0 is None else t0, 9000, 300.0, 0, 0),
        **{"status": status, "reason": reason, "residual": 200.0 + at, "disagreement": 0.3, **more},
    )


def decider(**rules: Any) -> StreamDecider:
    labels = {"af": Rule(**{"on": 0.6, "off": 0.4, "k": 2, "n": 3, **rules})}
    return StreamDecider("bed-1", labels, Rule(on=1.0, off=1.0, k=2, n=3), AttackRate("bed-1", RateRule()))


def feed(made: StreamDecider, scores: Sequence[float]) -> list[Event]:
    return [event for at, p in enumerate(scores) for event in made.push(window(at, p))]


def told(events: Sequence[Event], kind: str = "label") -> list[tuple[str, int]]:
    return [(event.type, event.seq) for event in events if event.kind == kind]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ok", "ok", "ok", "suspect", "abstain"]),
        st.floats(0, 1),
        st.sampled_from([10.0, 10.0, 10.0, 10.0, 40.0, 500.0, 90_000.0, -60.0]),
        st.booleans(),
    ),
    max_size=80,
)
RULES = st.builds(
    lambda n, k, on, gap, **more: Rule(n=n, k=min(k, n), on=on, off=on - gap, **more),
    n=st.integers(1, 5),
    k=st.integers(1, 5),
    on=st.floats(0.3, 0.9),
    gap=st.floats(0, 0.3),
    min_s=st.sampled_from([0.0, 45.0]),
    cooldown_s=st.sampled_from([0.0, 60.0]),
    update_s=st.sampled_from([0.0, 30.0, 1e6]),
)


def run(steps: list[tuple[str, float, float, bool]], rule: Rule, t_said: float = 0.0) -> list[Event]:
    tamper, rate = replace(rule, on=1.0, off=1.0), AttackRate("s", RateRule())
    made = StreamDecider("s", {"af": rule, "normal": rule}, tamper, rate)
    t0, events = 1.8e9, []
    for at, (status, p, pause, ends) in enumerate(steps):
        t0 = max(0.0, t0 + pause)
        events += made.push(replace(window(at, p, status, t0), t=t_said + at))
        if ends and at % 20 == 19:
            events += made.stop(t_said + at, "stream_end")
    return events + made.stop(t_said, "stopped")


@given(STEPS, RULES)
def test_events_of_any_stream_are_sound(steps: list[tuple[str, float, float, bool]], rule: Rule):
    schema = read_schema("event")
    open_: dict[tuple[str, str | None], Event] = {}
    ended: set[str] = set()
    for event in run(steps, rule):
        jsonschema.validate(json.loads(event.to_json()), schema)
        which = (event.kind, event.label)
        before = open_.get(which)
        assert event.end > event.start
        assert event.windows >= len(event.evidence) >= 1
        assert event.id not in ended
        if event.type == "new":
            assert before is None, "two open events of one label on one stream"
            assert event.seq == 0
            open_[which] = event
        else:
            assert before is not None, "an update or end of nothing"
            assert (event.id, event.seq) == (before.id, before.seq + 1)
            assert event.end >= before.end
            assert event.windows >= before.windows
            if event.kind != "attack_rate":
                assert event.start == before.start
            open_[which] = event
            if event.type == "end":
                ended.add(event.id)
                del open_[which]
    assert open_ == {}, "stopping ends everything"


@given(STEPS, RULES)
def test_a_replay_gives_the_same_events(steps: list[tuple[str, float, float, bool]], rule: Rule):
    live = [replace(event, t=0.0) for event in run(steps, rule, 1e9)]
    assert [replace(event, t=0.0) for event in run(steps, rule, 2e9)] == live


def test_k_of_n_opens_and_hysteresis_holds():
    scores = [0.1, 0.7, 0.1, 0.1, 0.7, 0.2, 0.65, 0.45, 0.45, 0.45, 0.1, 0.1, 0.1]
    events = [e for e in feed(decider(update_s=1e6), scores) if e.kind == "label"]
    first, last = events
    assert (first.type, first.label, first.windows, first.evidence) == ("new", "af", 2, ("w4", "w6"))
    assert (first.start, first.end) == (1.8e9 + 40, 1.8e9 + 60 + WINDOW_S)
    assert (last.type, last.reason, last.windows, last.peak_score) == ("end", "over", 5, 0.7)
    assert last.end == 1.8e9 + 90 + WINDOW_S


def test_a_short_one_is_never_told_and_a_long_one_when_it_is_long_enough():
    assert told(feed(decider(min_s=60), [0.9, 0.9, 0.0, 0.0, 0.0])) == []
    events = feed(decider(min_s=60, update_s=1e6), [0.9] * 6)
    assert told(events) == [("new", 0)]
    assert events[0].end - events[0].start == 60


def test_updates_keep_their_distance():
    assert told(feed(decider(update_s=25), [0.9] * 8)) == [("new", 0), ("update", 1), ("update", 2)]


def test_after_the_end_comes_a_pause():
    scores = [0.9, 0.9, 0, 0, 0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    without = [e for e in feed(decider(update_s=1e6), scores) if e.kind == "label"]
    paused = [e for e in feed(decider(update_s=1e6, cooldown_s=40), scores) if e.kind == "label"]
    assert [e.type for e in without] == [e.type for e in paused] == ["new", "end", "new"]
    assert without[2].start == 1.8e9 + 50
    assert paused[2].start == paused[1].end + 40


def test_a_day_of_silence_ends_what_was_open_and_a_clock_that_goes_back_too():
    made = decider()
    feed(made, [0.9, 0.9])
    (end,) = made.push(window(2, 0.9, t0=1.8e9 + 86_400))
    assert (end.type, end.reason, end.end) == ("end", "silent", 1.8e9 + 40)
    assert told(made.push(window(3, 0.9, t0=1.8e9 + 86_410))) == [("new", 0)]
    (end,) = made.push(window(4, 0.9, t0=1.8e9))
    assert (end.reason, end.end) == ("clock", 1.8e9 + 86_440)


def test_what_cannot_be_judged_is_no_evidence():
    made = decider()
    feed(made, [0.9, 0.9])
    for at in range(2, 6):
        assert told(made.push(window(at, 0.0, "abstain"))) == []
    assert told([e for at in range(6, 9) for e in made.push(window(at, 0.0))]) == [("end", 1)]
    lost = decider()
    feed(lost, [0.9, 0.9])
    ends = [e for at in range(2, 40) for e in lost.push(window(at, 0.0, "abstain"))]
    assert [(e.type, e.reason) for e in ends] == [("end", "silent")]


def test_tampering_names_the_measures_that_raised_it():
    made = decider()
    events = [e for at in range(3) for e in made.push(window(at, 0.9, "suspect"))]
    (event,) = [e for e in events if e.kind == "tamper"]
    assert event.type == "new"
    assert event.measures == {"residual": 201.0, "disagreement": 0.3}
    assert (event.label, event.peak_score, event.windows) == (None, None, 2)
    assert told(events) == [], "a label under attack is not to be relied on"
    no_number, made = {"reason": "residual", "residual": None}, decider()
    only = [e for at in range(2) for e in made.push(window(at, 0.9, "suspect", **no_number))]
    assert [dict(e.measures) for e in only] == [{"residual": None}]


def test_evidence_is_bounded():
    events = feed(decider(update_s=0), [0.9] * 200)
    assert events[-1].windows == 200
    assert events[-1].evidence == tuple(f"w{at}" for at in range(200 - MAX_EVIDENCE, 200))
    assert len(events[-1].to_json()) < 4096


def test_the_same_window_raises_different_events_for_different_labels():
    made = StreamDecider("s", {"a": Rule(k=1, n=1), "b": Rule(k=1, n=1)})
    events = made.push(replace(window(0), probabilities={"a": 0.5, "b": 0.5}))
    assert len({event.id for event in events}) == 2
    assert made.open_ids() == [event.id for event in events]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"k": 4, "n": 3}, "k is 4 and n is 3"),
        ({"k": 0}, "k is 0"),
        ({"n": 0, "k": 0}, "n is 0"),
        ({"off": 0.9}, "hysteresis"),
        ({"min_s": -1.0}, "min_s"),
        ({"gap_s": 0.0}, "gap_s"),
    ],
)
def test_rules_that_cannot_be(wrong: dict[str, Any], says: str):
    with pytest.raises(DecisionError, match=says):
        Rule(**wrong)


def test_json_there_and_back():
    events = feed(decider(update_s=0), [0.9] * 3 + [0.0] * 3)
    assert [message_from_json(event.to_json()) for event in events] == events
    plain = window(3)
    assert message_from_json(plain.to_json()).key == plain.key
    assert len({event.key for event in events}) == len(events)


KEYS = st.sampled_from(["schema", "id", "seq", "t", "evidence", "measures"])
OBJECTS = st.dictionaries(KEYS, st.none() | st.floats() | st.text() | st.just("wavewall.event/1")).map(
    json.dumps
)


@given(st.text() | OBJECTS)
def test_nonsense_is_an_error_of_ours(text: str):
    for parse in (Event.from_json, message_from_json):
        with pytest.raises(EdgeError):
            parse(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seq", -1),
        ("type", "gone"),
        ("t", "now"),
        ("evidence", [1]),
        ("measures", {"x": 1e999}),
        ("label", 3),
        ("reason", None),
    ],
)
def test_a_wrong_field_is_named(key: str, value: object):
    data = feed(decider(), [0.9, 0.9])[0].to_dict() | {key: value}
    with pytest.raises(EventError) as caught:
        Event.from_json(json.dumps(data))
    assert caught.value.field.startswith(key)
