"""Golden windows: synthetic, because real records are not committed, and what the file answers to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge.bundle import preprocess
from edge.bundle.preprocess import Step
from trainer.data.base import DataSpec

COUNT = 4


def windows(spec: DataSpec, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """``COUNT`` windows (m, time, channel) float32 in raw units and valid (m, time); the last one padded.

    ECG in microvolts comes from the synthetic generator, anything else is a smooth random walk of unit spread.
    """
    rng = np.random.default_rng(seed)
    n, channels = spec.window_samples, len(spec.channels)
    x = np.zeros((COUNT, n, channels), np.float32)
    valid = np.ones((COUNT, n), bool)
    for i in range(COUNT):
        for channel in range(channels):
            x[i, :, channel] = _ecg(spec, i, rng) if spec.units == "uV" else _walk(n, rng)
    quarter = n // 8
    valid[-1, :quarter] = valid[-1, n - quarter :] = False
    x[~valid] = 0.0
    # whole numbers in microvolts, as an ADC gives them, and thousandths elsewhere
    return np.round(x, 0 if spec.units == "uV" else 3).astype(np.float32), valid


def _walk(n: int, rng: np.random.Generator) -> np.ndarray:
    walk = np.cumsum(rng.standard_normal(n))
    kernel = np.hanning(9)
    smooth = np.convolve(walk, kernel / kernel.sum(), mode="same")
    return (smooth - smooth.mean()) / (smooth.std() + 1e-9)


def _ecg(spec: DataSpec, i: int, rng: np.random.Generator) -> np.ndarray:
    from trainer.data import synthetic

    # its rate may not be this model's: a golden window needs to look alive, not to beat at the right rate
    seconds = spec.window_samples / synthetic.RATE_HZ + 1.0
    signal = synthetic.record(synthetic.RHYTHMS[i % len(synthetic.RHYTHMS)], seconds, rng)
    return np.asarray(signal, np.float32).reshape(-1)[: spec.window_samples]


def answers(
    run: Callable[[np.ndarray], dict[str, np.ndarray]],
    steps: Sequence[Step],
    x: np.ndarray,
    valid: np.ndarray,
) -> dict[str, np.ndarray]:
    """Outputs by name (m, ...) float32 of ``run(x float32 (1, n, channel)) -> dict`` on preprocessed windows."""
    rows = [run(preprocess.apply(steps, x[i], valid[i])[None]) for i in range(len(x))]
    return {name: np.concatenate([row[name] for row in rows]).astype(np.float32) for name in rows[0]}


def value_step(values: np.ndarray) -> float:
    """The smallest distance between two different values: the int8 step of a dequantized tensor."""
    distinct = np.unique(values)
    gaps = np.diff(distinct)
    gaps = gaps[gaps > 1e-6 * max(1e-9, float(np.abs(distinct).max()))]
    return float(gaps.min()) if len(gaps) else 0.0
