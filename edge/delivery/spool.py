"""Where results wait for one sink: bounded, oldest first, nothing leaves before it is removed."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol

from edge.events import Message

Overflow = Literal["drop_oldest", "refuse_newest"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A waiting result; `key` rises, `queued_s` is the monotonic time at which it came."""

    key: int
    result: Message
    queued_s: float


class Spool(Protocol):
    """Put from any thread; peek and remove from the runner's."""

    def put(self, result: Message) -> int:
        """Keep the result. Returns how many results were given up for want of room, this one included."""
        ...

    def peek(self, most: int, timeout_s: float) -> list[Entry]:
        """The oldest entries, up to `most`; waits for the first one at most `timeout_s`."""
        ...

    def remove(self, keys: Iterable[int]) -> None:
        """These are delivered, or given up for good."""
        ...

    def wake(self) -> None:
        """End a waiting peek."""
        ...

    def __len__(self) -> int: ...


class MemorySpool:
    """A spool that lives as long as the process. `cap` results: about 1 kB each."""

    def __init__(
        self, cap: int, overflow: Overflow = "drop_oldest", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cap, self._overflow, self._clock = cap, overflow, clock
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._changed = threading.Condition()
        self._next_key = 0
        self._awake = False

    def put(self, result: Message) -> int:
        with self._changed:
            given_up = 0
            if len(self._entries) >= self._cap:
                if self._overflow == "refuse_newest":
                    return 1
                # It may be on its way right now; then it is delivered and counted as dropped: told too much.
                self._entries.popitem(last=False)
                given_up = 1
            self._entries[self._next_key] = Entry(self._next_key, result, self._clock())
            self._next_key += 1
            self._changed.notify()
            return given_up

    def peek(self, most: int, timeout_s: float) -> list[Entry]:
        with self._changed:
            if not self._entries and not self._awake and timeout_s > 0:
                self._changed.wait(timeout_s)
            self._awake = False
            return list(islice(self._entries.values(), most))

    def remove(self, keys: Iterable[int]) -> None:
        with self._changed:
            for key in keys:
                self._entries.pop(key, None)

    def wake(self) -> None:
        with self._changed:
            self._awake = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._entries)
