"""Random directions for attacks that only ask: smooth over time, as few queries cannot search thousands of samples."""

from __future__ import annotations

import numpy as np

KNOTS = 64


def waves(rng: np.random.Generator, n: int, time: int, channels: int, knots: int = KNOTS) -> np.ndarray:
    """(n, time, channel) float32: normal values at ``knots`` places of random phase, lines between them.

    A series of no more samples than knots gets independent values.
    """
    if knots >= time:
        return rng.standard_normal((n, time, channels), np.float32)
    values = rng.standard_normal((n, knots + 2, channels), np.float32)
    # each row's knots begin somewhere else, so that no sample is always between two of them
    place = np.arange(time) * (knots / time) + rng.uniform(0, 1, (n, 1))
    left = place.astype(np.int64)
    share = (place - left)[..., None].astype(np.float32)
    rows = np.arange(n)[:, None]
    return values[rows, left] * (1 - share) + values[rows, left + 1] * share
