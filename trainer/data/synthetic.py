"""Synthetic single-lead ECG: sinus rhythm, atrial fibrillation, unreadable noise; numpy, explicit generator.

In the manner of ECGSYN (P. E. McSharry, G. D. Clifford, L. Tarassenko, L. A. Smith, "A dynamical model for
generating synthetic electrocardiogram signals", IEEE Trans. Biomed. Eng. 50(3), 2003): a beat is a sum of
Gaussians P, Q, R, S, T, and the RR series has the two-peaked spectrum of heart-rate variability. Differences:

* the Gaussians are placed in time, not in phase, and summed directly instead of integrating the three
  differential equations: QRS keeps its width at any rate, and the T wave follows Bazett's square root of RR;
* T is made of two Gaussians (slow rise, quicker fall), and each beat varies a little in size;
* atrial fibrillation has no P wave, independent RR intervals and f waves in the manner of M. Stridh and
  L. Sörnmo, "Spatiotemporal QRST cancellation techniques for analysis of atrial fibrillation", 2001 (a
  sawtooth of a fundamental and harmonics whose frequency and size are slowly modulated).

All amplitudes are microvolts. Signals come through a 0.5 to 40 Hz band, as from a hand-held recorder, and sit
near the sizes of the CinC 2017 records (sinus: standard deviation about 170 uV, R near 800 uV).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trainer.data.base import Dataset, DataSpec
from trainer.errors import DataError

RATE_HZ = 300.0
RHYTHMS = ("normal", "af", "noise")
# The four classes of CinC 2017 in its order, so that a model of that data reads these records unchanged.
SPEC = DataSpec("synthetic-ecg", ("normal", "af", "other", "noise"), "uV", RATE_HZ, 9000, ("ecg",))


@dataclass(frozen=True)
class Wave:
    """One Gaussian of a beat: centre after the R peak and standard deviation in s, height in uV."""

    centre_s: float
    width_s: float
    height_uv: float


@dataclass(frozen=True)
class Heart:
    """What one synthetic person looks like. ``hrv`` is the RR standard deviation as a share of the mean."""

    rate_bpm: float = 68.0
    hrv: float = 0.04
    breaths_per_min: float = 15.0
    gain: float = 1.0
    t_gain: float = 1.0
    p_gain: float = 1.0
    noise_uv: float = 6.0
    wander_uv: float = 40.0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Heart:
        """A person at random, within the ranges of resting adults."""
        return cls(
            rate_bpm=float(rng.uniform(55, 92)),
            hrv=float(rng.uniform(0.02, 0.06)),
            breaths_per_min=float(rng.uniform(11, 19)),
            gain=float(np.exp(rng.normal(0.0, 0.25))),
            t_gain=float(rng.uniform(0.6, 1.4)),
            p_gain=float(rng.uniform(0.7, 1.3)),
            noise_uv=float(rng.uniform(3, 12)),
            wander_uv=float(rng.uniform(15, 70)),
        )


P = Wave(-0.165, 0.024, 95.0)
QRS = (Wave(-0.034, 0.009, -90.0), Wave(0.0, 0.0115, 1000.0), Wave(0.031, 0.0105, -190.0))
T = (Wave(0.235, 0.048, 130.0), Wave(0.285, 0.032, 120.0))  # at RR = 1 s


def rr_sinus(seconds: float, heart: Heart, rng: np.random.Generator) -> np.ndarray:
    """RR intervals in s that cover ``seconds``: peaks at 0.1 Hz and at breathing, power ratio 0.5."""
    mean = 60.0 / heart.rate_bpm
    grid_hz, n = 4.0, int(2 ** np.ceil(np.log2(max(seconds * 1.2, 30.0) * 4.0)))
    frequency = np.fft.rfftfreq(n, 1.0 / grid_hz)
    breathing = heart.breaths_per_min / 60.0
    power = 0.5 * np.exp(-0.5 * ((frequency - 0.1) / 0.01) ** 2) + np.exp(
        -0.5 * ((frequency - breathing) / 0.01) ** 2
    )
    power += 0.02 / np.maximum(frequency, 1.0 / 60.0) * (frequency < 0.5) * 0.05
    power[0] = 0.0
    phase = rng.uniform(0.0, 2.0 * np.pi, len(frequency))
    series = np.fft.irfft(np.sqrt(power) * np.exp(1j * phase), n)
    series = mean * (1.0 + heart.hrv * series / series.std())
    intervals: list[float] = []
    elapsed = 0.0
    while elapsed < seconds:
        interval = float(max(series[int(elapsed * grid_hz) % n], 0.35))
        intervals.append(interval)
        elapsed += interval
    return np.asarray(intervals)


def rr_fibrillation(seconds: float, heart: Heart, rng: np.random.Generator) -> np.ndarray:
    """RR intervals in s of atrial fibrillation: independent, skewed, never below 0.3 s (refractory node)."""
    mean = 0.78 * 60.0 / heart.rate_bpm
    count = int(seconds / 0.3) + 2
    intervals = 0.3 + (mean - 0.3) * rng.gamma(3.2, 1.0 / 3.2, count)
    return np.asarray(intervals[: int(np.searchsorted(np.cumsum(intervals), seconds)) + 1])


def beats(n: int, rr: np.ndarray, heart: Heart, rng: np.random.Generator, *, p_wave: bool) -> np.ndarray:
    """The sum of all beats: (n,) float64 in uV at ``RATE_HZ``; ``rr`` (beat,) in s."""
    signal = np.zeros(n)
    peaks = np.cumsum(rr) - rr[0] * rng.uniform(0.2, 1.0)
    for peak, before in zip(peaks, rr, strict=True):
        stretch = np.sqrt(np.clip(before, 0.35, 1.3))
        size = heart.gain * (1.0 + 0.04 * rng.standard_normal())
        waves = [replace(wave, height_uv=wave.height_uv * size) for wave in QRS]
        waves += [
            Wave(t.centre_s * stretch, t.width_s * stretch, t.height_uv * heart.t_gain * size) for t in T
        ]
        if p_wave:
            waves.append(replace(P, height_uv=P.height_uv * heart.p_gain * size))
        first = max(0, int((peak - 0.4) * RATE_HZ))
        last = min(n, int((peak + 0.7) * RATE_HZ))
        if first >= last:
            continue
        t = np.arange(first, last) / RATE_HZ - peak
        for wave in waves:
            signal[first:last] += wave.height_uv * np.exp(-0.5 * ((t - wave.centre_s) / wave.width_s) ** 2)
    return signal


def f_waves(n: int, rng: np.random.Generator, *, height_uv: float = 45.0) -> np.ndarray:
    """Fibrillatory waves, (n,) in uV: a sawtooth at 5 to 8 Hz, slowly modulated in frequency and size."""
    t = np.arange(n) / RATE_HZ
    centre, deviation = rng.uniform(5.0, 7.5), rng.uniform(0.2, 0.5)
    drift = 2.0 * np.pi * rng.uniform(0.08, 0.25)
    phase = 2.0 * np.pi * centre * t + deviation / drift * 2.0 * np.pi * np.sin(
        drift * t + rng.uniform(0, 6.28)
    )
    size = height_uv * (1.0 + 0.4 * np.sin(2.0 * np.pi * rng.uniform(0.05, 0.2) * t + rng.uniform(0, 6.28)))
    return np.asarray(size * sum(np.sin(k * phase) / k for k in range(1, 5)) / 1.5)


def coloured(n: int, low_hz: float, high_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of unit standard deviation between two frequencies, (n,)."""
    noise = band(rng.standard_normal(n), low_hz, high_hz)
    return np.asarray(noise / max(float(noise.std()), 1e-12))


