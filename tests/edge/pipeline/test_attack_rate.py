"""The change detector keeps the false-alarm rate that it states, and sees an attack."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge.errors import DecisionError
from edge.events import Event
from edge.pipeline.attack_rate import AttackRate, HourOfWindows, RateRule
from edge.types import Result, ResultWindow
from tests.edge.agent.helpers import result

WINDOW_S = 30.0


def window(at: int, hop_s: float = WINDOW_S) -> Result:
    return result(f"w{at}", window=ResultWindow(1.8e9 + at * hop_s, 9000, 300.0, 0, 0))


def alarm_times(rule: RateRule, rate: float, runs: int, most: int, seed: int = 0) -> np.ndarray:
    """Windows to the first alarm in `runs` streams at once, by the rule's own step and threshold."""
    rng = np.random.default_rng(seed)
    up, down, limit = rule.step(True), rule.step(False), rule.threshold(WINDOW_S)
    level, times = np.zeros(runs), np.full(runs, most)
    live = np.ones(runs, bool)
    for n in range(1, most + 1):
        level = np.maximum(level, 0.0) + np.where(rng.random(runs) < rate, up, down)
        new = live & (level >= limit)
        times[new] = n
        live &= ~new
        if not live.any():
            break
    return times


@pytest.mark.parametrize(("clean", "attacked"), [(0.01, 0.2), (0.01, 0.05), (0.05, 0.3)])
def test_false_alarms_are_no_more_than_stated(clean: float, attacked: float):
    windows = 2000.0
    rule = RateRule(clean, attacked, windows * WINDOW_S / 86_400)
    assert rule.threshold(WINDOW_S) == pytest.approx(math.log(windows))
    times = alarm_times(rule, clean, 1500, 40_000)
    # Runs that never alarm are cut off at 40,000, which only lowers the mean.
    error = times.std() / math.sqrt(len(times))
    assert times.mean() - 3 * error >= windows
    assert alarm_times(rule, clean / 2, 500, 40_000).mean() > times.mean()


def test_an_attack_is_seen_within_minutes_at_the_default():
    times = alarm_times(RateRule(), 0.5, 500, 10_000)
    assert np.quantile(times, 0.95) * WINDOW_S < 15 * 60
    assert (alarm_times(RateRule(), 1.0, 1, 100) <= 5).all()


def feed(made: AttackRate, marks: str, hop_s: float = WINDOW_S) -> tuple[list[Event], list[HourOfWindows]]:
    events, hours = [], []
    for at, mark in enumerate(marks):
        told, hour = made.push(window(at, hop_s), mark == "x")
        events += told
        hours += [hour] if hour else []
    return events, hours


def test_the_detector_does_what_the_simulation_did():
    """The same sum, alarm and end, window by window."""
    rng = np.random.default_rng(7)
    rates = np.r_[np.full(200, 0.01), np.full(100, 0.6), np.full(300, 0.0)]
    marks = "".join("x" if x else "." for x in rng.random(600) < rates)
    rule, level, alarms, on = RateRule(), 0.0, [], False
    for at, mark in enumerate(marks):
        level = min(max(level, 0.0) + rule.step(mark == "x"), rule.threshold(WINDOW_S))
        if not on and level >= rule.threshold(WINDOW_S):
            on = True
            alarms.append(("new", at))
        elif on and level <= 0:
            on = False
            alarms.append(("end", at))
    events, _ = feed(AttackRate("s1", rule), marks)
    assert [(e.type, round((e.end - 1.8e9) / WINDOW_S) - 1) for e in events] == alarms
    assert [kind for kind, _ in alarms] == ["new", "end"]
    assert 195 <= (events[0].start - 1.8e9) / WINDOW_S <= 205, "it says when the attack began"
    assert events[0].id == events[1].id
    assert events[0].measures["share"] > 0.3


def test_overlapping_windows_count_once():
    every, _ = feed(AttackRate("s1", RateRule()), "x" * 4)
    assert [e.type for e in every] == ["new"]
    overlapping = AttackRate("s1", RateRule())
    assert feed(overlapping, "x" * 9, WINDOW_S / 3)[0] == []
    assert [e.windows for e in overlapping.push(window(9, WINDOW_S / 3), True)[0]] == [4]


def test_shares_by_hour_count_every_window():
    events, hours = feed(AttackRate("s1", RateRule()), "x" + "." * 400, 10.0)
    assert events == []
    assert [(h.t0, h.windows, h.suspect) for h in hours] == [(1.8e9, 360, 1)]
    assert hours[0].share == pytest.approx(1 / 360)
    assert not hours[0].alarm


def test_a_clock_that_goes_back_begins_anew():
    made = AttackRate("s1", RateRule())
    feed(made, "x" * 6)
    ends, _ = made.push(window(0), True)
    assert [(e.type, e.reason) for e in ends] == [("end", "clock")]
    assert made.open_id is None


@pytest.mark.parametrize(
    "wrong", [{"clean": 0.0}, {"clean": 0.3}, {"attacked": 1.0}, {"false_alarm_days": 0.0}]
)
def test_rates_that_cannot_be(wrong: dict[str, float]):
    with pytest.raises(DecisionError):
        RateRule(**wrong)
