"""The samples of one stream that the next window still needs: one window's worth of memory, never more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.types import BoolArray, FloatArray

from .rate import GOOD, LEAD_OFF, Marks

__all__ = ["Cut", "WindowRing"]


@dataclass(frozen=True, slots=True)
class Cut:
    """A window cut from the ring: number of its first real sample, values (n, channel), validity, counts."""

    first_index: int
    values: FloatArray
    valid: BoolArray
    missing: int
    padded: int
    lead_off: int


class WindowRing:
    """Cuts windows of `window` samples every `hop`, the first one at `grid`, which is at or after `first_index`.

    After a cut the overlap is moved to the front: one memmove per window, and every window is contiguous.
    """

    def __init__(self, window: int, hop: int, channels: int, *, first_index: int, grid: int) -> None:
        self._values = np.zeros((window, channels), np.float32)
        self._marks: Marks = np.zeros(window, np.uint8)
        self._window, self._hop = window, hop
        self._start, self._grid = first_index, grid
        self._fill = 0
        self.cuts = 0

    @property
    def next_start(self) -> int:
        """Number of the first sample of the next window."""
        return max(self._start, self._grid)

    def push(self, values: FloatArray, marks: Marks) -> list[Cut]:
        """Take samples (n, channel) with marks (n,); give the windows that are full now."""
        cuts: list[Cut] = []
        at, count = 0, values.shape[0]
        while at < count:
            take = min(count - at, self._window - self._fill)
            end = self._fill + take
            self._values[self._fill : end] = values[at : at + take]
            self._marks[self._fill : end] = marks[at : at + take]
            self._fill, at = end, at + take
            if end == self._window:
                if self._start >= self._grid:
                    cuts.append(self._cut())
                    self._drop(self._hop)
                else:
                    self._drop(self._grid - self._start)
        return cuts

    def finish(self) -> list[Cut]:
        """The end of a record: what never filled a first window is padded to one, in the middle."""
        if self.cuts or not self._fill:
            return []
        fill = self._fill
        padded = self._window - fill
        left = padded // 2
        values = np.zeros_like(self._values)
        values[left : left + fill] = self._values[:fill]
        valid = np.zeros(self._window, np.bool_)
        marks = self._marks[:fill]
        np.equal(marks, GOOD, out=valid[left : left + fill])
        return [self._made(values, valid, marks, padded)]

    def _cut(self) -> Cut:
        return self._made(self._values.copy(), self._marks == GOOD, self._marks, 0)

    def _made(self, values: FloatArray, valid: BoolArray, marks: Marks, padded: int) -> Cut:
        self.cuts += 1
        missing = int(np.count_nonzero(marks))
        lead_off = int(np.count_nonzero(marks == LEAD_OFF)) if missing else 0
        return Cut(self._start, values, valid, missing, padded, lead_off)

    def _drop(self, count: int) -> None:
        kept = self._fill - count
        self._values[:kept] = self._values[count : self._fill]
        self._marks[:kept] = self._marks[count : self._fill]
        self._fill = kept
        self._start += count
