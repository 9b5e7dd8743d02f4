"""How far a share of a finite number of records can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Share:
    """``count`` of ``n`` with the 95 % interval of the share."""

    count: int
    n: int
    share: float
    low: float
    high: float


def share_of(count: int, n: int) -> Share:
    """The share with Wilson's interval; n at least 1."""
    return Share(count, n, count / n, *wilson(count, n))


def wilson(successes: float, n: int, z: float = Z95) -> tuple[float, float]:
    """The Wilson score interval of a share, as (low, high), both within 0 and 1.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927. Unlike
    the plain normal interval it holds near 0 and 1 and for small n.

    Raises:
        ValueError: n below 1, or successes outside 0 to n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a share")
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (centre - spread) / scale, (centre + spread) / scale
    # at the ends the formula gives 0 and 1 exactly but for rounding
    return (0.0 if successes == 0 else max(0.0, low)), (1.0 if successes == n else min(1.0, high))


def mean_interval(shares: Sequence[float], intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The 95 % interval of the mean of independent shares, from each one's own interval.

    Source: G. Y. Zou and A. Donner, "Construction of confidence limits about effect measures", 2008 (MOVER): distances
    to the limits add in squares, below and above apart.
    """
    mean, k = sum(shares) / len(shares), len(shares)
    below = math.sqrt(sum((p - low) ** 2 for p, (low, _) in zip(shares, intervals, strict=True))) / k
    above = math.sqrt(sum((high - p) ** 2 for p, (_, high) in zip(shares, intervals, strict=True))) / k
    return mean - below, mean + above
