"""Refusing what is no series: residual, disagreement and confidence together (paper 1, section 3.4 and Fig. 6).

Three numbers of an answer: the residual (how far the encode-decode's reconstruction lies from the series, RMS), the
disagreement (total variation between the answer to the reconstruction and the answer to the raw series) and the
confidence (largest probability). A series is refused when its residual lies outside the clean ones' on either side
(white noise is rebuilt worse than a series, a constant better), its disagreement is too high or its confidence is too
low. One share of clean series lost, split evenly over the four sides, sets all thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS = ("white", "coloured", "constant", "zeros")
CONSTANT_REACH = 3.0  # deviations


@dataclass(frozen=True)
class Traits:
    """``residual``, ``disagreement`` and ``confidence`` of n answers, (n,) each."""

    residual: np.ndarray
    disagreement: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.residual)

    def take(self, rows: np.ndarray) -> Traits:
        return Traits(self.residual[rows], self.disagreement[rows], self.confidence[rows])

    def columns(self) -> np.ndarray:
        """(n, 4) numbers of which a high one is suspicious: log residual, minus it, disagreement, minus confidence."""
        size = np.log(np.maximum(self.residual, 1e-9))
        return np.stack([size, -size, self.disagreement, -self.confidence], axis=1)


@dataclass(frozen=True)
class Point:
    """An operating point: (4,) thresholds above which one of the columns refuses."""

    thresholds: np.ndarray

    def refuses(self, columns: np.ndarray) -> np.ndarray:
        return np.asarray((columns > self.thresholds).any(axis=1))


def operating_point(columns: np.ndarray, share: float) -> Point:
    """The tightest thresholds that refuse at most ``share`` of the clean ``columns`` (n, 4).

    Each side gets the same rank from above; the rank is raised as long as the union stays within the share, since the
    four refuse partly the same series. With few series this may be no refusal at all.
    """
    ordered = np.sort(columns, axis=0)[::-1]
    best = Point(ordered[0])
    for rank in range(1, len(ordered)):
        point = Point(ordered[rank])
        if point.refuses(columns).mean() > share:
            break
        best = point
    return best


def standardised(columns: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """``columns`` in units of the ``clean`` ones' spread around their median, so that datasets can be pooled."""
    middle = np.median(clean, axis=0)
    spread = np.quantile(clean, 0.9, axis=0) - middle
    return np.asarray((columns - middle) / np.maximum(spread, 1e-3))


def noise(kind: str, n: int, time: int, rng: np.random.Generator) -> np.ndarray:
    """(n, time, 1) of what carries no information; all but constants and zeros are z-normalised as series are.

    ``coloured`` is noise whose power falls as 1 / f^a, a uniform in [0.5, 2].
    """
    if kind == "zeros":
        return np.zeros((n, time, 1), np.float32)
    if kind == "constant":
        level = rng.uniform(-CONSTANT_REACH, CONSTANT_REACH, (n, 1, 1))
        return np.repeat(level, time, axis=1).astype(np.float32)
    x = rng.standard_normal((n, time))
    if kind == "coloured":
        f = np.fft.rfftfreq(time)
        f[0] = f[1]
        slope = rng.uniform(0.5, 2.0, (n, 1))
        x = np.fft.irfft(np.fft.rfft(x, axis=1) * f ** (-slope / 2), n=time, axis=1)
    elif kind != "white":
        raise ValueError(f"unknown kind of noise {kind!r}; choose one of {', '.join(KINDS)}")
    x = (x - x.mean(1, keepdims=True)) / np.maximum(x.std(1, keepdims=True), 1e-9)
    return np.asarray(x[..., None], np.float32)
