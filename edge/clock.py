"""The two clocks, injected wherever time matters: monotonic for intervals, UTC for records."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Seconds from both clocks. Tests pass their own."""

    monotonic: Callable[[], float] = time.monotonic
    utc: Callable[[], float] = time.time

    def utc_minus_monotonic(self) -> float:
        """What to add to a monotonic time to get UTC, by today's wall clock."""
        return self.utc() - self.monotonic()


SYSTEM_CLOCK = Clock()

STEP_S = 3600.0


class Steadiness:
    """Whether the wall clock may decide what is old: not for an hour after it jumped by more than one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_s, self._again_at = clock.utc_minus_monotonic(), 0.0

    def stands(self) -> bool:
        """Ask it every minute or so."""
        offset_s, now = self._clock.utc_minus_monotonic(), self._clock.monotonic()
        if abs(offset_s - self._offset_s) > STEP_S:
            self._offset_s, self._again_at = offset_s, now + STEP_S
        return now >= self._again_at
