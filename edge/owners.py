"""One id from two sources: a stream's samples are taken from one source at a time, or neither would fill a window."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container

from edge.metrics import Metrics
from edge.sources.base import Source
from edge.warnings_once import WarnOnce

log = logging.getLogger("edge.agent")

MAX_STREAMS = 100_000  # as pipeline.max_streams; beyond it nobody is remembered, and nothing refused


class Owners:
    """Who feeds which stream: whoever came first, until it ends, is gone, or is silent for `silent_s`. Any thread."""

    def __init__(self, silent_s: float, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._silent_s, self._metrics, self._clock = silent_s, metrics, clock
        self._owners: dict[str, tuple[Source, float]] = {}
        self._warn = WarnOnce(log)

    def takes(self, stream: str, source: Source, running: Container[Source], *, end: bool = False) -> bool:
        """Whether a block of `stream` from `source` is taken; `end`: it is the stream's last one."""
        now = self._clock()
        owner, heard = self._owners.get(stream, (source, now))
        if owner is not source and now - heard < self._silent_s and owner in running:
            self._metrics.add_by("dropped", "stream_of_another_source")
            says = "stream %s comes from %s and from %s: samples of the second are dropped; give it another name"
            self._warn.warn(f"owner {stream}", says, stream, owner.name, source.name)
            return False
        if end:
            self._owners.pop(stream, None)
        elif stream in self._owners or len(self._owners) < MAX_STREAMS:
            self._owners[stream] = source, now
        return True
