"""Which streams are heard from: changes of availability, no IO."""

from __future__ import annotations

import threading
from collections.abc import Callable

MISSED_BLOCKS = 3.0  # a sensor that sends once a minute is not silent after half of one


class Presence:
    """`heard` and `ended` from the pipeline's thread, `silent` from the agent's."""

    def __init__(self, silent_s: float, clock: Callable[[], float]) -> None:
        self._silent_s, self._clock = silent_s, clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def heard(self, stream: str, usual_s: float = 0.0) -> bool:
        """A block of `usual_s` seconds came: the next is due after as long. True where the stream was not online."""
        until = self._clock() + max(self._silent_s, MISSED_BLOCKS * usual_s)
        with self._lock:
            new = stream not in self._until
            self._until[stream] = until
        return new

    def ended(self, stream: str) -> bool:
        """True where the stream was online."""
        with self._lock:
            return self._until.pop(stream, None) is not None

    def silent(self) -> list[str]:
        """Streams that just went offline, having been silent too long."""
        now = self._clock()
        with self._lock:
            gone = [stream for stream, until in self._until.items() if until <= now]
            for stream in gone:
                del self._until[stream]
        return gone

    def online(self) -> list[str]:
        """Every stream that is online now."""
        with self._lock:
            return list(self._until)
