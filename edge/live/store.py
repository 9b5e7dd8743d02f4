"""What watchers see: recent samples, verdicts and events of each stream, bounded in streams, seconds and bytes.

Written by the pipeline (and, for origins, by source threads), read by watchers. A writer holds the lock for
microseconds and never waits for a reader's work: readers copy references under it and compute outside.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edge.live.answers import Answers
from edge.types import Result, SampleBlock, Window

# Two minutes of 200 single-channel streams at 300 Hz are 29 MB; with more streams each keeps less.
MAX_SAMPLE_BYTES = 64 << 20
# The latest window of each stream, for explanations: 30 s at 300 Hz are 45 kB.
MAX_WINDOW_BYTES = 32 << 20
MAX_EVENTS = 10_000
# However short the share of a stream becomes, a tile still has its strip.
LEAST_S = 10.0
# Frames of a microsecond at a high rate must not fill memory with block objects.
MAX_BLOCKS = 8192
_HOURS = 24 * 7


Origin = Callable[[], Mapping[str, object]]
"""Facts about the source that a stream comes from, as in `health`."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A block and its place in the order in which everything was seen."""

    serial: int
    block: SampleBlock


@dataclass(slots=True)
class Stream:
    """One stream's recent past. `changed` is the serial of its latest verdict, `heard` monotonic seconds."""

    name: str
    origin: Origin | None = None
    blocks: deque[Seen] = field(default_factory=deque)
    stored_bytes: int = 0
    samples: int = 0
    answers: Answers = field(default_factory=Answers)
    result: Result | None = None
    first_serial: int = 0
    changed: int = 0
    heard: float = 0.0
    lag_s: float | None = None
    lead_off: bool = False
    ended: bool = False
    suspect: int = 0


@dataclass(slots=True)
class Hour:
    """Verdicts reached within one hour of UTC."""

    windows: int = 0
    suspect: int = 0
    abstain: int = 0


