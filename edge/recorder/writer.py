"""The recorder's writing side: blocks queue up, one thread appends and fsyncs them in groups, then tells their senders.

What cannot be written is accepted all the same: verdicts go on from memory, `health` says degraded, a few megabytes
wait for the disk, and a new file is tried every few seconds. At most `cap_bytes` and `keep_s` are kept, the oldest
file goes first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.clock import SYSTEM_CLOCK, Clock
from edge.metrics import Metrics
from edge.recorder.files import LOOK_S, Files
from edge.recorder.record import Encoder, Mark, whole_units
from edge.recorder.tracks import Tracks
from edge.types import SampleBlock
from edge.warnings_once import WarnOnce

log = logging.getLogger("edge.recorder")

# Brokers send some messages (mosquitto: 20) before they want an acknowledgement. From ACK_BURST on a group is closed
# as soon as nothing more comes for a moment: then the broker waits for us. No group waits for more than ACK_MOST.
ACK_BURST, ACK_MOST, LULL_S = 16, 128, 0.002
MAX_WAITING = 4096  # blocks that wait for the disk; further ones are not recorded
STALL_S = 5.0  # a disk that has not answered for so long does not silence the verdicts
RETRY_S = 2.0
HELD_BYTES = 4 << 20  # encoded records that wait for a disk that fails: minutes of forty ECG streams


@dataclass(slots=True)
class _Waiting:
    number: int
    block: SampleBlock
    aligned: bool
    arrival: float
    on_accepted: Callable[[], None] | None


class Recorder:
    """`append` from any thread, in the order of the numbers it gives; `run` in a thread of its own."""

    def __init__(
        self,
        folder: Path,
        tracks: Tracks,
        metrics: Metrics,
        *,
        next_number: int,
        sync_s: float = 0.5,
        cap_bytes: int = 256 << 20,
        segment_bytes: int = 8 << 20,
        keep_s: float = 0.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._folder, self._tracks, self._metrics, self._clock = folder, tracks, metrics, clock
        self._sync_s, self._cap = sync_s, cap_bytes
        self._files = Files(
            folder, cap_bytes=cap_bytes, segment_bytes=segment_bytes, keep_s=keep_s, clock=clock
        )
        self._encoder = Encoder()
        self._warn = WarnOnce(log)
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._acks, self._lull = 0, -1
        self._writing: list[_Waiting] = []  # what is on its way to the disk
        self._writing_since = 0.0
        self._since = 0.0
        self._mark: Mark | None = None
        self._next = next_number
        self._stopping = False
        self._held: deque[tuple[int, int, bytes]] = deque()  # first number, how many, records
        self._held_bytes = 0
        self._retry_at = 0.0
        self.error = ""
        self.syncs = 0
        #: Newest record that is known to be on the disk.
        self.synced = next_number - 1

    def append(self, block: SampleBlock, aligned: bool, on_accepted: Callable[[], None] | None) -> int:
        """Queue a block; gives its record's number. `on_accepted` is called once it is on the disk."""
        with self._changed:
            if len(self._waiting) >= MAX_WAITING and not self._hangs():
                self._changed.wait_for(lambda: len(self._waiting) < MAX_WAITING or self._hangs(), STALL_S)
            number, self._next = self._next, self._next + 1
            if len(self._waiting) >= MAX_WAITING:
                self._metrics.add("unrecorded")
            else:
                self._waiting.append(_Waiting(number, block, aligned, self._clock.utc(), on_accepted))
                self._acks += on_accepted is not None
                if len(self._waiting) == 1:
                    self._since = time.monotonic()
                    self._changed.notify_all()
                elif on_accepted is not None and self._acks in (ACK_BURST, ACK_MOST):
                    self._changed.notify_all()
                return number
        if on_accepted is not None:
            on_accepted()
        return number

    def tick(self) -> None:
        """Call it every second or so: while the disk hangs, what waits for it is accepted all the same."""
        if not self._hangs():
            return
        if not self.error:
            self.error = f"{self._folder}: the disk does not answer; samples wait in memory"
            self._warn.warn("write", "%s", self.error)
        with self._changed:
            waiting = [*self._writing, *self._waiting]
            self._acks = 0
        self._release(waiting)

    def _hangs(self) -> bool:
        return bool(self._writing) and time.monotonic() - self._writing_since > STALL_S

    def _release(self, group: list[_Waiting]) -> None:
        """Tell the senders, each once."""
        with self._changed:
            waiting = [w.on_accepted for w in group if w.on_accepted is not None]
            for w in group:
                w.on_accepted = None
        for on_accepted in waiting:
            try:
                on_accepted()
            except Exception:
                log.exception("a source failed at its acknowledgement")

    def mark(self, mark: Mark) -> None:
        """Keep a mark with the next group."""
        self._mark = mark

    def stop(self) -> None:
        """Let `run` write what waits, and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def run(self) -> None:
        """Write groups until `stop`."""
        while True:
            with self._changed:
                while not self._stopping and not self._due():
                    self._changed.wait(self._wait_s())
                group, self._waiting, self._acks, self._lull = self._waiting, [], 0, -1
                stopping = self._stopping
                self._changed.notify_all()
            if group:
                self._take(group)
            self._files.retire()
            if stopping and not self._waiting:
                if self._held:
                    self._write_held(self._next - 1)  # a last attempt
                self._files.close()
                return

    def flush(self) -> None:
        """Write what waits now, in the caller's thread: where `run` does not."""
        with self._changed:
            group, self._waiting, self._acks = self._waiting, [], 0
        if group:
            self._take(group)

    def status(self) -> dict[str, object]:
        """Facts for `health`."""
        return {
            "kind": "recorder",
            "folder": str(self._folder),
            "error": self.error,
            "bytes": self._files.size_bytes,
            "cap_bytes": self._cap,
            "records": self._next - 1,
            "syncs": self.syncs,
        }

    def _due(self) -> bool:
        if not self._waiting:
            return False
        # `_lull`: how many waited when a moment's wait for more began.
        stalled = self._acks >= ACK_BURST and self._acks == self._lull
        return stalled or self._acks >= ACK_MOST or time.monotonic() - self._since >= self._sync_s

    def _wait_s(self) -> float:
        if not self._waiting:
            return LOOK_S
        if self._acks >= ACK_BURST:
            self._lull = self._acks
            return LULL_S
        return max(0.0, self._since + self._sync_s - time.monotonic())

    def _take(self, group: list[_Waiting]) -> None:
        """Write a group and tell its senders, whatever came of it."""
        self._writing_since, self._writing = time.monotonic(), group
        with np.errstate(invalid="ignore"):
            whole = whole_units([w.block for w in group])
            parts = [self._encode(w, small) for w, small in zip(group, whole, strict=True)]
        if self._mark is not None:
            # Marks share the number of the block before them: they are not part of the count.
            parts.append(self._encoder.mark(group[-1].number, self._mark))
            self._mark = None
        # What could not be written comes first, once it can be.
        data = b"".join(parts)
        self._held.append((group[0].number, len(group), data))
        self._held_bytes += len(data)
        if time.monotonic() >= self._retry_at:
            self._write_held(group[-1].number)
        while self._held_bytes > HELD_BYTES:
            _, count, data = self._held.popleft()
            self._held_bytes -= len(data)
            self._metrics.add("unrecorded", count)
        self._writing = []
        self._release(group)

    def _write_held(self, last: int) -> None:
        held = self._held
        data = held[0][2] if len(held) == 1 else b"".join(data for _, _, data in held)
        if self._write(held[0][0], data, last):
            self._held.clear()
            self._held_bytes = 0

    def _encode(self, w: _Waiting, whole: bytes | None) -> bytes:
        origin = self._tracks.origin(w.block)
        return self._encoder.block(
            w.number, w.block, aligned=w.aligned, origin=origin, arrival=w.arrival, whole=whole
        )

    def _write(self, first: int, data: bytes, last: int) -> bool:
        """On the disk, or False."""
        try:
            self._files.write(first, data)
        except OSError as error:
            self._retry_at = time.monotonic() + RETRY_S
            self.error = f"{self._folder}: {error.strerror or error}; samples are not recorded"
            self._warn.warn("write", "%s (trying again every %g s)", self.error, RETRY_S)
            return False
        self.syncs += 1
        self.synced = last
        if self.error:
            self.error = ""
            self._warn.recovered("write", "%s: samples are recorded again", str(self._folder))
        return True
