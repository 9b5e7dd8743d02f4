"""What happens to a block from the queue to the sinks: windows, verdicts, results, events. The pipeline's thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edge.announce import Announcer
from edge.blockqueue import BlockQueue
from edge.clock import Clock
from edge.decisions import Decisions
from edge.engine import Engine
from edge.intake import Queued
from edge.metrics import Metrics
from edge.outlet import Outlet
from edge.overload import Overload
from edge.presence import Presence
from edge.shutdown import PIPELINE_BY_S, Shutdown
from edge.types import Result, SampleBlock

if TYPE_CHECKING:
    from edge.durability import Durability
    from edge.live.store import LiveStore
    from edge.recorder.record import Recorded

log = logging.getLogger("edge.agent")

BATCH_BLOCKS, FEW_BLOCKS = 64, 4


class Flow:
    """One agent's; all but its making belongs to one thread."""

    def __init__(
        self,
        queue: BlockQueue[Queued],
        engine: Engine,
        decisions: Decisions,
        outlet: Outlet,
        *,
        presence: Presence,
        announcer: Announcer,
        overload: Overload,
        metrics: Metrics,
        shutdown: Shutdown,
        clock: Clock,
        in_a_hurry: bool,
        durability: Durability | None,
        live: LiveStore | None,
        discovery: Callable[[str], tuple[str, str]] | None,
    ) -> None:
        """`in_a_hurry`: some streams go before others. `discovery`: topic and payload that tell Home Assistant of a
        stream, None where it is not told.
        """
        self._queue, self._engine, self._decisions, self._outlet = queue, engine, decisions, outlet
        self._presence, self._announcer = presence, announcer
        self._overload, self._metrics, self._shutdown, self._clock = overload, metrics, shutdown, clock
        self._durability, self._live, self._discovery = durability, live, discovery
        self._deciding = decisions.wanted
        # A high-priority block waits for the batch before it at most.
        self._batch = FEW_BLOCKS if in_a_hurry else BATCH_BLOCKS
        self._skipped = False

    def run(self, stop: threading.Event) -> None:
        """Until the queue is closed and empty; `stop` is for whoever starts it again after a failure."""
        if self._durability is not None:
            self._recover(self._durability)
        while items := self._queue.get_many(self._batch):
            try:
                self.work_off(items)
            finally:
                self._queue.done(len(items))
        self._outlet.events(self._decisions.stop())
        self._outlet.stop()

    def work_off(self, items: Sequence[Queued]) -> None:
        """Blocks as they came from the queue: windows, verdicts, results offered to the sinks."""
        self._overload.note(max(0.0, self._clock.monotonic() - min(item[2] for item in items)))
        for block, aligned, _, number in items:
            if self._shutdown.left_s(PIPELINE_BY_S) <= 0:
                # Recorded ones are answered at the next start.
                self._skipped = True
                self._metrics.add_by("left" if number else "dropped", "stopping")
                continue
            self._process(block, aligned)
            if number and self._durability is not None and not self._skipped:
                self._durability.done(number, block)

    def _recover(self, durability: Durability) -> None:
        """Bring the streams back to where an earlier run left them, and answer what it owed."""
        before = self._metrics.count("windows")
        try:
            for recorded, is_owed, is_old in durability.owed():
                if self._shutdown.left_s(PIPELINE_BY_S) <= 0:
                    self._skipped = True
                    return
                self._take_recorded(recorded, is_owed, is_old)
                durability.done(recorded.number, recorded.block)
        except OSError as error:
            log.error("the recorder cannot be read (%s); going on with what comes", error)
        if answered := self._metrics.count("windows") - before:
            self._metrics.add("recovered_windows", answered)
            log.info("%d windows of an earlier run answered from the recorder", answered)

    def _take_recorded(self, recorded: Recorded, is_owed: bool, is_old: bool) -> None:
        block, aligned, origin = recorded.block, recorded.aligned, recorded.origin
        try:
            if not is_owed:
                self._engine.warm(block, aligned=aligned, origin=origin)
                return
            results = self._engine.push(block, aligned=aligned, origin=origin)
            if is_old:
                results = [replace(result, historical=True) for result in results]
            for result in results:
                self._outlet.result(result)
            if self._deciding and (results or block.end):
                self._decide(block, results)
        except Exception:
            self._give_up(block)

    def _process(self, block: SampleBlock, aligned: bool) -> None:
        try:
            self._work(block, aligned)
        except Exception:
            self._give_up(block)

    def _give_up(self, block: SampleBlock) -> None:
        # One stream's poison must not end the others; its state may be what is wrong.
        self._metrics.add_by("dropped", "failed_block")
        log.exception("stream %s: block dropped, stream starts anew", block.stream)
        self._engine.drop(block.stream)

    def _work(self, block: SampleBlock, aligned: bool) -> None:
        results = self._engine.push(block, aligned=aligned)
        if self._live is not None:
            self._live.block(block)
        if self._presence.heard(block.stream, block.values.shape[0] / block.rate_hz):
            self._announcer.availability(block.stream, True)
            if self._discovery is not None:
                self._announcer.retained(*self._discovery(block.stream))
        for result in results:
            self._outlet.result(result)
        if self._deciding and (results or block.end):
            self._decide(block, results)
        if block.end and self._presence.ended(block.stream):
            self._announcer.availability(block.stream, False)

    def _decide(self, block: SampleBlock, results: list[Result]) -> None:
        try:
            for result in results:
                self._outlet.events(self._decisions.push(result))
            if block.end:
                self._outlet.events(self._decisions.end(block.stream))
        except Exception:
            # Results are out already and windows go on; only this stream's events start anew.
            self._metrics.add_by("dropped", "failed_decision")
            log.exception("stream %s: events start anew", block.stream)
            self._decisions.drop(block.stream)
