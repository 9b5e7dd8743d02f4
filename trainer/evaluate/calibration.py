"""Whether a probability is what it says: temperature, reliability bins, expected calibration error.

Source: C. Guo, G. Pleiss, Y. Sun and K. Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.evaluate.intervals import wilson

BINS = 10
RESAMPLES = 1000
# Beyond these a temperature says that the logits carry nothing, not that they need scaling.
COLDEST, HOTTEST = 0.05, 20.0


@dataclass(frozen=True)
class Bin:
    """``n`` answers whose score is in (low, high]: their mean score, and the share of right ones with its interval."""

    low: float
    high: float
    n: int
    score: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def reliability(score: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Bins of equal width that hold an answer; ``score`` (n,) of 0 to 1, ``right`` (n,) bool."""
    found = []
    at = _bin(score, bins)
    for k in range(bins):
        inside = at == k
        n = int(inside.sum())
        if n:
            hits = int(right[inside].sum())
            found.append(Bin(k / bins, (k + 1) / bins, n, float(score[inside].mean()), hits / n, *wilson(hits, n)))
    return found


def calibration_error(score: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Mean distance between score and accuracy over the bins, weighed by their answers."""
    sums = np.bincount(_bin(score, bins), weights=score - right, minlength=bins)
    return float(np.abs(sums).sum() / len(score))


def error_interval(score: np.ndarray, right: np.ndarray, seed: int = 0, bins: int = BINS) -> tuple[float, float]:
    """95 % of ``RESAMPLES`` bootstrap samples of the records (it leans upwards, as the error itself does)."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(score), (RESAMPLES, len(score)))
    errors = [calibration_error(score[row], right[row], bins) for row in rows]
    low, high = np.quantile(errors, (0.025, 0.975))
    return float(low), float(high)


def likelihood_loss(logits: np.ndarray, y: np.ndarray, temperature: float = 1.0) -> float:
    """Mean of -log of the true class's probability; ``logits`` (n, class), ``y`` (n,)."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(y)), y]).mean())


def fit_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """What to divide ``logits`` (n, class) by for the least loss on ``y`` (n,); 1.0 of no records.

    The loss has one valley in 1 / temperature: golden-section search over its logarithm finds it.
    """
    if not len(y):
        return 1.0
    low, high = np.log(COLDEST), np.log(HOTTEST)
    shrink = (np.sqrt(5.0) - 1) / 2
    for _ in range(60):
        left, right = high - shrink * (high - low), low + shrink * (high - low)
        if likelihood_loss(logits, y, float(np.exp(left))) <= likelihood_loss(logits, y, float(np.exp(right))):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def _bin(score: np.ndarray, bins: int) -> np.ndarray:
    return np.clip(np.ceil(score * bins).astype(np.int64) - 1, 0, bins - 1)
