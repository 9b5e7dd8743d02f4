"""Refusing what is no series: residual, disagreement and confidence together (paper 1, section 3.4 and Fig. 6).

Three numbers of an answer: the residual (how far the encode-decode's reconstruction lies from the series, RMS, over
the series' own deviation, so that what does not vary at all has an endless one), the disagreement (total
variation between the answer to the reconstruction and the answer to the raw series) and the confidence (largest
probability). A series is refused when its residual lies outside the clean ones' on either side, its disagreement is
too high or its confidence is too low. The share of clean series that may be lost is spent on the four sides so that
most of some generated noise is refused; the paper gives no rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

KINDS = ("white", "coloured", "constant", "zeros")
CONSTANT_REACH = 3.0  # deviations
FLAT = 1e-3  # deviation below which a series counts as one that does not vary
SPENT = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0)  # parts of the share that one side may take


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


def relative_residual(x: np.ndarray, inner: np.ndarray, rebuilt: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(n,) RMS of ``inner - rebuilt`` over the deviation of ``x``, both over the ``valid`` (n, time) samples alone.

    ``x`` (n, time, channel) as it came, ``inner`` and ``rebuilt`` of the same shape in the network's units. A deviation
    under :data:`FLAT` counts as that.
    """
    weight = valid[..., None] / np.maximum(valid.sum(1), 1)[:, None, None] / x.shape[-1]
    mean = (x * weight).sum((1, 2), keepdims=True)
    error = np.sqrt(((inner - rebuilt) ** 2 * weight).sum((1, 2)))
    spread = np.sqrt(((x - mean) ** 2 * weight).sum((1, 2)))
    return np.asarray(error / np.maximum(spread, FLAT))


@dataclass(frozen=True)
class Point:
    """An operating point: (4,) thresholds above which one of the columns refuses."""

    thresholds: np.ndarray

    def refuses(self, columns: np.ndarray) -> np.ndarray:
        return np.asarray((columns > self.thresholds).any(axis=1))


def operating_point(
    columns: np.ndarray, share: float, noisy: np.ndarray, weights: np.ndarray | None = None
) -> Point:
    """The thresholds that refuse at most ``share`` of the clean ``columns`` (n, 4) and most of ``noisy`` (m, 4).

    ``weights`` (m,): how much it is worth to refuse each of ``noisy``; the same for all where None. Each side's
    threshold is one of its highest clean numbers; every way of spending the share on the four sides in the steps of
    :data:`SPENT` is tried. With few series this may be no refusal of clean ones at all.
    """
    ordered = np.sort(columns, axis=0)[::-1]
    ranks = sorted({round(share * len(columns) * part) for part in SPENT})
    # (rank, n or m, side): what each side refuses alone
    clean = np.stack([columns > ordered[rank] for rank in ranks])
    noise_refused = np.stack([noisy > ordered[rank] for rank in ranks])
    worth = np.ones(len(noisy), int) if weights is None else weights
    best, most = np.zeros(4, int), -1.0
    for chosen in product(range(len(ranks)), repeat=4):
        if (
            _union(clean, chosen).mean() <= share
            and (caught := float(worth @ _union(noise_refused, chosen))) > most
        ):
            best, most = np.array(chosen), caught
    return Point(ordered[np.array(ranks)[best], np.arange(4)])


def _union(refused: np.ndarray, chosen: tuple[int, ...]) -> np.ndarray:
    return np.any([refused[rank, :, side] for side, rank in enumerate(chosen)], axis=0)


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
