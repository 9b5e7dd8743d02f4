"""Preprocessing steps against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.bundle.preprocess import Clip, RemoveDc, Scale, Znorm, apply, parse_steps
from edge.errors import ManifestError

windows = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.floats(-1e5, 1e5, width=32),
)


@st.composite
def masked(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    window = draw(windows)
    return window, draw(hnp.arrays(np.bool_, window.shape[0]))


@settings(deadline=None)
@given(masked())
def test_remove_dc_centres_what_is_valid_and_zeroes_the_rest(case: tuple[np.ndarray, np.ndarray]) -> None:
    window, valid = case
    before = window.copy()
    out = apply([RemoveDc()], window, valid)
    assert out.dtype == np.float32
    assert not np.shares_memory(out, window)
    assert np.array_equal(window, before)
    assert (out[~valid] == 0).all()
    if valid.any():
        expected = window[valid] - window[valid].mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(out[valid], expected, atol=1e-5 * (1 + np.abs(window).max()))


@settings(deadline=None)
@given(masked())
def test_invalid_samples_have_no_influence(case: tuple[np.ndarray, np.ndarray]) -> None:
    window, valid = case
    steps = [RemoveDc(), Scale(0.5), Znorm(), Clip(-2.0, 2.0)]
    other = np.where(valid[:, None], window, np.float32(np.nan))
    assert np.array_equal(apply(steps, window, valid), apply(steps, other, valid))
    assert np.array_equal(apply([], window, valid), apply([], other, valid))


@settings(deadline=None)
@given(windows)
def test_znorm_gives_mean_zero_and_deviation_one(window: np.ndarray) -> None:
    valid = np.ones(window.shape[0], bool)
    out = apply([Znorm()], window, valid)
    deviation = window.std(axis=0, dtype=np.float64)
    assert np.isfinite(out).all()
    for channel in range(window.shape[1]):
        # float32 holds a mean to one part in ten million of the offset
        if deviation[channel] > 1e-3 * (1 + np.abs(window[:, channel]).max()):
            assert abs(out[:, channel].mean()) < 1e-3
            assert abs(out[:, channel].std() - 1) < 1e-3


def test_znorm_of_a_constant_is_zero() -> None:
    assert (apply([Znorm()], np.full((8, 1), 3, np.float32), np.ones(8, bool)) == 0).all()


def test_padding_stays_zero_after_every_step() -> None:
    window = np.zeros((10, 1), np.float32)
    window[3:7, 0] = [900.0, 1000.0, 1100.0, 1000.0]
    valid = np.zeros(10, bool)
    valid[3:7] = True
    out = apply(parse_steps([{"op": "remove_dc"}, {"op": "scale", "factor": 2}]), window, valid)
    assert out[:, 0].tolist() == [0, 0, 0, -200, 0, 200, 0, 0, 0, 0]


def test_no_steps_still_gives_a_copy() -> None:
    window = np.ones((4, 1), np.float32)
    out = apply([], window, np.ones(4, bool))
    assert np.array_equal(out, window)
    assert not np.shares_memory(out, window)


def test_too_many_steps() -> None:
    with pytest.raises(ManifestError, match="17 steps; use at most 16"):
        parse_steps([{"op": "znorm"}] * 17)
