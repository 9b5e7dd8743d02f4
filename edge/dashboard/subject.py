"""What the dashboard asks of the agent: a handful of calls, so that it can be tested beside one and needs no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge.bundle import Bundle
from edge.live.store import LiveStore
from edge.types import SampleBlock

Facts = Mapping[str, object]
Recorded = Callable[[str, float, float], Sequence[SampleBlock]]


def _nothing() -> Facts | None:
    return None


@dataclass(frozen=True)
class Subject:
    """The agent as seen from here. Every call may come from the dashboard's thread at any time.

    recorded: what the flight recorder holds of a stream between two UTC times; None without a recorder.
    chain: the state of the results' hash chain; None where there is none. update: the model in service
    and what became of the last change.
    """

    node: str
    boot_id: str
    store: LiveStore
    info: Callable[[], Facts]
    health: Callable[[], Facts]
    bundle: Callable[[], Bundle]
    silent_s: float = 30.0
    recorded: Recorded | None = None
    events: bool = False
    chain: Callable[[], Facts | None] = _nothing
    update: Callable[[], Facts | None] = _nothing
