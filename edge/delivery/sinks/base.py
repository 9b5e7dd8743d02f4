"""What a sink is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from edge.errors import EdgeError
from edge.events import Message


class SinkError(EdgeError):
    """Not (all) written; to be tried again. `done` are the positions in the batch that were written,
    `refused` those that this sink will never take.
    """

    def __init__(self, message: str, *, done: Collection[int] = (), refused: Collection[int] = ()) -> None:
        super().__init__(message)
        self.done = done
        self.refused = refused


class SinkWaiting(SinkError):  # noqa: N818 - a state, not a fault
    """What the sink depends on (a connection) is away; it is being waited for and was told elsewhere. Raised
    after some waiting, so that trying again at once is right.
    """


class SinkGone(SinkError):  # noqa: N818 - a state, not a fault
    """Nobody will ever read this sink again (a closed pipe): trying again is of no use."""


class Sink(Protocol):
    """One output. Used by one thread. After a failed `write` the runner closes and opens it again."""

    kind: str
    name: str

    def open(self) -> None:
        """Get ready; raises SinkError."""
        ...

    def write(self, results: Sequence[Message]) -> None:
        """Hand over all results and see that they arrived; raises SinkError."""
        ...

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        ...
