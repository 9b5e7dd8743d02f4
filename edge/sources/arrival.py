"""UTC times for samples that carry none: a line under their arrivals.

A block arrives late by transfer and scheduling, never early, so the earliest arrivals tell the truth: the estimate is
the lower envelope, over some minutes, of arrival minus sample count. Intervals are taken on the monotonic clock
and turned into UTC when asked, so a step of the wall clock moves results from then on and breaks nothing.
"""

from __future__ import annotations

import math
from collections import deque

# Long enough to meet a moment without delay, short enough that a crystal 50 ppm off moves 15 ms in it.
WINDOW_S = 300.0
SLOT_S = 1.0


class ArrivalClock:
    """One stream's sample count against the monotonic clock."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._slots: deque[tuple[float, float]] = deque()  # (when, least offset seen in that second)
        self._least_before = math.inf  # over all slots but the newest
        self._least_now = math.inf

    def arrived(self, end_index: int, monotonic_s: float) -> None:
        """The sample before `end_index` came in with what was read at `monotonic_s`."""
        offset = monotonic_s - end_index / self._rate_hz
        slots = self._slots
        if slots and monotonic_s - slots[-1][0] < SLOT_S:
            self._least_now = min(self._least_now, offset)
            return
        if slots:
            slots[-1] = (slots[-1][0], self._least_now)
        while slots and slots[0][0] < monotonic_s - WINDOW_S:
            slots.popleft()
        self._least_before = min((least for _, least in slots), default=math.inf)
        slots.append((monotonic_s, offset))
        self._least_now = offset

    def monotonic_of(self, index: int) -> float:
        """When sample `index` was taken, on the monotonic clock; `arrived` was called before."""
        return min(self._least_before, self._least_now) + index / self._rate_hz
