"""Blocks in, results out: ids, counts, caps, and what a bad signal does."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle import Bundle
from edge.engine import Engine
from edge.metrics import Metrics
from edge.pipeline.classify import Classifier
from edge.pipeline.golden import load_verified
from edge.pipeline.identity import result_id
from edge.types import Result
from tests.edge.agent.helpers import FakeTime, block, signal
from tests.edge.tiny import HOP, WINDOW, tiny_bundle


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Classifier]:
    return load_verified(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.bundle"))


def engine(loaded: tuple[Bundle, Classifier], **more: Any) -> Engine:
    more = {"metrics": Metrics(), "clock": FakeTime().clock, **more}
    return Engine(*loaded, node="gw1", boot_id="boot", **more)


def push_all(made: Engine, values: np.ndarray, cuts: list[int], **more: Any) -> list[Result]:
    edges = sorted({0, len(values), *(c for c in cuts if c < len(values))})
    pairs = list(itertools.pairwise(edges))
    return [r for a, b in pairs for r in made.push(block(values[a:b], first=a, end=b == len(values), **more))]


def test_a_window_becomes_a_result(loaded: tuple[Bundle, Classifier]):
    values = signal(WINDOW)
    (result,) = engine(loaded).push(block(values))
    assert result.id == result_id("gw1", "s1", "e", 0)
    assert (result.seq, result.stream, result.model, result.boot_id) == (0, "s1", "tiny@1.0.0", "boot")
    assert result.label == max(result.probabilities, key=lambda label: result.probabilities[label])
    assert (result.window.n, result.window.t0, result.t) == (WINDOW, 1.8e9, 1.8e9)
    assert result.status == "ok"
    assert Result.from_json(result.to_json()).id == result.id


@given(st.lists(st.integers(1, 300), max_size=20))
@settings(max_examples=25)
def test_how_the_signal_is_cut_into_blocks_does_not_matter(
    loaded: tuple[Bundle, Classifier], cuts: list[int]
):
    values = signal(300)
    whole = push_all(engine(loaded), values, [])
    parts = push_all(engine(loaded), values, cuts)
    assert [(r.id, r.probabilities) for r in parts] == [(r.id, r.probabilities) for r in whole]
    assert len(whole) == (300 - WINDOW) // HOP + 1


def test_streams_do_not_touch_each_other(loaded: tuple[Bundle, Classifier]):
    a, b = signal(200, 1), signal(200, 2)
    alone = push_all(engine(loaded), a, [10, 50]), push_all(engine(loaded), b, [10, 50], stream="s2")
    made = engine(loaded)
    both: list[Result] = []
    for at in range(0, 200, 20):
        both += made.push(block(a[at : at + 20], first=at, end=at == 180))
        both += made.push(block(b[at : at + 20], first=at, end=at == 180, stream="s2"))
    for stream, expected in zip(("s1", "s2"), alone, strict=True):
        got = [(r.id, r.seq, r.probabilities) for r in both if r.stream == stream]
        assert got == [(r.id, r.seq, r.probabilities) for r in expected]


def test_a_short_record_is_padded_at_its_end(loaded: tuple[Bundle, Classifier]):
    made = engine(loaded)
    assert made.push(block(signal(40))) == []
    (result,) = made.push(block([], first=40, end=True))
    assert result.window.missing == 0
    assert result.status == "ok"


def test_flush_is_an_end(loaded: tuple[Bundle, Classifier]):
    made, other = engine(loaded), engine(loaded)
    made.push(block(signal(40)))
    (flushed,) = made.flush("s1")
    (ended,) = other.push(block(signal(40), end=True))
    assert (flushed.id, flushed.probabilities) == (ended.id, ended.probabilities)
    assert made.flush("nobody") == []


def test_a_gap_is_marked_and_much_of_it_abstains(loaded: tuple[Bundle, Classifier]):
    metrics = Metrics()
    made = engine(loaded, metrics=metrics)
    made.push(block(signal(20)))
    (result,) = made.push(block(signal(24), first=40))
    assert (result.window.missing, result.status, result.reason) == (20, "abstain", "missing")
    assert metrics.count("gaps") == 1
    assert metrics.count("missing") == 20


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros(WINDOW), "flat"),
        (np.full(WINDOW, 32767.0), "flat"),
        (np.full(WINDOW, np.nan), "missing"),
        (np.full(WINDOW, np.inf), "missing"),
    ],
)
def test_signals_that_say_nothing_abstain(loaded: tuple[Bundle, Classifier], values: np.ndarray, reason: str):
    (result,) = engine(loaded).push(block(values))
    assert (result.status, result.reason) == ("abstain", reason)
    assert Result.from_json(result.to_json()).status == "abstain"


def test_some_nan_are_missing_samples(loaded: tuple[Bundle, Classifier]):
    values = signal(WINDOW)
    values[[3, 30]] = [np.nan, -np.inf]
    (result,) = engine(loaded).push(block(values))
    assert (result.window.missing, result.status) == (2, "ok")


def test_a_saturated_signal_is_answered_without_an_error(loaded: tuple[Bundle, Classifier]):
    values = np.clip(signal(WINDOW) * 1e4, -32768, 32767)
    (result,) = engine(loaded).push(block(values))
    assert sum(result.probabilities.values()) == pytest.approx(1.0, abs=0.05)


def test_a_rate_that_changes_begins_a_window_of_its_own(loaded: tuple[Bundle, Classifier]):
    made = engine(loaded)
    assert made.push(block(signal(50))) == []
    assert made.push(block(signal(50), first=50, rate_hz=200.0)) == []
    assert made.push(block(signal(50), first=100, rate_hz=200.0)) == []
    results = made.push(block(signal(100), first=150, rate_hz=200.0))
    assert results
    assert results[0].window.missing == 0


@pytest.mark.parametrize(
    "change",
    [
        {"channels": ("resp",)},
        {"units": ("A",)},
        {"rate_hz": 0.0},
        {"rate_hz": float("nan")},
        {"first_index": -1},
        {"channels": ("a", "b")},
        {"t0": float("inf")},
    ],
)
def test_a_block_that_cannot_be_used_is_counted_and_the_stream_goes_on(
    loaded: tuple[Bundle, Classifier], change: dict[str, Any]
):
    metrics = Metrics()
    made = engine(loaded, metrics=metrics)
    values = signal(WINDOW)
    made.push(block(values[:32]))
    assert made.push(block(values[32:], first=32, **change)) == []
    assert metrics.by("dropped") == {"bad_block": 1}
    (result,) = made.push(block(values[32:], first=32))
    assert result.window.missing == 0


def test_streams_beyond_the_cap(loaded: tuple[Bundle, Classifier]):
    metrics = Metrics()
    made = engine(loaded, metrics=metrics, max_streams=1)
    made.push(block(signal(10)))
    assert made.push(block(signal(WINDOW), stream="s2")) == []
    assert metrics.by("dropped") == {"too_many_streams": 1}
    assert made.streams == 1
    made.push(block(signal(10), first=10, end=True))
    assert len(made.push(block(signal(WINDOW), stream="s2"))) == 1


def test_aligned_windows_do_not_depend_on_when_the_agent_joined(loaded: tuple[Bundle, Classifier]):
    values = signal(400)
    early, late = engine(loaded), engine(loaded)
    first = {r.id: r.probabilities for r in early.push(block(values), aligned=True)}
    second = {r.id: r.probabilities for r in late.push(block(values[101:], first=101), aligned=True)}
    assert second
    assert second.items() <= first.items()


def test_a_dropped_stream_starts_anew(loaded: tuple[Bundle, Classifier]):
    made = engine(loaded)
    made.push(block(signal(40)))
    made.drop("s1")
    assert made.push(block(signal(30), first=40)) == []
