"""How much of something one party may have: a bucket that fills with time. No threads, no IO."""

from __future__ import annotations

from collections.abc import Callable


class Bucket:
    """Holds up to `most`, full at first, and gains `per_s` each second. Not to be shared between threads."""

    __slots__ = ("_at_s", "_clock", "_left", "_most", "_per_s")

    def __init__(self, most: float, per_s: float, clock: Callable[[], float]) -> None:
        self._most, self._per_s, self._clock = most, per_s, clock
        self._left, self._at_s = most, clock()

    def take(self, amount: float) -> bool:
        """Take it if it is there; else take nothing."""
        self._fill()
        if amount > self._left:
            return False
        self._left -= amount
        return True

    def spend(self, amount: float) -> None:
        """Take it, there or not: what is missing must fill up before anything can be taken."""
        self._fill()
        self._left -= amount

    def add_to_cost(self, amount: float) -> None:
        """More for what was just taken."""
        self._left -= amount

    def _fill(self) -> None:
        now = self._clock()
        left = self._left + (now - self._at_s) * self._per_s
        self._left = left if left < self._most else self._most
        self._at_s = now
