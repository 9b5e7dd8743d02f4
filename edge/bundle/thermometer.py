"""Numpy twin of the thermometer encoder that bundles carry inside their graph.

Level j of the code is 1 where the sample is at or above threshold j, else 0. Both sides compare in float32
with >=, so the twin and the graph agree to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge.types import FloatArray

__all__ = ["encode"]


def encode(x: npt.ArrayLike, thresholds: Sequence[float] | npt.NDArray[np.floating]) -> FloatArray:
    """Thermometer code of `x`, shape (...), in the unit of the thresholds: float32 (..., levels) of 0 and 1.

    NaN is below every threshold.
    """
    values = np.asarray(x, dtype=np.float32)
    levels = np.asarray(thresholds, dtype=np.float32)
    if levels.ndim != 1:
        raise ValueError(f"thresholds must be a list of numbers, not an array of {levels.ndim} dimensions")
    return (values[..., None] >= levels).astype(np.float32)
