"""The stages of a stop, in the order of the samples: it ends within 5 s whatever hangs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

log = logging.getLogger("edge.agent")

# When each stage must be done, in seconds after the stop.
SOURCES_BY_S, PIPELINE_BY_S, SINKS_BY_S, STOPPED_BY_S, END_BY_S = 1.0, 2.2, 3.6, 4.1, 4.6


class Shutdown:
    """The signal of each stage, and what time it has left. `begin` and `join` from the agent's thread."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began_s: float | None = None
        self.pipeline = threading.Event()
        self.sinks = threading.Event()
        self.durability = threading.Event()
        self.link = threading.Event()

    def begin(self) -> None:
        """From now on time runs."""
        self._began_s = self._monotonic()
        self.pipeline.set()

    def left_s(self, by_s: float) -> float:
        """Seconds until a stage must be done; plenty while nobody stops."""
        return by_s if self._began_s is None else self._began_s + by_s - self._monotonic()

    def sinks_left_s(self) -> float:
        return self.left_s(SINKS_BY_S)

    def join(self, threads: Iterable[threading.Thread | None], by_s: float) -> None:
        """Wait for what was started of these; what hangs is left behind."""
        for thread in threads:
            if thread is None:
                continue
            thread.join(max(0.0, self.left_s(by_s)))
            if thread.is_alive():
                log.warning("%s does not end; left behind", thread.name)