class LiveStore:
    """See the module. `keep_s` is how much of each stream is kept, where memory allows."""

    def __init__(
        self,
        *,
        max_streams: int,
        keep_s: float = 120.0,
        keep_windows: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
        utc: Callable[[], float] = time.time,
    ) -> None:
        self._max_streams, self._keep_s = max_streams, keep_s
        self._keep_windows = keep_windows
        self._monotonic, self._utc = monotonic, utc
        self._lock = threading.Lock()
        self._streams: OrderedDict[str, Stream] = OrderedDict()  # longest silent first
        self._windows: OrderedDict[str, tuple[Window, Result]] = OrderedDict()
        self._window_bytes = 0
        self._origins: dict[str, Origin] = {}
        self._events: deque[tuple[int, Mapping[str, object]]] = deque(maxlen=MAX_EVENTS)
        self._hours: OrderedDict[int, Hour] = OrderedDict()
        self._share = MAX_SAMPLE_BYTES
        self.serial = 0

    # --- writers ---

    def came_from(self, stream: str, source: Origin) -> None:
        """Which source a stream's samples come from; said before its block."""
        if self._origins.get(stream) != source:
            with self._lock:
                if len(self._origins) > 4 * self._max_streams:
                    self._origins.clear()  # ids come from outside: forget rather than grow
                self._origins[stream] = source

    def block(self, block: SampleBlock) -> None:
        """Samples that the pipeline took."""
        with self._lock:
            self.serial += 1
            stream = self._streams.get(block.stream)
            if stream is None:
                stream = self._add(block.stream)
            else:
                self._streams.move_to_end(block.stream)
            stream.heard = self._monotonic()
            stream.lead_off, stream.ended = block.lead_off, block.end
            count = block.values.shape[0]
            stream.samples += count
            stream.origin = self._origins.get(block.stream)
            stream.lag_s = self._utc() - block.t0 - count / block.rate_hz
            stream.blocks.append(Seen(self.serial, block))
            stream.stored_bytes += block.values.nbytes
            self._trim(stream, block)

    def verdict(self, window: Window, result: Result) -> None:
        """A window and what was thought of it."""
        hour = int(result.t // 3600)
        with self._lock:
            self.serial += 1
            stream = self._streams.get(result.stream) or self._add(result.stream)
            stream.result, stream.changed = result, self.serial
            stream.answers.add(result)
            tally = self._hours.get(hour)
            if tally is None:
                tally = self._hours[hour] = Hour()
                while len(self._hours) > _HOURS:
                    self._hours.popitem(last=False)
            tally.windows += 1
            if result.status == "suspect":
                tally.suspect += 1
                stream.suspect += 1
            elif result.status == "abstain":
                tally.abstain += 1
            if self._keep_windows:
                self._keep(window, result)

    def event(self, event: Mapping[str, object]) -> None:
        """An event of the decision stage, as it is published."""
        with self._lock:
            self.serial += 1
            self._events.append((self.serial, event))

    # --- readers ---

    def streams(self) -> list[Stream]:
        """All streams, longest silent first. Their fields go on changing."""
        with self._lock:
            return list(self._streams.values())

    def get(self, name: str) -> Stream | None:
        return self._streams.get(name)

    def blocks(self, name: str, after: int = 0) -> list[Seen]:
        """The stream's blocks with a serial above `after`, oldest first."""
        with self._lock:
            stream = self._streams.get(name)
            if stream is None:
                return []
            if not after:
                return list(stream.blocks)
            found: list[Seen] = []
            for seen in reversed(stream.blocks):
                if seen.serial <= after:
                    break
                found.append(seen)
        found.reverse()
        return found

    def tail(self, name: str, seconds: float) -> list[SampleBlock]:
        """The blocks that hold the stream's last `seconds`, oldest first."""
        found: list[SampleBlock] = []
        with self._lock:
            stream = self._streams.get(name)
            left = seconds
            for seen in reversed(stream.blocks) if stream is not None else ():
                if left <= 0:
                    break
                found.append(seen.block)
                left -= seen.block.values.shape[0] / seen.block.rate_hz
        found.reverse()
        return found

    def window(self, name: str) -> tuple[Window, Result] | None:
        """The stream's latest window with its result, where memory allowed to keep it."""
        return self._windows.get(name)

    def answers(self, name: str, after_seq: int = -1) -> list[dict[str, object]]:
        """The stream's recent verdicts from `seq` above `after_seq`, oldest first."""
        with self._lock:
            stream = self._streams.get(name)
            return [] if stream is None else stream.answers.rows(after_seq)

    def events(self, after: int = 0, stream: str | None = None, limit: int = MAX_EVENTS) -> list[Mapping[str, object]]:
        """The newest `limit` events after a serial, oldest first."""
        found: list[Mapping[str, object]] = []
        with self._lock:
            for serial, event in reversed(self._events):
                if serial <= after or len(found) >= limit:
                    break
                if stream is None or event.get("stream") == stream:
                    found.append(event)
        found.reverse()
        return found

    def hours(self) -> list[tuple[int, Hour]]:
        """(hour since 1970, its tally), oldest first."""
        with self._lock:
            return [(hour, Hour(t.windows, t.suspect, t.abstain)) for hour, t in self._hours.items()]

    # --- within the lock ---

    def _add(self, name: str) -> Stream:
        if len(self._streams) >= self._max_streams:
            gone, _ = self._streams.popitem(last=False)
            self._forget_window(gone)
        stream = self._streams[name] = Stream(name, first_serial=self.serial)
        self._share = MAX_SAMPLE_BYTES // len(self._streams)
        return stream

    def _trim(self, stream: Stream, newest: SampleBlock) -> None:
        row = newest.values.shape[1] * newest.values.itemsize * newest.rate_hz
        most = min(self._keep_s * row, max(float(self._share), LEAST_S * row))
        while len(stream.blocks) > 1 and (stream.stored_bytes > most or len(stream.blocks) > MAX_BLOCKS):
            stream.stored_bytes -= stream.blocks.popleft().block.values.nbytes

    def _keep(self, window: Window, result: Result) -> None:
        self._forget_window(result.stream)
        self._windows[result.stream] = (window, result)
        self._window_bytes += window.values.nbytes + window.valid.nbytes
        while self._window_bytes > MAX_WINDOW_BYTES and len(self._windows) > 1:
            self._forget_window(next(iter(self._windows)))

    def _forget_window(self, name: str) -> None:
        held = self._windows.pop(name, None)
        if held is not None:
            self._window_bytes -= held[0].values.nbytes + held[0].valid.nbytes
