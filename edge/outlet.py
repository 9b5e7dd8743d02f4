"""Results, events and the chain's notes, handed to those who want them: spools of sinks, the live store, a caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from edge.chain import Chain, ChainNote
from edge.delivery.runner import SinkRunner
from edge.events import Event
from edge.metrics import Histogram
from edge.types import Result

if TYPE_CHECKING:
    from edge.live.store import LiveStore


class Outlet:
    """`chain` is set once there is one: it hands its notes to this object. Used by the pipeline's thread, but for
    `tell_given_up`, which is the agent's.
    """

    def __init__(
        self,
        runners: Sequence[SinkRunner],
        *,
        live: LiveStore | None,
        latency: Histogram | None,
        on_result: Callable[[Result], None] | None,
    ) -> None:
        self._of_results = [runner for runner in runners if "result" in runner.holds]
        self._of_events = [runner for runner in runners if "event" in runner.holds]
        self._live, self._latency, self._on_result = live, latency, on_result
        self.chain: Chain | None = None

    def result(self, result: Result) -> None:
        if self.chain is not None:
            result = self.chain.link(result)
        for runner in self._of_results:
            runner.offer(result)
        if self.chain is not None:
            self.chain.after(result)
        if self._latency is not None:
            self._latency.observe(result.latency_ms / 1000.0)
        if self._on_result is not None:
            self._on_result(result)

    def note(self, note: ChainNote) -> None:
        for runner in self._of_results:
            runner.offer(note)

    def events(self, events: Iterable[Event]) -> None:
        for event in events:
            if self._live is not None:
                self._live.event(event.to_dict())
            for runner in self._of_events:
                runner.offer(event)

    def tell_given_up(self) -> None:
        """Tombstones for what spools had to give up, once there is room for them."""
        if self.chain is None:
            return
        for runner in self._of_results:
            if runner.spool.has_room:
                for boot_id, stream, given_up in runner.spool.drops.take_chained():
                    runner.offer(self.chain.note("tombstone", stream, boot_id, asdict(given_up)))

    def stop(self) -> None:
        """Nothing comes any more."""
        if self.chain is not None:
            self.chain.stop()
