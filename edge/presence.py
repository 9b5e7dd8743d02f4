"""Which streams are heard from: changes of availability, no IO."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Presence:
    """`heard` and `ended` from the pipeline's thread, `silent` from the agent's."""

    def __init__(self, silent_s: float, clock: Callable[[], float]) -> None:
        self._silent_s, self._clock = silent_s, clock
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def heard(self, stream: str) -> bool:
        """True where the stream was not online before."""
        now = self._clock()
        with self._lock:
            new = stream not in self._last
            self._last[stream] = now
        return new

    def ended(self, stream: str) -> bool:
        """True where the stream was online."""
        with self._lock:
            return self._last.pop(stream, None) is not None

    def silent(self) -> list[str]:
        """Streams that just went offline, having been silent too long."""
        limit = self._clock() - self._silent_s
        with self._lock:
            gone = [stream for stream, last in self._last.items() if last <= limit]
            for stream in gone:
                del self._last[stream]
        return gone

    def online(self) -> list[str]:
        """Every stream that is online now."""
        with self._lock:
            return list(self._last)
