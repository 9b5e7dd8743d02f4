"""What an agent reads from its recorder when it starts: the state of every stream, then the windows it still owes.

The spool keeps, together with the results, the number of the last record whose windows are all answered. Records
before it only bring the windows that are being filled back to where they were; those after it are answered.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.bundle import InputSpec
from edge.recorder.record import BLOCK, MARK, Decoder, Mark, Recorded, RecordError, read_mark
from edge.recorder.segments import Raw, Segment, from_record, list_segments, read_segment
from edge.recorder.tracks import Tracks
from edge.types import SampleBlock

log = logging.getLogger("edge.recorder")


@dataclass
class Found:
    """What the folder holds. `next_number`: for the next record."""

    next_number: int
    mark: Mark
    segments: list[Segment] = field(default_factory=list)
    damaged_bytes: int = 0


class Progress:
    """Which records a stream's open window needs, told block by block in the pipeline's thread.

    Enough is kept that at least one more window lies before the open one (a record that ends must be known to have
    had its first window), and what the resampler's filter reaches back.
    """

    def __init__(self, spec: InputSpec, idle_s: float, answered: int = 0) -> None:
        self._spec = spec
        self._keep_s = 2.0 * (spec.window_samples + spec.hop_samples) / spec.rate_hz
        self._idle_s = idle_s
        self._streams: OrderedDict[str, _Needed] = OrderedDict()  # longest silent first
        self._answered = answered
        self._under_way: deque[int] = deque()  # numbers that rise
        self._overtook: set[int] = set()  # those of them that were done before one that came earlier
        self._lock = threading.Lock()

    def begun(self, number: int) -> None:
        """A record is on its way to the pipeline; numbers rise."""
        with self._lock:
            self._under_way.append(number)

    def done(self, number: int, block: SampleBlock, now_s: float) -> None:
        """All windows that this record completes are answered; in the order of the records for each stream, while a
        stream of high priority may overtake another.
        """
        with self._lock:
            if self._under_way and number == self._under_way[0] and not self._overtook:  # nearly always
                self._answered = self._under_way.popleft()
            elif self._under_way and number >= self._under_way[0]:
                self._overtook.add(number)
                while self._under_way and self._under_way[0] in self._overtook:
                    self._answered = self._under_way.popleft()
                    self._overtook.discard(self._answered)
            else:
                self._answered = max(self._answered, number)
            needed = self._streams.get(block.stream)
            if needed is None or needed.epoch != block.epoch or needed.rate_hz != block.rate_hz:
                keep_s = self._keep_s + 64.0 / min(block.rate_hz, self._spec.rate_hz)
                keep = int(keep_s * block.rate_hz) + 1
                needed = self._streams[block.stream] = _Needed(block.epoch, block.rate_hz, keep)
            self._streams.move_to_end(block.stream)
            end = block.first_index + block.values.shape[0]
            records = needed.records
            records.append((number, end))
            while records[0][1] < end - needed.keep:
                records.popleft()
            needed.heard_s = now_s
            if block.end:
                del self._streams[block.stream]

    def mark(self, now_s: float) -> Mark:
        """Where an agent that starts now would have to go on; from any thread."""
        with self._lock:
            while self._streams:
                stream, oldest = next(iter(self._streams.items()))
                if now_s - oldest.heard_s <= self._idle_s:
                    break
                del self._streams[stream]
            needed = min((n.records[0][0] for n in self._streams.values()), default=self._answered + 1)
            return Mark(self._answered, min(needed, self._answered + 1))


@dataclass(slots=True)
class _Needed:
    epoch: str
    rate_hz: float
    keep: int  # samples
    records: deque[tuple[int, int]] = field(default_factory=deque)
    heard_s: float = 0.0


def find(folder: Path, mark: Mark | None, tracks: Tracks) -> Found:
    """Look through what is needed after `mark`, else after the last mark in the records, and fill `tracks`.

    Raises OSError.
    """
    segments = list_segments(folder)
    if mark is None:
        mark = _last_mark(segments) or Mark(0, 0)
    found = Found(mark.answered + 1, mark, segments)
    decoder = Decoder()
    for raw in _raws(segments, mark.needed, found):
        found.next_number = max(found.next_number, raw.number + 1)
        if raw.kind == BLOCK:
            recorded = _decoded(decoder, raw)
            if recorded is not None:
                tracks.origin(recorded.block, recorded.origin)
    if found.damaged_bytes:
        log.warning("%s: %d damaged bytes passed over", folder, found.damaged_bytes)
    return found


def unread(folder: Path) -> Found:
    """For a folder that cannot be read: nothing is owed now, and numbers go on beyond any that may be in it."""
    number = max((segment.first for segment in list_segments(folder)), default=0) + (1 << 20)
    return Found(number, Mark(number - 1, number))


def owed(found: Found) -> Iterator[tuple[Recorded, bool]]:
    """Each record that is needed, oldest first, and whether its windows are still to be answered. Raises OSError."""
    decoder = Decoder()
    for raw in _raws(found.segments, found.mark.needed):
        if raw.kind != BLOCK or raw.number >= found.next_number:
            continue
        recorded = _decoded(decoder, raw)
        if recorded is not None:
            yield recorded, raw.number > found.mark.answered


def _decoded(decoder: Decoder, raw: Raw) -> Recorded | None:
    try:
        return decoder.block(raw.number, raw.payload)
    except RecordError as error:
        log.warning("record passed over: %s", error)
        return None


def _raws(segments: list[Segment], first: int, found: Found | None = None) -> Iterator[Raw]:
    def damaged(size: int) -> None:
        if found is not None:
            found.damaged_bytes += size

    for segment in from_record(segments, first):
        for raw in read_segment(segment.path, damaged):
            if raw.number >= first:
                yield raw


def _last_mark(segments: list[Segment]) -> Mark | None:
    for segment in reversed(segments):
        last = None
        for raw in read_segment(segment.path):
            if raw.kind == MARK:
                last = raw
        if last is not None:
            try:
                return read_mark(last.payload)
            except RecordError:
                continue
    return None
