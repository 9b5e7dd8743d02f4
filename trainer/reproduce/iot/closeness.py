"""How close series of different label lie in TRAIN: what a budget leaves of the difference, how fine a code it takes.

Where hardly anything of the difference to the nearest series of another label lies beyond twice the budget, training
at the full budget unlearns the classes; where that difference is a few hundredths, evenly spaced levels must be as
close.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.data.base import Dataset

MOST = 512  # series compared with each other: 512 x 512 x time floats would be too many at once, so one row at a time


@dataclass(frozen=True)
class Closeness:
    """Medians over series: ``gap``, the mean absolute difference to the nearest series of another label, and
    ``beyond``, the share of that difference that lies beyond twice the budget.
    """

    gap: float
    beyond: float


def closeness(data: Dataset, epsilon: float) -> Closeness:
    """Of ``data`` at budget ``epsilon``, by at most ``MOST`` series spread over it."""
    w = data.windows()
    some = np.linspace(0, len(w) - 1, min(len(w), MOST)).round().astype(int)
    x, y = w.x[some].reshape(len(some), -1), w.y[some]
    gaps, shares = [], []
    for i in range(len(x)):
        others = x[y != y[i]]
        if not len(others):
            continue
        distance = np.abs(others - x[i])
        nearest = distance[distance.mean(1).argmin()]
        gaps.append(nearest.mean())
        shares.append(np.maximum(nearest - 2 * epsilon, 0).sum() / max(nearest.sum(), 1e-12))
    return Closeness(float(np.median(gaps)), float(np.median(shares)))
