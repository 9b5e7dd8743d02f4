"""How long to wait before trying again: doubling, capped, jittered. No clock, no sleeping: the caller waits."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """`next_s()` gives min, 2 min, 4 min ... up to max, each less up to a quarter of itself.

    The jitter keeps a hundred agents from knocking at a restarted broker in step.
    """

    def __init__(self, min_s: float, max_s: float, uniform: Callable[[], float] = random.random) -> None:
        self._min_s, self._max_s = min_s, max(min_s, max_s)
        self._uniform = uniform
        self._next_s = min_s

    def next_s(self) -> float:
        delay = self._next_s
        self._next_s = min(self._next_s * 2.0, self._max_s)
        return delay * (1.0 - 0.25 * self._uniform())

    def reset(self) -> None:
        """It worked: start again from the smallest pause."""
        self._next_s = self._min_s
