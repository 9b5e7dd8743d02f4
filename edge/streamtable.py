"""State by stream, with a cap: ids come from outside, so their number must not decide how much memory is used."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

State = TypeVar("State")


class StreamTable(Generic[State]):
    """At most `cap` entries. A new stream takes the place of the longest silent one if that has been silent for
    `idle_s` seconds or is marked done; else it is refused: a stream that is heard is never pushed out by a new one.
    `on_drop` sees the state that goes.
    """

    def __init__(
        self,
        make: Callable[[str], State],
        cap: int,
        idle_s: float,
        clock: Callable[[], float] = time.monotonic,
        on_drop: Callable[[State], object] | None = None,
    ) -> None:
        self._make, self._cap, self._idle_s, self._clock = make, cap, idle_s, clock
        self._on_drop = on_drop
        self._entries: OrderedDict[str, State] = OrderedDict()  # longest silent first
        self._heard: dict[str, float] = {}
        self._done: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def active(self) -> int:
        """Entries that are not marked done."""
        return len(self._entries) - len(self._done)

    def __iter__(self) -> Iterator[tuple[str, State]]:
        return iter(list(self._entries.items()))

    def get(self, stream: str) -> State | None:
        """The stream's state, made when new; None where the cap refuses a new one."""
        state = self._entries.get(stream)
        if state is None:
            if len(self._entries) >= self._cap and not self._make_room():
                return None
            state = self._entries[stream] = self._make(stream)
        else:
            self._entries.move_to_end(stream)
            if self._done:
                self._done.pop(stream, None)
        self._heard[stream] = self._clock()
        return state

    def peek(self, stream: str) -> State | None:
        """The stream's state if it is there; does not count as being heard."""
        return self._entries.get(stream)

    def done(self, stream: str) -> None:
        """The stream has ended: keep its state, but give its place to whoever asks."""
        if stream in self._entries:
            self._done[stream] = None

    def drop(self, stream: str) -> None:
        """Forget the stream."""
        state = self._entries.pop(stream, None)
        if self._on_drop is not None and state is not None:
            self._on_drop(state)
        self._heard.pop(stream, None)
        self._done.pop(stream, None)

    def idle(self, silent_s: float) -> list[str]:
        """Streams not heard for `silent_s` seconds, longest silent first."""
        limit, found = self._clock() - silent_s, []
        for stream in self._entries:
            if self._heard[stream] > limit:
                break
            found.append(stream)
        return found

    def _make_room(self) -> bool:
        if self._done:
            self.drop(next(iter(self._done)))
            return True
        oldest = next(iter(self._entries))
        if self._clock() - self._heard[oldest] < self._idle_s:
            return False
        self.drop(oldest)
        return True
