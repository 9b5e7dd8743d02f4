"""The resampler: streaming equals whole, and scipy as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import firwin, resample_poly

from edge.pipeline.rate import LEAD_OFF, MISSING, RateConverter
from edge.pipeline.resample import MAX_FACTOR, Resampler, design, ratio

RATES = [
    (360, 300),
    (250, 300),
    (128, 300),
    (1000, 300),
    (300, 100),
    (500, 300),
    (257, 256),
    (300, 300),
    (1, 7),
]
cuts = st.lists(st.integers(0, 90), max_size=40)


def in_blocks(resampler: Resampler, x: np.ndarray, sizes: list[int]) -> np.ndarray:
    parts, at = [], 0
    for size in sizes:
        parts.append(resampler.push(x[at : at + size]))
        at += size
    return np.concatenate([*parts, resampler.push(x[at:]), resampler.flush()])


@settings(deadline=None)
@given(
    st.sampled_from(RATES),
    cuts,
    st.integers(1, 2),
    st.integers(1, 700),
    st.integers(0, 10**12),
    st.integers(0, 9),
)
def test_streaming_equals_whole_to_the_bit(
    rates: tuple[int, int], sizes: list[int], channels: int, count: int, first_index: int, seed: int
) -> None:
    x = np.random.default_rng(seed).normal(500, 200, (count, channels)).astype(np.float32)
    whole = in_blocks(Resampler(*rates, channels=channels, first_index=first_index), x, [])
    resampler = Resampler(*rates, channels=channels, first_index=first_index)
    start = resampler.next_index
    streamed = in_blocks(resampler, x, sizes)
    assert streamed.dtype == np.float32
    assert np.array_equal(whole, streamed)
    assert resampler.next_index - start == len(whole)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(RATES), st.integers(1, 2000), st.floats(-1e4, 1e4), st.integers(0, 99))
def test_equals_scipy_with_the_same_taps(
    rates: tuple[int, int], count: int, offset: float, seed: int
) -> None:
    x = (np.random.default_rng(seed).normal(0, 200, (count, 1)) + offset).astype(np.float32)
    resampler = Resampler(*rates)
    got = np.concatenate([resampler.push(x), resampler.flush()])
    up, down = resampler.up, resampler.down
    taps = design(up, down) / up  # scipy puts the gain in itself
    want = resample_poly(x.astype(np.float64), up, down, axis=0, window=taps, padtype="edge")
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize(("up", "down"), [(5, 6), (75, 32), (3, 10), (1, 3)])
def test_taps_are_scipys_own_default(up: int, down: int) -> None:
    longest = max(up, down)
    want = firwin(20 * longest + 1, 1 / longest, window=("kaiser", 5.0)) * up
    np.testing.assert_allclose(design(up, down), want, atol=1e-12)


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_a_slow_sine_passes_and_a_constant_stays(rate_in: int, rate_out: int) -> None:
    low = 0.1 * min(rate_in, rate_out)
    count = 60 * max(1, rate_in // rate_out) + 40
    t = np.arange(count) / rate_in
    resampler = Resampler(rate_in, rate_out)
    x = np.sin(2 * np.pi * low * t)[:, None].astype(np.float32)
    got = np.concatenate([resampler.push(x), resampler.flush()])[:, 0]
    want = np.sin(2 * np.pi * low * np.arange(got.size) / rate_out)
    inner = slice(got.size // 3, 2 * got.size // 3)
    np.testing.assert_allclose(got[inner], want[inner], atol=5e-3)
    flat = Resampler(rate_in, rate_out)
    constant = np.full((count, 1), 1234.5, np.float32)
    np.testing.assert_allclose(np.concatenate([flat.push(constant), flat.flush()]), 1234.5, rtol=2e-3)


@settings(deadline=None)
@given(st.sampled_from(RATES), st.integers(0, 10**9))
def test_the_grid_of_outputs_does_not_depend_on_where_a_stream_is_joined(
    rates: tuple[int, int], first_index: int
) -> None:
    resampler = Resampler(*rates, first_index=first_index)
    position = resampler.next_index * resampler.down / resampler.up
    assert first_index <= position < first_index + resampler.down / resampler.up


def test_joined_late_it_gives_the_same_outputs() -> None:
    x = np.random.default_rng(1).normal(0, 100, (3000, 1)).astype(np.float32)
    early, late = Resampler(360, 300), Resampler(360, 300, first_index=1001)
    everything = np.concatenate([early.push(x), early.flush()])
    first = late.next_index
    rest = np.concatenate([late.push(x[1001:]), late.flush()])
    assert first + len(rest) == len(everything)
    assert np.array_equal(everything[first + 20 :], rest[20:])  # after the filter's length


@pytest.mark.parametrize(
    ("rates", "want"),
    [
        ((360, 300), (5, 6)),
        ((128, 300), (75, 32)),
        ((300.0, 300.0), (1, 1)),
        ((0.1, 0.3), (3, 1)),
        ((1 / 3, 1), (3, 1)),
        ((4096, 1), (1, 4096)),
    ],
)
def test_ratio(rates: tuple[float, float], want: tuple[int, int]) -> None:
    assert ratio(*rates) == want


@settings(deadline=None)
@given(st.floats(1, 1000), st.floats(1, 1000))
def test_any_ratio_is_met_closely(rate_in: float, rate_out: float) -> None:
    up, down = ratio(rate_in, rate_out)
    assert 1 <= up <= MAX_FACTOR
    assert 1 <= down <= MAX_FACTOR
    assert abs(up / down / (rate_out / rate_in) - 1) < 2.5e-4


@pytest.mark.parametrize(
    "rates", [(0, 1), (1, 0), (-1, 1), (float("nan"), 1), (float("inf"), 1), (1, 5000), (5000, 1)]
)
def test_rates_that_cannot_be(rates: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="Hz"):
        ratio(*rates)


def test_nothing_in_nothing_out() -> None:
    resampler = Resampler(360, 300, channels=2)
    assert resampler.push(np.zeros((0, 2), np.float32)).shape == (0, 2)
    assert resampler.flush().shape == (0, 2)


@settings(deadline=None)
@given(
    st.sampled_from(RATES),
    st.lists(
        st.tuples(st.integers(1, 60), st.sampled_from([0, 0, 0, MISSING, LEAD_OFF])), min_size=1, max_size=20
    ),
    st.integers(0, 1000),
)
def test_marks_follow_their_samples(
    rates: tuple[int, int], runs: list[tuple[int, int]], first_index: int
) -> None:
    marks = np.concatenate([np.full(size, mark, np.uint8) for size, mark in runs])
    values = np.zeros((marks.size, 1), np.float32)
    converter = RateConverter(*rates, channels=1, first_index=first_index)
    start, got = converter.next_index, []
    at = 0
    for size, _ in runs:
        out, out_marks = converter.push(values[at : at + size], marks[at : at + size])
        assert len(out) == len(out_marks)
        got.append(out_marks)
        at += size
    got.append(converter.flush()[1])
    streamed = np.concatenate(got)
    assert converter.next_index == start + streamed.size
    step = converter.down / converter.up
    for index, mark in enumerate(streamed):
        position = (start + index) * step - first_index
        low, high = int(np.floor(position)), int(np.ceil(position))
        around = marks[max(low, 0) : high + 1]
        near = marks[max(int(np.ceil(position - step)), 0) : int(np.floor(position + step)) + 1]
        assert bool(mark) >= bool(around.any())
        assert bool(mark) <= bool(around.any() or near.any())
    if streamed.size:
        # No missing sample goes unnoticed, unless it lies beyond the last output.
        last = (start + streamed.size - 1) * step - first_index
        assert bool(streamed.any()) == bool(marks[: int(np.ceil(last + step))].any())
