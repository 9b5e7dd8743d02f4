"""One sink's results in the store: the newest in memory, the rest read back when their turn comes.

A result that is delivered before the next commit never touches the disk: in good times the file sees one small row a
commit. Until then the recorder can give it again.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

from edge.clock import SYSTEM_CLOCK, Clock
from edge.delivery.diskstore import Changes, DiskStore
from edge.delivery.spool import Drops, Entry, Overflow, is_live, newest_live, pick
from edge.errors import EventError, ResultError
from edge.events import Message, message_from_json

log = logging.getLogger("edge.delivery")

KEEP_IN_MEMORY = 256  # entries that are on the disk, too
READ_AHEAD = 256


class DiskSpool:
    """Spool (see there) on a DiskStore. `sink` tells the sinks apart in the file; `cap`: results that may wait."""

    lasting = True

    def __init__(
        self,
        store: DiskStore,
        sink: int,
        cap: int,
        overflow: Overflow = "drop_oldest",
        *,
        memory_cap: int = 10_000,
        live_s: float = 10.0,
        historical_share: float = 0.5,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.sink = sink
        self.drops = Drops()
        self._store, self._cap, self._overflow = store, cap, overflow
        self._memory_cap, self._live_s, self._share = memory_cap, live_s, historical_share
        self._clock = clock
        self._changed = threading.Condition()
        self._awake = False
        self._memory: OrderedDict[int, Entry] = OrderedDict()
        self._fresh: set[int] = set()  # keys in memory that the file does not hold
        self._ahead: OrderedDict[int, Entry] = OrderedDict()  # the oldest of the file, read back
        self._read_to = 0  # keys up to here were read back
        self._gone: list[int] = []  # delivered, and still in the file
        self._excess = 0  # so many of the oldest in the file have to go
        # Results that only the file holds, and the key of the next.
        self._stored, last = store.counts(sink)
        self._next_key = last + 1
        store.attach(self)

    def put(self, result: Message) -> int:
        with self._changed:
            given_up = 0
            if len(self) >= self._cap or len(self._fresh) >= self._memory_cap:
                given_up = 1
                if self._overflow == "refuse_newest":
                    self.drops.add(result)
                    return given_up
                self._drop_oldest()
            key, self._next_key = self._next_key, self._next_key + 1
            self._memory[key] = Entry(key, result, self._clock.monotonic())
            self._fresh.add(key)
            self._changed.notify()
            return given_up

    def peek(self, most: int, timeout_s: float) -> list[Entry]:
        self._read_ahead(most)
        with self._changed:
            if not len(self) and not self._awake and timeout_s > 0:
                self._changed.wait(timeout_s)
            self._awake = False
            oldest_live = self._clock.monotonic() - self._live_s
            oldest = list(islice(self._ahead.values(), most))
            if len(oldest) < most and not self._unread:
                oldest += islice(self._memory.values(), most - len(oldest))
            if not oldest or is_live(oldest[0], oldest_live):
                return oldest
            live = [entry for entry in oldest if is_live(entry, oldest_live)]
            live += newest_live(self._memory.values(), oldest_live, live[-1].key if live else -1)
            return pick(live, [entry for entry in oldest if not is_live(entry, oldest_live)], most, self._share)

    def remove(self, keys: Iterable[int]) -> None:
        with self._changed:
            for key in keys:
                if self._memory.pop(key, None) is not None:
                    if key not in self._fresh:
                        self._gone.append(key)
                    self._fresh.discard(key)
                elif self._ahead.pop(key, None) is not None:
                    self._stored -= 1
                    self._gone.append(key)

    def wake(self) -> None:
        with self._changed:
            self._awake = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._memory) + self._stored

    def adopt(self, count: int) -> None:
        """So many results of an earlier run are in the file; it could not be read before."""
        with self._changed:
            self._stored += count
            self._changed.notify()

    def give_up_oldest(self, count: int) -> None:
        """They are too old."""
        with self._changed:
            for _ in range(min(count, len(self))):
                self._drop_oldest()

    def oldest_key(self) -> int:
        """Nothing before this key waits any more."""
        with self._changed:
            if self._ahead:
                return next(iter(self._ahead))
            if self._stored:
                return self._read_to + 1
            return next(iter(self._memory), self._next_key)

    @property
    def next_key(self) -> int:
        return self._next_key

    def changes(self) -> Changes:
        """For the store's commit: rows to insert, keys to delete, and how many of the oldest have to go."""
        with self._changed:
            fresh = [entry for key, entry in self._memory.items() if key in self._fresh]
            gone, excess = list(self._gone), self._excess
        utc = self._clock.utc_minus_monotonic()
        rows = [
            (self.sink, e.key, e.result.stream, e.queued_s + utc, e.result.to_json().encode()) for e in fresh
        ]
        return Changes(rows, gone, excess)

    @property
    def has_room(self) -> bool:
        return len(self) < self._cap - self._cap // 8

    def committed(self, changes: Changes, dropped: list[bytes]) -> None:
        """The store has done them; `dropped`: the results that had to go, as JSON."""
        with self._changed:
            for row in changes.rows:
                key = row[1]
                if key in self._memory:
                    self._fresh.discard(key)
                else:
                    self._gone.append(key)  # delivered while it was being written
            del self._gone[: len(changes.gone)]
            self._excess -= changes.excess
            for body in dropped:
                self._drop(body)
            while len(self._memory) > KEEP_IN_MEMORY:
                key = next(iter(self._memory))
                if key in self._fresh:
                    break
                del self._memory[key]
                self._stored += 1

    def lost_file(self) -> int:
        """The file is damaged: what is in memory is new to the next one. How many results went with the file."""
        with self._changed:
            lost = self._stored - len(self._ahead)
            self._memory = OrderedDict([*self._ahead.items(), *self._memory.items()])
            self._ahead.clear()
            self._fresh = set(self._memory)
            self._stored = self._excess = 0
            self._gone.clear()
            return lost

    def _drop(self, body: bytes) -> None:
        message = _parsed(body)
        if message is not None:
            self.drops.add(message)

    @property
    def _unread(self) -> int:
        """Results that have to be read back from the file."""
        return self._stored - len(self._ahead)

    def _drop_oldest(self) -> None:
        if self._ahead:
            key, entry = self._ahead.popitem(last=False)
            self._stored -= 1
        elif self._stored:
            self._stored -= 1
            self._excess += 1  # whose they are is known when they are deleted
            return
        else:
            key, entry = self._memory.popitem(last=False)
        # It may be on its way right now; then it is delivered and counted as dropped: told too much.
        self.drops.add(entry.result)
        if key in self._fresh:
            self._fresh.discard(key)
        else:
            self._gone.append(key)

    def _read_ahead(self, most: int) -> None:
        """By the sink's thread alone."""
        with self._changed:
            # Those that have to go must not be read before they are gone.
            if not self._unread or len(self._ahead) >= most or self._excess:
                return
            after, before = self._read_to, next(iter(self._memory), self._next_key)
            gone = set(self._gone)
        rows = self._store.load(self.sink, after, before, max(most, READ_AHEAD))
        now, utc = self._clock.monotonic(), self._clock.utc()
        with self._changed:
            if self._excess or after != self._read_to:
                return
            for key, queued, body in rows:
                self._read_to = key
                if key in gone:
                    continue
                result = _parsed(body)
                if result is None:
                    self._stored -= 1
                    self._gone.append(key)
                    continue
                age_s = utc - queued
                # A clock that was set back says nothing about its age; it has waited for the file.
                self._ahead[key] = Entry(key, result, now - age_s if age_s >= 0 else now - 2 * self._live_s)


def _parsed(body: bytes) -> Message | None:
    try:
        return message_from_json(body)
    except (ResultError, EventError) as error:
        log.error("a result in the spool file cannot be read and is dropped: %s", error)
        return None
