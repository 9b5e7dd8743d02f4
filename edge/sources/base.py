"""What a source is, and how it hands over what it read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from edge.errors import EdgeError
from edge.metrics import Metrics
from edge.types import SampleBlock
from edge.warnings_once import WarnOnce

MAX_RATE_HZ = 1e6  # above any sensor this agent is for; a rate beyond it is a wrong unit
MAX_CHANNELS = 64


class PayloadError(EdgeError):
    """A sample message that is dropped. `reason` is a counter's label, `field` the key at fault."""

    def __init__(self, reason: str, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


class Closed(EdgeError):  # noqa: N818 - a state, not a fault
    """The agent takes no more samples: it is stopping."""


class Emit(Protocol):
    """Hands a block to the agent. Waits while the agent's queue is full; raises Closed when it stops.

    `on_accepted` is called, from any thread, once the block is safe with the agent: a source whose sender waits
    for an acknowledgement gives it there, never before.
    """

    def __call__(self, block: SampleBlock, on_accepted: Callable[[], None] | None = None) -> None: ...


class Source(Protocol):
    """One input. `run` blocks until `stop` is set or the source has nothing more to give, and raises only bugs:
    a device or broker that is away is waited for. `aligned`: its streams are live and their count outlasts
    the agent, so windows start on multiples of the hop (see Windower) whenever the agent joins.
    """

    name: str

    @property
    def aligned(self) -> bool: ...

    @property
    def is_ready(self) -> bool:
        """Nothing that is sent from now on is missed. A device that is absent keeps nobody waiting: True."""
        ...

    def run(self, emit: Emit, stop: threading.Event) -> None: ...

    def status(self) -> dict[str, object]:
        """Facts for `health`, e.g. {"state": "connected"}."""
        ...


class Drops:
    """Counts what a source had to drop, by reason, and names each kind of trouble once."""

    def __init__(self, metrics: Metrics, log: logging.Logger) -> None:
        self._metrics = metrics
        self._warn = WarnOnce(log)

    def drop(self, reason: str, where: str, message: str, n: int = 1) -> None:
        """`reason` from a small fixed set; `where` is the topic or port."""
        self._metrics.add_by("dropped", reason, n)
        # Others choose topics and payloads: shown as Python literals, so that no control character reaches a terminal.
        if not message.isprintable():  # it may quote a key or a text of the payload
            message = ascii(message)[1:-1]
        self._warn.warn(f"{reason} {where}", "dropped (%s) from %s: %s", reason, ascii(where)[1:-1], message)
