"""Windows on their way to the cluster: kept until their result has come, sent again while it has not.

A broker's acknowledgement says that a server took the message, not that the replicated stream has it: a server may die
in between. The result is the only proof, and the window's id makes a repeat harmless. No threads, no IO; `put` waits.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from edge.sources.base import Closed

MAX_RETRY_S = 600.0
# Sent and not acknowledged by the broker; more would only wait inside the client.
IN_FLIGHT = 64


@dataclass
class Parcel:
    """A window's message; `acked`: the broker has taken it."""

    id: str
    topic: str
    payload: bytes
    due_s: float
    pause_s: float
    acked: bool = False
    sent: int = 0


class Outbox:
    """`cap` windows at most. Full: one that the broker has taken gives its place; if there is none, `put` waits."""

    def __init__(self, cap: int, retry_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._cap, self._retry_s, self._clock = cap, retry_s, clock
        self._parcels: OrderedDict[str, Parcel] = OrderedDict()
        self._by_mid: dict[int, str] = {}
        self._changed = threading.Condition()
        self._closed = False
        self.given_up = self.repeated = self.answered_count = 0

    def __len__(self) -> int:
        return len(self._parcels)

    def put(self, id: str, topic: str, payload: bytes) -> None:
        """Raises Closed."""
        with self._changed:
            while len(self._parcels) >= self._cap and not self._closed and not self._give_way():
                self._changed.wait(0.5)
            if self._closed:
                raise Closed("the cutter is stopping")
            self._parcels[id] = Parcel(id, topic, payload, self._clock(), self._retry_s)
            self._changed.notify_all()

    def due(self, timeout_s: float) -> list[Parcel]:
        """Those to be sent now; waits for the first."""
        with self._changed:
            found = self._find()
            if not found and timeout_s > 0:
                self._changed.wait(timeout_s)
                found = self._find()
            return found

    def sent(self, parcel: Parcel, mid: int) -> None:
        """It is on its way, under this message id; if its result does not come in time, it goes again."""
        with self._changed:
            self.repeated += parcel.sent > 0
            parcel.sent += 1
            parcel.acked = False
            parcel.due_s = self._clock() + parcel.pause_s
            parcel.pause_s = min(2 * parcel.pause_s, MAX_RETRY_S)
            self._by_mid[mid] = parcel.id

    def acked(self, mid: int) -> None:
        """The broker has taken it."""
        with self._changed:
            parcel = self._parcels.get(self._by_mid.pop(mid, ""))
            if parcel is not None:
                parcel.acked = True
                self._changed.notify_all()

    def answered(self, id: str) -> None:
        """Its result came: done."""
        with self._changed:
            if self._parcels.pop(id, None) is not None:
                self.answered_count += 1
                self._changed.notify_all()

    def reconnected(self) -> None:
        """What was on its way may be lost: acknowledgements of before do not come any more."""
        with self._changed:
            self._by_mid.clear()
            now = self._clock()
            for parcel in self._parcels.values():
                if parcel.sent and not parcel.acked:
                    parcel.due_s = min(parcel.due_s, now + self._retry_s)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def unsent(self) -> int:
        """Windows that the broker has not taken."""
        with self._changed:
            return sum(not parcel.acked for parcel in self._parcels.values())

    def _find(self) -> list[Parcel]:
        now, room = self._clock(), IN_FLIGHT - len(self._by_mid)
        out: list[Parcel] = []
        for parcel in self._parcels.values():
            if len(out) >= room:
                break
            if parcel.due_s <= now:
                out.append(parcel)
        return out

    def _give_way(self) -> bool:
        for id, parcel in self._parcels.items():
            if parcel.acked:
                del self._parcels[id]
                self.given_up += 1
                return True
        return False
