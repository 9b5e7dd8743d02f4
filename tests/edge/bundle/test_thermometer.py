"""The thermometer's numpy twin."""

from __future__ import annotations

import numpy as np
import pytest

from edge.bundle.thermometer import encode


def test_codes() -> None:
    code = encode([[-1.0, 0.0], [0.5, 9.0]], [-0.5, 0.0, 0.5])
    assert code.shape == (2, 2, 3)
    assert code.dtype == np.float32
    assert code.tolist() == [[[0, 0, 0], [1, 1, 0]], [[1, 1, 1], [1, 1, 1]]]


def test_compares_in_float32() -> None:
    # In float64 0.1 + 1e-9 is above 0.1; in float32 it is the same number, so the level is on.
    assert encode([0.1], [0.1 + 1e-9]).tolist() == [[1.0]]
    assert encode([np.nextafter(np.float32(0.1), np.float32(0))], [0.1]).tolist() == [[0.0]]


def test_nan_is_below_all() -> None:
    assert encode([np.nan], [-1e30]).tolist() == [[0.0]]


def test_thresholds_must_be_a_list() -> None:
    with pytest.raises(ValueError, match="2 dimensions"):
        encode([1.0], [[1.0]])
