"""Device time against known truth, with drift and jitter."""

from __future__ import annotations

import random

import pytest

from firmware_bridge.clock import MAX_BINS, DeviceClock


def simulate(seed: int, seconds: float, drift: float, jitter: str) -> tuple[DeviceClock, list[float]]:
    """Blocks of 32 samples at 300 Hz; returns the clock and its errors in seconds."""
    draw = random.Random(seed)
    clock = DeviceClock()
    start_us = draw.randrange(1 << 32)
    errors = []
    for number in range(int(seconds * 300 / 32)):
        true_s = 1000.0 + (number * 32 + 31) / 300
        device_us = (start_us + round((true_s - 1000) * 1e6 * (1 + drift))) % (1 << 32)
        late_s = {
            "usb": draw.random() * 0.010,
            "polling": draw.choice([0.0, 0.010]) + draw.random() * 0.001,
            "busy": min(draw.expovariate(1 / 0.005), 0.2),
        }[jitter]
        unwrapped = clock.unwrap(device_us)
        clock.observe(unwrapped, true_s + late_s)
        errors.append(clock.gateway_s(unwrapped) - true_s)
    return clock, errors


@pytest.mark.parametrize("jitter", ["usb", "polling", "busy"])
@pytest.mark.parametrize("drift", [50e-6, -50e-6])
def test_within_two_milliseconds_after_a_minute(jitter: str, drift: float):
    for seed in range(8):
        clock, errors = simulate(seed, 75, drift, jitter)
        after_a_minute = errors[int(60 * 300 / 32) :]
        assert max(map(abs, after_a_minute)) < 2e-3
        assert clock.drift_ppm == pytest.approx(drift * 1e6, abs=15)


def test_time_wraps():
    clock = DeviceClock()
    assert clock.unwrap((1 << 32) - 10) == (1 << 32) - 10
    assert clock.unwrap(5) == (1 << 32) + 5
    assert clock.unwrap((1 << 32) - 3) == (1 << 32) - 3  # a late frame from before
    assert clock.unwrap(1 << 31) == (1 << 32) + (1 << 31)


def test_from_the_first_frame_on_there_is_a_time():
    clock = DeviceClock(wire_s=0.007)
    clock.observe(clock.unwrap(500), 10.0)
    assert clock.gateway_s(500) == pytest.approx(9.993)
    assert clock.gateway_s(1_000_500) == pytest.approx(10.993)
    assert clock.drift_ppm == 0


def test_a_device_at_another_speed_is_followed_without_drift():
    # A simulator at ten times real time; no crystal is like that.
    clock = DeviceClock()
    for number in range(200):
        clock.observe(number * 100_000, number * 0.01)
    assert clock.drift_ppm == 0
    assert clock.gateway_s(199 * 100_000) <= 1.99


def test_memory_is_bounded():
    clock = DeviceClock()
    for number in range(5 * MAX_BINS):
        clock.observe(number * 1_000_000, number * 1.0 + 0.001 * (number % 7))
    assert len(clock._bins) <= MAX_BINS
    assert clock.span_s < MAX_BINS
