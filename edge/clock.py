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
