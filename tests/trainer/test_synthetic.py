"""Synthetic ECG: the three rhythms differ in the ways that a reader of ECG would name."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.data import synthetic
from trainer.errors import DataError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def r_peaks(signal: np.ndarray) -> np.ndarray:
    """Indices of R peaks: the largest value of each run above half of the tallest."""
    above = np.flatnonzero(signal > 0.5 * signal.max())
    runs = np.split(above, np.flatnonzero(np.diff(above) > 30) + 1)
    return np.array([run[np.argmax(signal[run])] for run in runs])


def variation(rhythm: str) -> float:
    rr = np.diff(r_peaks(synthetic.record(rhythm, 60, rng())[:, 0]))
    return float(rr.std() / rr.mean())


def test_same_seed_gives_the_same_numbers_and_another_seed_others():
    first, again, other = (synthetic.record("af", 10, rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (3000, 1)
    assert first.dtype == np.float32


def test_fibrillation_is_irregular_and_sinus_rhythm_is_not():
    assert 0.005 < variation("normal") < 0.09
    assert variation("af") > 0.15


def test_heart_rate_is_the_one_asked_for():
    heart = synthetic.Heart(rate_bpm=60.0)
    peaks = r_peaks(synthetic.record("normal", 60, rng(), heart)[:, 0])
    assert len(peaks) == pytest.approx(60, abs=3)


def test_p_wave_is_there_in_sinus_rhythm_and_missing_in_fibrillation():
    quiet = synthetic.Heart(noise_uv=0.0, wander_uv=0.0)

    def before_qrs(rhythm: str) -> float:
        """Mean of the beats where P stands, above their mean just before it, uV."""
        signal = synthetic.record(rhythm, 120, rng(3), quiet)[:, 0]
        beats = [signal[p - 90 : p] for p in r_peaks(signal) if p > 90]
        mean = np.mean(beats, axis=0)
        return float(mean[35:46].mean() - mean[8:18].mean())

    assert before_qrs("normal") > 40
    assert abs(before_qrs("af")) < 30


def test_sizes_are_those_of_hand_held_records():
    spread = [synthetic.record(r, 30, rng(5)).std() for r in synthetic.RHYTHMS]
    assert 80 < spread[0] < 350
    assert 80 < spread[1] < 350
    assert spread[2] > 2 * spread[0]


def test_nothing_is_left_outside_the_recorders_band():
    signal = synthetic.record("af", 60, rng(4))[:, 0]
    power = np.abs(np.fft.rfft(signal)) ** 2
    frequency = np.fft.rfftfreq(len(signal), 1 / synthetic.RATE_HZ)
    outside = power[(frequency < 0.2) | (frequency > 60)].sum() / power.sum()
    assert outside < 1e-3


def test_load_gives_labelled_records_of_each_rhythm():
    data = synthetic.load(2, seconds=5)
    assert len(data) == 6
    assert [data.spec.labels[i] for i in data.y] == list(synthetic.RHYTHMS) * 2
    assert data.names[2] == "synthetic-noise-000"
    assert all(np.isfinite(signal).all() for signal in data.signals)


def test_a_mistake_is_named():
    with pytest.raises(DataError, match=r"tachycardia.*choose one of normal, af, noise"):
        synthetic.record("tachycardia", 10, rng())
    with pytest.raises(DataError, match=r"0\.5 s is too short"):
        synthetic.record("normal", 0.5, rng())
