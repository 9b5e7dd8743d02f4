"""Thresholds from clean windows: the share is kept, in the sample and beyond it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import CalibrationError
from edge.pipeline.calibrate import calibrate, fit, suspect_share


@given(st.integers(20, 300), st.sampled_from([0.05, 0.1, 0.3]), st.integers(0, 9), st.integers(1, 3))
def test_the_share_is_kept_and_not_by_more_than_needed(n: int, share: float, seed: int, count: int):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=n)
    measures = {f"m{i}": np.abs(common + rng.normal(size=n)) for i in range(count)}
    limits = fit(measures, share)
    found = suspect_share(measures, limits)
    assert found <= share
    assert found >= share - (count + 1) / n - 1e-9
    assert all(limit in measures[name] for name, limit in limits.items())


def test_new_windows_keep_the_share_on_average():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        draw = rng.gamma(2.0, size=(2, 150))
        limits = fit({"a": draw[0], "b": draw[1]}, 0.05)
        new = rng.gamma(2.0, size=(2, 500))
        shares.append(suspect_share({"a": new[0], "b": new[1]}, limits))
    assert np.mean(shares) <= 0.05 + 3 * np.std(shares) / np.sqrt(len(shares))
    assert np.mean(shares) > 0.03


def test_too_few_windows_and_shares_that_are_none():
    values = {"a": np.arange(50.0)}
    with pytest.raises(CalibrationError, match="99 windows or more"):
        fit(values, 0.01)
    fit({"a": np.arange(99.0)}, 0.01)
    for share in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(CalibrationError, match="above 0 and below 1"):
            calibrate(values, np.zeros(50, np.int64), share, {})
    with pytest.raises(CalibrationError, match="0 windows"):
        fit({"a": np.zeros(0)}, 0.1)


def test_before_and_after_and_on_recordings_left_out():
    rng = np.random.default_rng(1)
    values = {"residual": rng.normal(100, 5, 400), "disagreement": rng.random(400)}
    recording = np.arange(400) // 20
    found = calibrate(values, recording, 0.05, {"residual": 101.0, "disagreement": None})
    assert found.share_before == pytest.approx(np.mean(values["residual"] > 101.0))
    assert found.share_after <= 0.05 < found.share_before
    assert found.share_held_out is not None
    assert 0.0 < found.share_held_out < 0.12
    assert (found.windows, found.recordings) == (400, 20)
    assert calibrate(values, np.zeros(400, np.int64), 0.05, {}).share_held_out is None
    # One recording unlike the others: only leaving it out shows that.
    odd = {"residual": np.where(recording == 7, 500.0, values["residual"])}
    found = calibrate(odd, recording, 0.052, {})
    assert found.share_after <= 0.052
    assert found.share_held_out is not None
    assert found.share_held_out > 0.052


def test_a_measure_that_is_no_number_is_suspect():
    assert suspect_share({"a": np.array([1.0, np.nan])}, {"a": 2.0}) == 0.5
