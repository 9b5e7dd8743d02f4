"""Takes results from a spool to a sink, in order, and tries again until the sink takes them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from edge.backoff import Backoff
from edge.delivery.sinks.base import Sink, SinkError, SinkGone, SinkWaiting
from edge.delivery.spool import Entry, Spool
from edge.events import Message
from edge.metrics import Metrics
from edge.warnings_once import WarnOnce

log = logging.getLogger("edge.delivery")

IDLE_S = 0.5  # how late a stop may be noticed while there is nothing to deliver


class SinkRunner:
    """One sink's thread. `offer` from any thread; `run` in its own, until `stop`, then what is left within the grace.

    `holds` are the leaves ("result", "event") that this sink is given; whoever offers looks there.
    A result that waited longer than `historical_after_s` is marked historical. What the spool gives up, and what the
    sink refuses for good, is counted as `dropped` by reason.
    """

    def __init__(
        self,
        sink: Sink,
        spool: Spool,
        metrics: Metrics,
        *,
        batch: int = 64,
        retry_min_s: float = 0.5,
        retry_max_s: float = 30.0,
        historical_after_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        holds: Collection[str] = ("result", "event"),
    ) -> None:
        self.sink, self.spool = sink, spool
        self.holds = frozenset(holds)
        self._metrics = metrics
        self._batch = batch
        self._pause = Backoff(retry_min_s, retry_max_s)
        self._historical_after_s = historical_after_s
        self._clock = clock
        self._warn = WarnOnce(log)
        self._open = False
        self.gone = False
        self.last_error = ""

    def offer(self, result: Message) -> None:
        """Queue a result; never blocks."""
        if self.gone:
            self._metrics.add_by("dropped", "sink_gone")
            return
        given_up = self.spool.put(result)
        if given_up:
            self._metrics.add_by("dropped", "spool_full", given_up)
            self._warn.warn(
                "full", "%s: spool is full, results are lost (policy in [delivery])", self.sink.name
            )

    def run(self, stop: threading.Event, grace_s: Callable[[], float] = lambda: 0.0) -> None:
        """Deliver until `stop`; then as long as `grace_s()`, asked anew each time, is above 0."""
        try:
            while not self.gone:
                stopping = stop.is_set()
                if stopping and (not len(self.spool) or grace_s() <= 0):
                    break
                if not self._step(0.0 if stopping else IDLE_S):
                    pause = self._pause.next_s()
                    if stopping:
                        time.sleep(min(pause, max(grace_s(), 0.0), 0.2))
                    else:
                        stop.wait(pause)
        finally:
            self._close()
        if len(self.spool) and not self.gone and self.spool.lasting:
            log.info("%s: %d results wait on the disk for the next start", self.sink.name, len(self.spool))
        elif len(self.spool) and not self.gone:
            self._metrics.add_by("dropped", "undelivered", len(self.spool))
            log.warning("%s: stopped with %d results not delivered", self.sink.name, len(self.spool))

    def step(self) -> bool:
        """One attempt without waiting; False where the sink failed. For tests and for callers without threads."""
        return self._step(0.0)

    def _step(self, wait_s: float) -> bool:
        try:
            if not self._open:
                self.sink.open()
                self._open = True
            entries = self.spool.peek(self._batch, wait_s)
            if not entries:
                return True
            self._write(entries)
        except SinkGone as error:
            log.warning("%s: %s; further results are dropped", self.sink.name, error)
            self.gone = True
            self._metrics.add_by("dropped", "sink_gone", len(self.spool))
        except SinkWaiting as error:
            self.last_error = str(error)
            self._close()
        except SinkError as error:
            self._failed(str(error))
            return False
        except Exception as error:  # a bug in one sink must not stop the others
            log.exception("%s: failed", self.sink.name)
            self._failed(repr(error))
            return False
        else:
            self._pause.reset()
            if self.last_error:
                self.last_error = ""
                self._warn.recovered("write", "%s: works again", self.sink.name)
        return True

    def _write(self, entries: list[Entry]) -> None:
        oldest_live = self._clock() - self._historical_after_s
        results = [
            replace(e.result, historical=True)
            if e.queued_s < oldest_live and not e.result.historical
            else e.result
            for e in entries
        ]
        try:
            self.sink.write(results)
        except SinkError as error:
            self.spool.remove([entries[at].key for at in error.done])
            self._metrics.add(f"delivered_{self.sink.kind}", len(error.done))
            if error.refused:
                self.spool.remove([entries[at].key for at in error.refused])
                self._metrics.add_by("dropped", "refused_by_sink", len(error.refused))
                self._warn.warn("refused", "%s: refused for good: %s", self.sink.name, error)
                if len(error.done) + len(error.refused) == len(entries):
                    return
            raise
        self.spool.remove([e.key for e in entries])
        self._metrics.add(f"delivered_{self.sink.kind}", len(entries))

    def _failed(self, why: str) -> None:
        self.last_error = why
        self._warn.warn("write", "%s: %s; results wait, trying again", self.sink.name, why)
        self._close()

    def _close(self) -> None:
        self._open = False
        try:
            self.sink.close()
        except Exception:
            log.exception("%s: did not close", self.sink.name)
