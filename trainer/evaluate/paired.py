"""Two classifiers on the same records: the difference of their accuracies, with its interval and McNemar's test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Paired:
    """``difference`` of accuracies (first minus second) with a 95 % interval; ``p`` of the exact McNemar test.

    ``only_first`` and ``only_second`` count the records that one alone has right, of ``n``.
    """

    difference: float
    low: float
    high: float
    p: float
    only_first: int
    only_second: int
    n: int


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare ``first`` and ``second``, bool of one shape: right or wrong for each record (and run).

    The interval is Wald's for paired proportions, with Agresti and Min's 0.5 added to each of the four cells (2005).
    """
    if first.shape != second.shape or not first.size:
        raise ValueError(f"{first.shape} and {second.shape} are not the same records")
    n = first.size
    b, c = int(np.sum(first & ~second)), int(np.sum(~first & second))
    size, gain, loss = n + 2.0, b + 0.5, c + 0.5
    middle = (gain - loss) / size
    half = 1.959964 * math.sqrt(max(0.0, gain + loss - (gain - loss) ** 2 / size)) / size
    return Paired((b - c) / n, middle - half, middle + half, mcnemar(b, c), b, c, n)


def mcnemar(b: int, c: int) -> float:
    """Two-sided p of the exact test: of the b + c records on which the two differ, half go each way."""
    if not b + c:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(b, b + c).pvalue)
