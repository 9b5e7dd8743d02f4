"""Smoothing in front of a classifier (paper 1, section 5.3 and Fig. 15): linear filters over time, no training.

Ends are continued by the nearest value, so that a constant stays what it is. Sources: moving average; A. Savitzky and
M. Golay, "Smoothing and differentiation of data by simplified least squares procedures", 1964.
"""

from __future__ import annotations

import numpy as np


def moving_average(length: int) -> np.ndarray:
    """``length`` equal taps, odd.

    Raises:
        ValueError: an even or negative length.
    """
    if length < 1 or length % 2 == 0:
        raise ValueError(f"the window must be an odd number of samples, not {length}")
    return np.full(length, 1.0 / length)


def savitzky_golay(length: int, degree: int = 3) -> np.ndarray:
    """Taps that fit a polynomial of ``degree`` to ``length`` samples and give its value in the middle.

    Raises:
        ValueError: an even length, or a degree that is not below it.
    """
    if length < 1 or length % 2 == 0 or not 0 <= degree < length:
        raise ValueError(f"the window must be odd and longer than the degree, not {length} for {degree}")
    t = np.arange(length) - length // 2
    return np.asarray(np.linalg.pinv(np.vander(t, degree + 1, increasing=True))[0])


def smooth(x: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """``x`` (n, time, channel) convolved over time with symmetric ``taps``."""
    half = len(taps) // 2
    longer = np.pad(x, ((0, 0), (half, half), (0, 0)), mode="edge")
    return np.asarray(sum(t * longer[:, i : i + x.shape[1]] for i, t in enumerate(taps)), np.float32)
