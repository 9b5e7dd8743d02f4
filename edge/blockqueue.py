"""The bounded queue between the sources and the pipeline: when it is full, sources wait and nothing is dropped.

A waiting MQTT source stops reading, so the broker keeps its messages; a waiting serial source leaves bytes with the
kernel, and what overflows there is seen as a gap in the device's count.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

from edge.sources.base import Closed

Item = TypeVar("Item")

# Woken again so soon, the getter waits so long for more: it is then woken 300 times a second at most.
OFTEN_S, GATHER_S = 0.01, 0.003


class BlockQueue(Generic[Item]):
    """Many putters, one getter that takes what is there in one go."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._items: deque[Item] = deque()
        self._first: deque[Item] = deque()  # of the high-priority streams
        self._lock = threading.Lock()
        self._some = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._awaited = False  # somebody waits for an item
        self._closed = False
        self._woken_s = 0.0
        self._unfinished = 0
        self.finished = 0  # items worked off so far

    @property
    def full(self) -> bool:
        return len(self._items) >= self._cap

    @property
    def unfinished(self) -> int:
        """Items that wait or are being worked on."""
        return self._unfinished

    def put(self, item: Item, *, first: bool = False) -> None:
        """Waits for room; `first`: ahead of all that is not. Raises Closed, also while waiting, once it is closed."""
        items = self._first if first else self._items
        with self._lock:
            while len(items) >= self._cap and not self._closed:
                self._room.wait()
            if self._closed:
                raise Closed("the agent is stopping")
            items.append(item)
            self._unfinished += 1
            if self._awaited:
                self._awaited = False
                self._some.notify()

    def get_many(self, most: int) -> list[Item]:
        """Up to `most` items, oldest first; waits for one. Empty once the queue is closed and drained."""
        with self._lock:
            idle = not self._items and not self._first
            while not self._items and not self._first and not self._closed:
                self._awaited = True
                self._some.wait()
        if idle:
            self._gather()
        with self._lock:
            was_full = len(self._items) >= self._cap or len(self._first) >= self._cap
            out: list[Item] = []
            for items in (self._first, self._items):
                while items and len(out) < most:
                    out.append(items.popleft())
            if was_full:
                self._room.notify_all()
            return out

    def _gather(self) -> None:
        """Where items come all the time, let some come together: waking a thread for each one was a third of all
        processor time (benchmarks.throughput).
        """
        now = time.monotonic()
        often, self._woken_s = now - self._woken_s < OFTEN_S, now
        if often and not self._closed:
            time.sleep(GATHER_S)

    def done(self, count: int) -> None:
        """So many of the items taken are worked off."""
        with self._lock:
            self._unfinished -= count
            self.finished += count

    def close(self) -> None:
        """Refuse further items; what is inside can still be taken."""
        with self._some:
            self._closed = True
            self._some.notify_all()
            self._room.notify_all()

    def __len__(self) -> int:
        return len(self._items) + len(self._first)
