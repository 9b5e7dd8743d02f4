"""Says a thing once at warning level and counts on: the 10th, 100th, 1,000th time is told again with its number, the
others go to debug. A recovery is told at the level of the failure, with how often it failed.
"""

from __future__ import annotations

import logging
import threading

MAX_KEYS = 1024  # keys may hold a stream's id, which others choose: past this many, new ones go to debug


class WarnOnce:
    """One per component. A `key` names the kind of trouble and its place, not its wording."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._said: dict[str, int] = {}

    def warn(self, key: str, message: str, *args: object) -> bool:
        """Log; True where this was the first time."""
        with self._lock:
            times = self._said.get(key, 0)
            first = times == 0 and len(self._said) < MAX_KEYS
            if first or times:
                times = self._said[key] = times + 1
        if times >= 10 and str(times).rstrip("0") == "1":
            self._log.warning(message + " (%d times so far)", *args, times, extra={"times": times})
        else:
            self._log.log(logging.WARNING if first else logging.DEBUG, message, *args)
        return first

    def recovered(self, key: str, message: str, *args: object) -> None:
        """Log that it is over, if it was ever told; the next time warns anew."""
        with self._lock:
            times = self._said.pop(key, 0)
        if times > 1:
            self._log.warning(message + " (after %d times)", *args, times, extra={"times": times})
        elif times:
            self._log.warning(message, *args)
