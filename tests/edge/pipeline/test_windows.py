"""The windower against a plain reference, and every kind of bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle import InputSpec
from edge.errors import BlockError
from edge.pipeline import Resampler, Windower
from edge.pipeline.windows import MAX_BLOCK_SAMPLES
from edge.types import SampleBlock, Window

SPEC = InputSpec(("ecg",), "uV", 100.0, 20, 5)
T0 = 1_000_000.0


def block(first: int, values: Any, **changes: Any) -> SampleBlock:
    array = np.asarray(values, np.float32)
    array = array[:, None] if array.ndim == 1 else array
    made = SampleBlock("s", "e", first, T0 + first / 100.0, 100.0, ("ecg",), ("uV",), array)
    return replace(made, **changes)


def ramp(first: int, count: int, **changes: Any) -> SampleBlock:
    return block(first, np.arange(first, first + count), **changes)


def same(left: Window, right: Window) -> bool:
    return (
        left.first_index == right.first_index
        and np.array_equal(left.values, right.values)
        and np.array_equal(left.valid, right.valid)
        and (left.missing, left.padded, left.lead_off) == (right.missing, right.padded, right.lead_off)
    )


# The plain way ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 20, 64, 200])
def test_windows_from_sample_0_at_hop(size: int) -> None:
    windower = Windower(SPEC)
    windows = [w for at in range(0, 103, size) for w in windower.push(ramp(at, min(size, 103 - at)))]
    assert [w.first_index for w in windows] == list(range(0, 84, 5))
    for w in windows:
        assert w.values[:, 0].tolist() == list(range(w.first_index, w.first_index + 20))
        assert w.values.dtype == np.float32
        assert w.valid.all()
        assert (w.missing, w.padded, w.crc_errors, w.lead_off) == (0, 0, 0, 0)
        assert w.t0 == pytest.approx(T0 + w.first_index / 100.0, abs=1e-6)
        assert (w.stream, w.epoch, w.rate_hz) == ("s", "e", 100.0)


def test_windows_own_their_memory() -> None:
    windower = Windower(SPEC)
    values = np.arange(25, dtype=np.float32)[:, None]
    first, second = windower.push(block(0, values))
    values[:] = -1
    windower.push(ramp(25, 40))
    assert first.values[:, 0].tolist() == list(range(20))
    assert second.values[:, 0].tolist() == list(range(5, 25))


@st.composite
def broken_streams(draw: st.DrawFn) -> tuple[list[SampleBlock], bool]:
    """Blocks with gaps, overlaps, NaN, lead off, restarts; every value is finite or not by chance."""
    blocks: list[SampleBlock] = []
    at, epoch = draw(st.integers(0, 50)), 0
    for _ in range(draw(st.integers(1, 15))):
        at = max(0, at + draw(st.sampled_from([0, 0, 0, 0, 1, 7, 20, 21, 60, -1, -6, -40])))
        count = draw(st.integers(0, 30))
        values = np.arange(at, at + count, dtype=np.float32) + 1000 * epoch
        bad = draw(st.lists(st.integers(0, 29), max_size=4))
        for index in bad:
            if index < count:
                values[index] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        lead_off = draw(st.sampled_from([False, False, False, True]))
        end = draw(st.sampled_from([False] * 6 + [True]))
        blocks.append(block(at, values, epoch=str(epoch), lead_off=lead_off, end=end))
        at += count
        if draw(st.sampled_from([False] * 6 + [True])):
            epoch += 1
            at = 0
    return blocks, draw(st.booleans())


def reference(blocks: list[SampleBlock], aligned: bool) -> list[Window]:
    """What the windower must do, sample by sample."""
    out: list[Window] = []
    samples: list[tuple[float, int]] = []  # value, mark
    start = emitted = begin = 0
    epoch: str | None = None

    def cut(final: bool) -> None:
        nonlocal start, emitted, samples
        while len(samples) >= 20:
            if start < begin:
                samples, start = samples[begin - start :], begin
                continue
            out.append(make(samples[:20], 0))
            emitted += 1
            samples, start = samples[5:], start + 5
        if final and not emitted and samples:
            out.append(make(samples, 20 - len(samples)))

    def make(part: list[tuple[float, int]], padded: int) -> Window:
        left = padded // 2
        values, valid = np.zeros((20, 1), np.float32), np.zeros(20, bool)
        values[left : left + len(part), 0] = [value for value, _ in part]
        valid[left : left + len(part)] = [mark == 0 for _, mark in part]
        missing = sum(mark != 0 for _, mark in part)
        lead_off = sum(mark == 2 for _, mark in part)
        return Window("s", str(epoch), start, 0.0, 100.0, values, valid, missing, padded, 0, lead_off)

    for b in blocks:
        expected = start + len(samples)
        if epoch is None or b.epoch != epoch or b.first_index - expected > 20:
            samples, emitted, epoch = [], 0, b.epoch if len(b.values) else None
            if not len(b.values):
                continue
            start = expected = b.first_index
            begin = -(-start // 5) * 5 if aligned else start
            last = 0.0
        samples += [(last, 1)] * max(0, b.first_index - expected)
        for index, value in enumerate(b.values[:, 0].tolist(), b.first_index):
            if index < expected:
                continue
            if np.isfinite(value):
                last = value
                samples.append((value, 2 if b.lead_off else 0))
            else:
                samples.append((last, 1))
        cut(b.end)
        if b.end:
            epoch = None
    return out


@settings(max_examples=400, deadline=None)
@given(broken_streams())
def test_broken_streams_give_what_the_reference_gives(case: tuple[list[SampleBlock], bool]) -> None:
    blocks, aligned = case
    windower = Windower(SPEC, aligned=aligned)
    got = [w for b in blocks for w in windower.push(b)]
    want = reference(blocks, aligned)
    assert len(got) == len(want)
    assert all(same(g, w) and g.epoch == w.epoch for g, w in zip(got, want, strict=True))
    assert all(np.isfinite(w.values).all() and np.isfinite(w.t0) for w in got)
    assert windower.counters.windows == len(got)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=30), st.sampled_from([80.0, 100.0, 125.0, 250.0]))
def test_block_sizes_do_not_matter_at_any_rate(sizes: list[int], rate_hz: float) -> None:
    x = np.random.default_rng(0).normal(800, 50, (sum(sizes), 1)).astype(np.float32)
    whole = Windower(SPEC).push(block(0, x, rate_hz=rate_hz, end=True))
    windower, got, at = Windower(SPEC), [], 0
    for size in sizes:
        t0, end = T0 + at / rate_hz, at + size == len(x)
        got += windower.push(block(at, x[at : at + size], rate_hz=rate_hz, t0=t0, end=end))
        at += size
    assert len(got) == len(whole)
    assert all(same(g, w) for g, w in zip(got, whole, strict=True))
    assert [w.t0 for w in got] == pytest.approx([w.t0 for w in whole], abs=1e-6)


# Ends and padding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "left"), [(1, 9), (7, 6), (19, 0), (20, 0), (12, 4)])
def test_a_short_record_is_padded_in_the_middle(count: int, left: int) -> None:
    windower = Windower(SPEC)
    (window,) = windower.push(block(0, np.full(count, 7.0), end=True))
    assert window.values[:, 0].tolist() == [0.0] * left + [7.0] * count + [0.0] * (20 - left - count)
    assert window.valid.tolist() == [False] * left + [True] * count + [False] * (20 - left - count)
    assert (window.padded, window.missing, window.first_index, window.t0) == (20 - count, 0, 0, T0)


def test_the_end_may_come_alone() -> None:
    windower = Windower(SPEC)
    assert windower.push(ramp(0, 8)) == []
    (window,) = windower.push(ramp(8, 0, end=True))
    assert window.padded == 12
    assert windower.push(ramp(8, 0, end=True)) == []


def test_a_tail_shorter_than_a_hop_gives_no_more() -> None:
    assert len(Windower(SPEC).push(ramp(0, 24, end=True))) == 1
    assert len(Windower(SPEC).push(ramp(0, 25, end=True))) == 2


def test_a_live_stream_waits_and_flush_ends_it() -> None:
    windower = Windower(SPEC)
    assert windower.push(ramp(0, 19)) == []
    (window,) = windower.flush()
    assert window.padded == 1
    assert windower.flush() == []


def test_the_end_of_a_resampled_record_keeps_the_filters_tail() -> None:
    x = np.random.default_rng(0).normal(0, 50, (200, 1)).astype(np.float32)
    resampler = Resampler(250.0, 100.0)
    whole = np.concatenate([resampler.push(x), resampler.flush()])
    assert whole.shape == (80, 1)
    windows = Windower(SPEC).push(block(0, x, rate_hz=250.0, end=True))
    assert len(windows) == 13
    assert np.array_equal(windows[-1].values, whole[60:])
    (short,) = Windower(SPEC).push(block(0, x[:30], rate_hz=250.0, end=True))
    assert (short.padded, short.t0) == (8, T0)


def test_records_one_after_the_other() -> None:
    windower = Windower(SPEC)
    first = windower.push(ramp(0, 10, end=True))
    second = windower.push(ramp(0, 10, end=True, epoch="f"))
    third = windower.push(ramp(0, 20, epoch="f"))
    assert [w.epoch for w in first + second + third] == ["e", "f", "f"]
    assert [w.padded for w in first + second + third] == [10, 10, 0]


def test_tiny_windows_may_be_completed_by_the_filters_tail() -> None:
    spec = replace(SPEC, window_samples=2, hop_samples=1)
    windows = Windower(spec).push(ramp(0, 100, rate_hz=200.0, end=True))
    assert [w.first_index for w in windows] == list(range(49))
    assert [w.t0 for w in windows] == pytest.approx([T0 + i / 100.0 for i in range(49)])


# Gaps, late samples, what is no number ------------------------------------------------------------------------


def test_a_gap_is_held_marked_and_counted() -> None:
    windower = Windower(SPEC)
    windower.push(ramp(0, 10))
    (window,) = windower.push(ramp(14, 6))
    assert window.values[:, 0].tolist() == [*range(10), 9, 9, 9, 9, *range(14, 20)]
    assert window.valid.tolist() == [True] * 10 + [False] * 4 + [True] * 6
    assert window.missing == 4
    assert (windower.counters.gaps, windower.counters.missing) == (1, 4)


def test_a_gap_longer_than_the_window_begins_anew() -> None:
    windower = Windower(SPEC)
    windower.push(ramp(0, 15))
    (window,) = windower.push(ramp(36, 20))
    assert (window.first_index, window.missing) == (36, 0)
    assert (windower.counters.segments, windower.counters.missing) == (2, 21)
    bridged = Windower(SPEC)
    bridged.push(ramp(0, 15))
    assert bridged.push(ramp(35, 20))[0].first_index == 0


def test_late_and_doubled_samples_are_dropped_and_counted() -> None:
    windower = Windower(SPEC)
    windower.push(ramp(0, 15))
    assert windower.push(ramp(0, 15)) == []
    (window,) = windower.push(ramp(10, 10))
    assert window.values[:, 0].tolist() == list(range(20))
    assert windower.counters.late == 20


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_missing(bad: float) -> None:
    values = np.arange(20.0)
    values[[0, 1, 7]] = bad
    windower = Windower(SPEC)
    (window,) = windower.push(block(0, values))
    assert window.values[:, 0].tolist() == [0, 0, *range(2, 7), 6, *range(8, 20)]
    assert window.missing == 3
    assert windower.counters.not_finite == 3


def test_one_bad_channel_makes_the_sample_bad() -> None:
    spec = InputSpec(("a", "b"), "1", 100.0, 4, 4)
    values = np.array([[1, 2], [np.nan, 3], [4, 5], [6, 7]], np.float32)
    changes = {"channels": ("a", "b"), "units": ("1", "1")}
    (window,) = Windower(spec).push(block(0, values, **changes))
    assert window.values.tolist() == [[1, 2], [1, 2], [4, 5], [6, 7]]
    assert window.valid.tolist() == [True, False, True, True]


def test_too_large_for_float32_after_scaling_is_missing() -> None:
    values = np.full(20, 1.0)
    values[3] = 3e38
    with np.errstate(over="ignore"):
        (window,) = Windower(SPEC).push(block(0, values, units=("mV",)))
    assert window.missing == 1
    assert set(window.values[:, 0].tolist()) == {1000.0}


def test_lead_off_counts_as_missing() -> None:
    windower = Windower(SPEC)
    windower.push(ramp(0, 12, lead_off=True))
    (window,) = windower.push(ramp(12, 8))
    assert (window.missing, window.lead_off) == (12, 12)
    assert windower.counters.lead_off == 12


def test_crc_errors_belong_to_the_windows_they_fall_in() -> None:
    windower = Windower(SPEC)
    windower.push(ramp(0, 4, crc_errors=2))
    windower.push(ramp(4, 10, crc_errors=1))
    windows = windower.push(ramp(14, 20, crc_errors=5))
    assert [(w.first_index, w.crc_errors) for w in windows] == [(0, 8), (5, 5), (10, 5)]
    later = [w for at in range(34, 1034) for w in windower.push(ramp(at, 1, crc_errors=1))]
    assert later[-1].crc_errors == 20


def test_many_crc_errors_take_no_more_memory_and_none_is_forgotten() -> None:
    spec = replace(SPEC, window_samples=1000, hop_samples=1000)
    windower = Windower(spec)
    windows = [w for at in range(2000) for w in windower.push(ramp(at, 1, crc_errors=1))]
    assert [w.crc_errors for w in windows] == [1000, 1000]


def test_constant_and_saturated_samples_pass_through() -> None:
    for value in (0.0, 32767.0, -32768.0):
        (window,) = Windower(SPEC).push(block(0, np.full(20, value)))
        assert window.missing == 0
        assert (window.values == value).all()


# Changes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{"rate_hz": 200.0}, {"epoch": "f"}, {"channels": ("ECG",)}, {"units": ("mV",)}, {"stream": "other"}],
)
def test_a_change_begins_a_new_segment(changes: dict[str, Any]) -> None:
    windower = Windower(SPEC)
    windower.push(ramp(0, 15))
    windower.push(ramp(15, 15, **changes))
    assert windower.counters.segments == 2
    assert windower.counters.windows == 0


def test_aligned_windows_do_not_depend_on_the_join() -> None:
    early, late = Windower(SPEC, aligned=True), Windower(SPEC, aligned=True)
    all_windows = early.push(ramp(0, 100))
    some = late.push(ramp(33, 67))
    assert [w.first_index for w in some] == list(range(35, 85, 5))
    assert all(same(a, b) for a, b in zip(all_windows[7:], some, strict=True))
    assert [w.t0 for w in some] == pytest.approx([T0 + w.first_index / 100 for w in some])


def test_aligned_short_records_start_at_their_first_sample() -> None:
    (window,) = Windower(SPEC, aligned=True).push(ramp(33, 7, end=True))
    assert (window.first_index, window.padded) == (33, 13)
    assert window.t0 == pytest.approx(T0 + 0.33)
    (dropped,) = Windower(SPEC, aligned=True).push(ramp(33, 21, end=True))
    assert (dropped.first_index, dropped.padded) == (35, 1)
    assert dropped.t0 == pytest.approx(T0 + 0.35)


def test_long_counts_stay_exact() -> None:
    first = (1 << 62) - 7
    windows = Windower(SPEC).push(block(first, np.arange(25), t0=T0))
    assert [w.first_index for w in windows] == [first, first + 5]
    assert [w.t0 for w in windows] == pytest.approx([T0, T0 + 0.05])
    resampled = Windower(SPEC).push(block(first, np.arange(300), t0=T0, rate_hz=360.0))
    assert resampled[1].first_index - resampled[0].first_index == 5


# Refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"values": np.zeros(20, np.float32)}, "values have shape"),
        ({"values": np.zeros((20, 2), np.float32)}, "values have shape"),
        ({"rate_hz": 0.0}, "rate is 0"),
        ({"rate_hz": float("nan")}, "rate is nan"),
        ({"rate_hz": 1e9}, "rate is"),
        ({"rate_hz": 1e-9}, "Hz|the limit is"),
        ({"rate_hz": 1e6}, "more than a factor"),
        ({"first_index": -1}, "has number -1"),
        ({"first_index": 1 << 63}, "has number"),
        ({"t0": float("nan")}, "time of the first sample is nan"),
        ({"t0": -1.0}, "time of the first sample"),
        ({"t0": 1e300}, "time of the first sample"),
        ({"channels": ("temp",)}, "has channels 'temp'"),
        ({"units": ("degC",)}, "'degC' cannot be turned into 'uV'"),
        ({"values": np.zeros((MAX_BLOCK_SAMPLES + 1, 1), np.float32)}, "send it in smaller pieces"),
    ],
)
def test_refused_blocks_change_nothing(changes: dict[str, Any], match: str) -> None:
    windower = Windower(SPEC)
    windower.push(ramp(0, 15))
    with pytest.raises(BlockError, match=match) as caught:
        windower.push(replace(ramp(15, 20), **changes))
    assert caught.value.stream == "s"
    (window,) = windower.push(ramp(15, 5))
    assert window.missing == 0
    assert windower.counters.segments == 1


def test_a_tiny_hop_cannot_ask_for_gigabytes() -> None:
    spec = InputSpec(("ecg",), "uV", 300.0, 90_000, 1)
    windower = Windower(spec)
    assert windower.max_block_samples == (1 << 27) // (90_000 * 5)
    with pytest.raises(BlockError, match="the limit is 298"):
        windower.push(block(0, np.zeros(299), rate_hz=300.0))
