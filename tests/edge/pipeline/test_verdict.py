"""Verdicts by the bundle's thresholds, and result ids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle import Decision
from edge.pipeline import Judge, result_id
from edge.pipeline.verdict import REASONS
from edge.types import Scores, Window
from tests.edge.tiny import WINDOW, tiny_manifest

LIMITS = Decision(max_missing=0.25, suspect_residual=10.0, suspect_disagreement=0.5, abstain_score=0.4)
JUDGE = Judge(tiny_manifest(decision=LIMITS))


def window(missing: int = 0, padded: int = 0, **changes: Any) -> Window:
    values = np.random.default_rng(0).normal(0, 1, (WINDOW, 1)).astype(np.float32)
    valid = np.ones(WINDOW, bool)
    valid[: missing + padded] = False
    return replace(Window("s", "e", 0, 0.0, 100.0, values, valid, missing, padded), **changes)


def scores(*probabilities: float, **changes: Any) -> Scores:
    return replace(
        Scores(np.array(probabilities or (0.7, 0.2, 0.1), np.float32), residual=5.0, disagreement=0.1),
        **changes,
    )


def test_ok() -> None:
    verdict = JUDGE.push(window(), scores())
    assert (verdict.label, verdict.status, verdict.reason) == ("normal", "ok", "")
    assert verdict.score == verdict.probabilities["normal"] == pytest.approx(0.7)
    assert list(verdict.probabilities) == ["normal", "other", "noise"]
    assert (verdict.residual, verdict.disagreement) == (5.0, 0.1)


@pytest.mark.parametrize(
    ("given_window", "given_scores", "status", "reason"),
    [
        (window(missing=16), scores(), "ok", ""),
        (window(missing=17), scores(), "abstain", "missing"),
        (window(missing=17, lead_off=8), scores(), "abstain", "missing"),
        (window(missing=17, lead_off=9), scores(), "abstain", "lead_off"),
        (window(padded=60), scores(), "ok", ""),
        (window(missing=1, padded=60), scores(), "ok", ""),
        (window(missing=2, padded=60), scores(), "abstain", "missing"),
        (window(missing=64), scores(), "abstain", "missing"),
        (window(values=np.full((WINDOW, 1), 3, np.float32)), scores(), "abstain", "flat"),
        (window(values=np.zeros((WINDOW, 1), np.float32)), scores(residual=99.0), "abstain", "flat"),
        (window(), scores(residual=10.0), "ok", ""),
        (window(), scores(residual=10.1), "suspect", "residual"),
        (window(), scores(disagreement=0.51), "suspect", "disagreement"),
        (window(), scores(residual=11.0, disagreement=0.6), "suspect", "residual+disagreement"),
        (window(), scores(0.39, 0.31, 0.3), "abstain", "low_score"),
        (window(), scores(0.39, 0.31, 0.3, residual=11.0), "suspect", "residual"),
        (window(), scores(float("nan"), 0.5, 0.5), "abstain", "not_finite"),
        (window(), scores(residual=float("nan")), "suspect", "residual"),
        (window(), scores(residual=None, disagreement=None), "ok", ""),
    ],
)
def test_status(given_window: Window, given_scores: Scores, status: str, reason: str) -> None:
    verdict = JUDGE.push(given_window, given_scores)
    assert (verdict.status, verdict.reason) == (status, reason)
    assert all(part in REASONS for part in reason.split("+") if part)
    assert np.isfinite([*verdict.probabilities.values(), verdict.score]).all()


def test_flat_looks_at_valid_samples_only_and_at_every_channel() -> None:
    values = np.full((WINDOW, 1), 3, np.float32)
    values[:4] = 9
    valid = np.ones(WINDOW, bool)
    valid[:4] = False
    assert JUDGE.push(window(values=values, valid=valid, missing=4), scores()).reason == "flat"
    assert JUDGE.push(window(values=values, valid=valid, padded=4), scores()).reason == "flat"
    two = np.zeros((WINDOW, 2), np.float32)
    two[5, 1] = 1
    assert JUDGE.push(window(values=two), scores()).reason == ""


def test_null_thresholds_switch_off() -> None:
    judge = Judge(tiny_manifest(decision=Decision(max_missing=0.25)))
    verdict = judge.push(window(), scores(0.34, 0.33, 0.33, residual=1e9, disagreement=1.0))
    assert verdict.status == "ok"


def test_nan_never_reaches_the_wire() -> None:
    verdict = JUDGE.push(
        window(), scores(float("nan"), 0.5, 0.5, residual=float("nan"), disagreement=float("inf"))
    )
    assert (verdict.residual, verdict.disagreement, verdict.score) == (None, None, 0.0)
    assert verdict.status == "abstain"


names = st.text(max_size=8)


@settings(deadline=None)
@given(
    st.lists(st.tuples(names, names, names, st.integers(0, 2**63)), min_size=2, max_size=2, unique=True),
)
def test_ids_differ_when_anything_does(cases: list[tuple[str, str, str, int]]) -> None:
    one, two = (result_id(*case) for case in cases)
    assert one != two
    assert one == result_id(*cases[0])


def test_id_is_fixed_for_ever() -> None:
    # Consumers remember ids across updates of the agent.
    assert result_id("node", "stream", "epoch", 9000) == "c4893c1f076e02bfd319788f2ccc0674"
    assert result_id("ab", "c", "", 0) != result_id("a", "bc", "", 0)
