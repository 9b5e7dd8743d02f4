"""When more windows come than can be judged: which ones are left out, so that the others are answered in time.

`lag` is how long the oldest sample block has waited for the pipeline. While it is above the limit, once a second a step
more is left out; when it has stayed well below for a while, a step less. A window that is left out is answered as
`abstain` for the reason `overload`, which costs next to nothing. No threads, no IO.

    stretch   all but the high-priority streams answer every 2nd, then 4th, ... 64th window: their hop grows
    shed      windows of the low-priority streams are left out, then of all but the high-priority ones
    wait      nothing is left out: sources wait, latency grows, and the broker keeps what it can
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from edge.config import OverloadSettings

log = logging.getLogger("edge.overload")

STEP_S: Final = 1.0
RECOVER_SHARE: Final = 0.25
_STEPS: Final = {"wait": 0, "stretch": 6, "shed": 2}


class Priority(IntEnum):
    """How long a stream keeps its windows in an overload."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Overload:
    """One agent's. `note`, `skips` and `priority` from the pipeline's thread; the properties from any."""

    def __init__(
        self,
        settings: OverloadSettings,
        clock: Callable[[], float],
        told: Callable[[int, float], object] = lambda level, lag_s: None,
    ) -> None:
        self._settings, self._clock, self._told = settings, clock, told
        self._high, self._low = _patterns(settings.high), _patterns(settings.low)
        self._most = _STEPS[settings.mode]
        self.level = 0
        self.lag_s = 0.0
        self._moved_s = clock()
        self._calm_since: float | None = None

    @property
    def reason(self) -> str:
        """For `health`: what is going on, "" while nothing is."""
        mode, lag = self._settings.mode, self.lag_s
        if self.level:
            return f"{mode}, step {self.level} of {self._most}: windows are left out, samples wait {lag:.1f} s"
        if lag > self._settings.lag_s:
            return f"samples wait {lag:.1f} s; overload.mode says {mode}"
        return ""

    def priority(self, stream: str) -> Priority:
        """Of a stream, by its name."""
        if self._high(stream):
            return Priority.HIGH
        return Priority.LOW if self._low(stream) else Priority.NORMAL

    def note(self, lag_s: float) -> None:
        """The oldest live block that is being worked on has waited so long."""
        self.lag_s = lag_s
        if not self._most:
            return
        now, limit = self._clock(), self._settings.lag_s
        if lag_s > limit:
            self._calm_since = None
            if self.level < self._most and now - self._moved_s >= STEP_S:
                self._move(self.level + 1, now)
        elif not self.level or lag_s > RECOVER_SHARE * limit:
            self._calm_since = None
        else:
            if self._calm_since is None:
                self._calm_since = now
            if now - self._calm_since >= self._settings.recover_s:
                self._calm_since = now
                self._move(self.level - 1, now)

    def skips(self, priority: Priority, number: int) -> bool:
        """Whether a stream's window of this number is left out now."""
        if not self.level or priority is Priority.HIGH:
            return False
        if self._settings.mode == "shed":
            return self.level > int(priority)
        return number % (1 << self.level) != 0

    def _move(self, level: int, now: float) -> None:
        grows = level > self.level
        self.level, self._moved_s = level, now
        says = "overload: samples wait %.1f s; %s, step %d of %d"
        log.log(
            logging.WARNING if grows else logging.INFO, says, self.lag_s, self._settings.mode, level, self._most
        )
        self._told(level, self.lag_s)


def _patterns(given: tuple[str, ...]) -> Callable[[str], bool]:
    """Names, or beginnings of names that end in *."""
    names = frozenset(text for text in given if not text.endswith("*"))
    heads = tuple(text[:-1] for text in given if text.endswith("*"))
    if not names and not heads:
        return lambda stream: False
    return lambda stream: stream in names or (bool(heads) and stream.startswith(heads))