def band(signal: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """Zero-phase band-pass of the whole signal by its spectrum, fourth-order Butterworth magnitude."""
    frequency = np.fft.rfftfreq(len(signal), 1.0 / RATE_HZ)
    high_pass = 1.0 / np.sqrt(1.0 + (low_hz / np.maximum(frequency, 1e-9)) ** 8)
    low_pass = 1.0 / np.sqrt(1.0 + (frequency / high_hz) ** 8)
    return np.asarray(np.fft.irfft(np.fft.rfft(signal) * high_pass * low_pass, len(signal)))


def motion(n: int, rng: np.random.Generator, *, per_minute: float, height_uv: float) -> np.ndarray:
    """Electrode motion, (n,) in uV: steps that relax within a second, and rubbing in bursts."""
    signal = np.zeros(n)
    for start in rng.uniform(0, n, rng.poisson(per_minute * n / RATE_HZ / 60.0)).astype(int):
        t = np.arange(n - start) / RATE_HZ
        signal[start:] += rng.normal(0.0, height_uv) * np.exp(-t / rng.uniform(0.15, 0.9))
        stop = min(n, start + int(rng.uniform(0.5, 4.0) * RATE_HZ))
        if stop - start > 30:
            burst = coloured(stop - start, 1.0, 14.0, rng) * np.hanning(stop - start)
            signal[start:stop] += 0.7 * height_uv * abs(rng.normal()) * burst
    return signal


def background(n: int, heart: Heart, rng: np.random.Generator) -> np.ndarray:
    """What every record has, (n,) in uV: breathing wander, a little muscle noise, a rare small movement."""
    t = np.arange(n) / RATE_HZ
    breath = np.sin(2.0 * np.pi * heart.breaths_per_min / 60.0 * t + rng.uniform(0, 6.28))
    wander = heart.wander_uv * (0.5 * breath + coloured(n, 0.05, 0.6, rng))
    return np.asarray(wander + heart.noise_uv * coloured(n, 15.0, 40.0, rng))


def record(rhythm: str, seconds: float, rng: np.random.Generator, heart: Heart | None = None) -> np.ndarray:
    """One record: (time, 1) float32 in uV at 300 Hz.

    Args:
        rhythm: one of ``RHYTHMS``.
        heart: the person; drawn from ``rng`` when None.

    Raises:
        DataError: an unknown rhythm, or a length below one second.
    """
    if rhythm not in RHYTHMS:
        raise DataError(f"unknown rhythm {rhythm!r}; choose one of {', '.join(RHYTHMS)}")
    if seconds < 1.0:
        raise DataError(f"a record of {seconds} s is too short; give at least 1 s")
    person = heart or Heart.draw(rng)
    n = round(seconds * RATE_HZ)
    if rhythm == "normal":
        signal = beats(n, rr_sinus(seconds + 2, person, rng), person, rng, p_wave=True)
        signal += background(n, person, rng)
    elif rhythm == "af":
        signal = beats(n, rr_fibrillation(seconds + 2, person, rng), person, rng, p_wave=False)
        signal += f_waves(n, rng, height_uv=45.0 * person.gain) + background(n, person, rng)
    else:
        faint = replace(person, gain=0.25 * person.gain, wander_uv=200.0, noise_uv=60.0)
        signal = beats(n, rr_sinus(seconds + 2, faint, rng), faint, rng, p_wave=False)
        signal += background(n, faint, rng) + motion(n, rng, per_minute=70.0, height_uv=700.0)
    return band(signal, 0.5, 40.0).astype(np.float32)[:, None]


def load(records_per_class: int = 20, *, seconds: float = 30.0, seed: int = 0) -> Dataset:
    """As many records of each rhythm, named ``synthetic-RHYTHM-NNN``; same seed, same numbers."""
    signals: list[np.ndarray] = []
    names: list[str] = []
    y: list[int] = []
    for number in range(records_per_class):
        for rhythm in RHYTHMS:
            rng = np.random.default_rng([seed, number, RHYTHMS.index(rhythm)])
            signals.append(record(rhythm, seconds, rng))
            names.append(f"synthetic-{rhythm}-{number:03d}")
            y.append(SPEC.labels.index(rhythm))
    return Dataset(signals, np.asarray(y, np.int64), tuple(names), SPEC)
