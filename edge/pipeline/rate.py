"""A stream's samples with their marks at the bundle's rate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.types import FloatArray

from .resample import Resampler, ratio

__all__ = ["GOOD", "LEAD_OFF", "MISSING", "Marks", "RateConverter"]

Marks = npt.NDArray[np.uint8]
GOOD, MISSING, LEAD_OFF = 0, 1, 2


class RateConverter:
    """Resamples values and carries the marks along; hands both through where the rates are the same.

    An output is marked when one of the two inputs around it is, or any input between its neighbours, so that
    no missing sample goes unnoticed. `next_index` is the number of the next output on the bundle's clock.
    """

    def __init__(self, rate_in_hz: float, rate_out_hz: float, *, channels: int, first_index: int) -> None:
        self.up, self.down = ratio(rate_in_hz, rate_out_hz)
        self.next_index = first_index
        self._resampler: Resampler | None = None
        if (self.up, self.down) != (1, 1):
            self._resampler = Resampler(rate_in_hz, rate_out_hz, channels=channels, first_index=first_index)
            self.next_index = self._resampler.next_index
        self._marks: Marks = np.zeros(0, np.uint8)
        self._base = first_index

    def push(self, values: FloatArray, marks: Marks) -> tuple[FloatArray, Marks]:
        """float32 (n, channel) and marks (n,) to as many of each as can be computed now."""
        if self._resampler is None:
            self.next_index += values.shape[0]
            return values, marks
        self._marks = np.concatenate((self._marks, marks))
        return self._with_marks(self._resampler.push(values))

    def flush(self) -> tuple[FloatArray, Marks]:
        """What the filter still holds; (0, channel) where the rates are the same."""
        if self._resampler is None:
            return np.zeros((0, 1), np.float32), np.zeros(0, np.uint8)
        return self._with_marks(self._resampler.flush())

    def _with_marks(self, values: FloatArray) -> tuple[FloatArray, Marks]:
        count = values.shape[0]
        marks = np.zeros(count, np.uint8)
        first, self.next_index = self.next_index, self.next_index + count
        if count and self._marks.any():
            up, down = self.up, self.down
            at = first * down - self._base * up + np.arange(count, dtype=np.int64) * down
            low = np.minimum(at // up, (at - down) // up + 1)
            high = np.maximum(-(-at // up), -(-(at + down) // up) - 1)
            last = self._marks.size - 1
            low, high = np.clip(low, 0, last), np.clip(high, 0, last)
            for mark in (MISSING, LEAD_OFF):
                before = np.concatenate(([0], np.cumsum(self._marks == mark)))
                marks[before[high + 1] > before[low]] = mark
        drop = (self.next_index - 1) * self.down // self.up - self._base
        if drop > 0:
            self._marks = self._marks[drop:].copy()
            self._base += drop
        return values, marks
