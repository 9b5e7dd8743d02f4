"""Where results wait for one sink: bounded, oldest first, nothing leaves before it is removed."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Reversible, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol

from edge.chain import digest
from edge.events import Message
from edge.types import Result

Overflow = Literal["drop_oldest", "refuse_newest"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A waiting result; `key` rises, `queued_s` is the monotonic time at which it came."""

    key: int
    result: Message
    queued_s: float


@dataclass(slots=True)
class GivenUp:
    """Results of one boot and stream that follow each other in the chain; see chain.py."""

    first_seq: int
    last_seq: int
    count: int
    prev: str
    digest: str


class Drops:
    """Results given up for want of room, by stream; ids come from outside, so their number is bounded."""

    MOST = 256

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._chained: dict[tuple[str, str], list[GivenUp]] = {}
        self._lock = threading.Lock()

    def add(self, message: Message) -> None:
        stream = message.stream
        known = stream in self._counts or len(self._counts) < self.MOST
        self._counts[stream if known else "(others)"] += 1
        if isinstance(message, Result) and message.prev:
            self._chain(message)

    def take_chained(self) -> list[tuple[str, str, GivenUp]]:
        """What no tombstone names yet: boot, stream, range."""
        with self._lock:
            out = [(boot, stream, each) for (boot, stream), runs in self._chained.items() for each in runs]
            self._chained.clear()
            return out

    def _chain(self, result: Result) -> None:
        own = digest(result.to_dict())
        with self._lock:
            if len(self._chained) >= 4 * self.MOST:
                return  # such holes are found as missing
            runs = self._chained.setdefault((result.boot_id, result.stream), [])
            if runs and runs[-1].digest == result.prev:
                runs[-1].last_seq, runs[-1].digest = result.seq, own
                runs[-1].count += 1
            else:
                runs.append(GivenUp(result.seq, result.seq, 1, result.prev, own))

    def by_stream(self) -> dict[str, int]:
        return dict(self._counts)


def is_live(entry: Entry, oldest_live: float) -> bool:
    """Queued since then, and not historical already when it came."""
    return entry.queued_s >= oldest_live and not entry.result.historical


def newest_live(entries: Reversible[Entry], oldest_live: float, after: int) -> list[Entry]:
    """Of entries in the order of their keys: those beyond `after` that are live."""
    live = []
    for entry in reversed(entries):
        if entry.queued_s < oldest_live or entry.key <= after:
            break
        if not entry.result.historical:
            live.append(entry)
    return live[::-1]


def pick(live: Sequence[Entry], backlog: Sequence[Entry], most: int, share: float) -> list[Entry]:
    """Live results first; of `most`, the backlog gets `share` at least, and what live ones leave."""
    room = max(1, int(most * share), most - len(live))
    taken = backlog[:room]
    return [*live[: most - len(taken)], *taken]


class Spool(Protocol):
    """Put from any thread; peek and remove from the runner's."""

    drops: Drops
    lasting: bool  # what waits is there at the next start

    def put(self, result: Message) -> int:
        """Keep the result. Returns how many results were given up for want of room, this one included."""
        ...

    def peek(self, most: int, timeout_s: float) -> list[Entry]:
        """Up to `most` entries: those that are live, then the oldest ones (see pick). Waits for a first one at most
        `timeout_s`.
        """
        ...

    def remove(self, keys: Iterable[int]) -> None:
        """These are delivered, or given up for good."""
        ...

    def wake(self) -> None:
        """End a waiting peek."""
        ...

    def __len__(self) -> int: ...

    @property
    def has_room(self) -> bool:
        """Whether a note about what was given up would not push out more."""
        ...


class MemorySpool:
    """A spool that lives as long as the process. `cap` results: about 1 kB each. An entry is live for `live_s`."""

    lasting = False

    def __init__(
        self,
        cap: int,
        overflow: Overflow = "drop_oldest",
        clock: Callable[[], float] = time.monotonic,
        *,
        live_s: float = 10.0,
        historical_share: float = 0.5,
    ) -> None:
        self._cap, self._overflow, self._clock = cap, overflow, clock
        self._live_s, self._share = live_s, historical_share
        self.drops = Drops()
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._changed = threading.Condition()
        self._next_key = 0
        self._awake = False

    def put(self, result: Message) -> int:
        with self._changed:
            given_up = 0
            if len(self._entries) >= self._cap:
                if self._overflow == "refuse_newest":
                    self.drops.add(result)
                    return 1
                # It may be on its way right now; then it is delivered and counted as dropped: told too much.
                _, oldest = self._entries.popitem(last=False)
                self.drops.add(oldest.result)
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
            oldest = list(islice(self._entries.values(), most))
            oldest_live = self._clock() - self._live_s
            if not oldest or is_live(oldest[0], oldest_live):
                return oldest
            live = [entry for entry in oldest if is_live(entry, oldest_live)]
            live += newest_live(self._entries.values(), oldest_live, live[-1].key if live else -1)
            return pick(live, [entry for entry in oldest if not is_live(entry, oldest_live)], most, self._share)

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

    @property
    def has_room(self) -> bool:
        return len(self._entries) < self._cap - self._cap // 8
