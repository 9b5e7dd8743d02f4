"""Sample blocks of one stream to windows at the bundle's rate, channels and unit.

What is not there is never closed silently: a gap is filled with the last value and marked, NaN and infinity too.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.bundle import InputSpec
from edge.errors import BlockError
from edge.types import FloatArray, SampleBlock, Window

from .rate import GOOD, LEAD_OFF, MISSING, Marks, RateConverter
from .ring import Cut, WindowRing
from .units import ChannelMap, match_channels

__all__ = ["MAX_BLOCK_SAMPLES", "WindowCounters", "Windower"]

# A quarter of an hour at 300 Hz; a longer message is a mistake or an attack, and files are read in smaller pieces.
MAX_BLOCK_SAMPLES: Final = 1 << 18
# One push returns its windows together; with a tiny hop a block could otherwise ask for gigabytes.
_MAX_PUSH_BYTES: Final = 1 << 27
# What datetime can print; beyond it the time is not a time.
_MAX_TIME_S: Final = 253_402_300_799.0
# Sums of sample numbers stay far inside 64 bits: at 1 MHz this is 146,000 years.
_MAX_INDEX: Final = 1 << 62
# Blocks with CRC errors that still lie in the window; further ones are added to the last.
_MAX_CRC_MARKS: Final = 256


@dataclass(slots=True)
class WindowCounters:
    """Totals since the start, in samples of the source unless said otherwise."""

    samples: int = 0
    missing: int = 0
    not_finite: int = 0
    lead_off: int = 0
    late: int = 0
    gaps: int = 0
    segments: int = 0
    windows: int = 0


class Windower:
    """One stream's state: plain push(block) -> windows, no threads, no IO, memory of one window.

    A segment is an unbroken run of one epoch, rate and channel set. It begins anew on a change of any of them,
    after `end`, and after a gap longer than the window. The first window of a segment starts at its first sample,
    or, with `aligned`, at the next multiple of the hop on the source's own count: then the windows of a live
    stream, and so the ids of their results, do not depend on when the agent joined it.
    """

    def __init__(self, spec: InputSpec, *, aligned: bool = False) -> None:
        self.spec = spec
        self.counters = WindowCounters()
        self._aligned = aligned
        self._key: object = None
        self._segment: _Segment | None = None
        window_bytes = spec.window_samples * (4 * len(spec.channels) + 1)
        fits = spec.hop_samples * max(1, _MAX_PUSH_BYTES // window_bytes)
        #: Longest block that push takes, in samples at the bundle's rate.
        self.max_block_samples = min(MAX_BLOCK_SAMPLES, fits)

    def push(self, block: SampleBlock, origin: int | None = None) -> list[Window]:
        """Take the next block; give the windows it completes. Raises BlockError, and is then as before.

        `origin`: where the segment of a recorded block began, in the source's count, if it did so before the block:
        its windows then lie as they did.
        """
        values = self._checked(block)
        segment, first, count = self._segment, block.first_index, values.shape[0]
        key = (block.stream, block.epoch, block.rate_hz, block.channels, block.units)
        if segment is None or key != self._key or first - segment.expected > segment.longest_gap:
            channel_map = match_channels(self.spec, block.channels, block.units, block.stream)
            if segment is not None and key == self._key:
                self.counters.gaps += 1
                self.counters.missing += first - segment.expected
            if count == 0:
                self._segment = None
                return []
            segment = self._segment = _Segment(self.spec, block, channel_map, self._aligned, origin)
            self._key = key
            self.counters.segments += 1
        windows = segment.push(block, values, self.counters)
        if block.end:
            windows += segment.finish()
            self._segment = None
        self.counters.windows += len(windows)
        return windows

    def flush(self) -> list[Window]:
        """The stream ends here, as with `end` on an empty block."""
        segment, self._segment = self._segment, None
        windows = [] if segment is None else segment.finish()
        self.counters.windows += len(windows)
        return windows

    def _checked(self, block: SampleBlock) -> FloatArray:
        values = np.asarray(block.values, np.float32)
        why = ""
        if values.ndim != 2 or values.shape[1] != len(block.channels):
            why = f"values have shape {values.shape}; give (samples, {len(block.channels)} channels)"
        elif not 0.0 < block.rate_hz <= 1e7:
            why = f"rate is {block.rate_hz} Hz; give one above 0, at most 10 MHz"
        elif not 0 <= block.first_index <= _MAX_INDEX:
            why = f"first sample has number {block.first_index}; count from 0 up"
        elif not 0.0 <= block.t0 <= _MAX_TIME_S:
            why = f"time of the first sample is {block.t0}; give seconds since 1970, UTC"
        elif values.shape[0] * self.spec.rate_hz > self.max_block_samples * block.rate_hz:
            most = int(self.max_block_samples * block.rate_hz / self.spec.rate_hz)
            why = f"block has {values.shape[0]} samples, the limit is {most}; send it in smaller pieces"
        if why:
            raise BlockError(f"stream {block.stream!r}: {why}", stream=block.stream)
        return values


class _Segment:
    """The state of one segment; see Windower."""

    def __init__(
        self,
        spec: InputSpec,
        block: SampleBlock,
        channels: ChannelMap,
        aligned: bool,
        origin: int | None = None,
    ) -> None:
        self._spec, self._channels = spec, channels
        self._stream, self._epoch = block.stream, block.epoch
        width, hop = len(spec.channels), spec.hop_samples
        try:
            self._rate = RateConverter(
                block.rate_hz, spec.rate_hz, channels=width, first_index=block.first_index
            )
        except ValueError as error:
            raise BlockError(
                f"stream {block.stream!r}: {error}; correct the rate", stream=block.stream
            ) from error
        first = self._rate.next_index
        began = first
        if origin is not None and origin < block.first_index:
            began = -(-origin * self._rate.up // self._rate.down)
        grid = -(-first // hop) * hop if aligned else began + -(-(first - began) // hop) * hop
        self._ring = WindowRing(spec.window_samples, hop, width, first_index=first, grid=grid)
        #: Number of the next sample of the source, and the longest gap, in its samples, that is filled.
        self.expected = block.first_index
        self.longest_gap = int(spec.window_samples * block.rate_hz / spec.rate_hz)
        self._last = np.zeros((1, width), np.float32)
        self._good: Marks = np.zeros(0, np.uint8)  # marks of samples with nothing wrong, made once
        # Times of the starts of windows that are not cut yet, the next one first; at most window / hop + 1.
        self._times: deque[float] = deque()
        self._next_time = grid
        self._anchor = block.t0, block.first_index
        self._rate_hz = block.rate_hz
        self._grid, self._first_time = grid, self._time_of(first)
        self._crc: deque[tuple[int, int]] = deque()

    def push(self, block: SampleBlock, values: FloatArray, counters: WindowCounters) -> list[Window]:
        """Take samples that may overlap what came before or leave a gap to it."""
        if block.crc_errors:
            self._note_crc(block.crc_errors)
        windows: list[Window] = []
        gap = block.first_index - self.expected
        if gap > 0:
            counters.gaps += 1
            counters.missing += gap
            filled = np.repeat(self._last, gap, axis=0)
            windows += self._take(block, filled, np.full(gap, MISSING, np.uint8))
        elif gap < 0:
            late = min(-gap, values.shape[0])
            counters.late += late
            values = values[late:]
        if values.shape[0]:
            counters.samples += values.shape[0]
            good, marks = self._marked(self._channels.apply(values), block.lead_off, counters)
            windows += self._take(block, good, marks)
        return windows

    def finish(self) -> list[Window]:
        """The record ends: what the filter holds, and the padded window of a short record."""
        values, marks = self._rate.flush()
        cuts = self._ring.push(values, marks) if marks.size else []
        self._note_times()
        return [self._window(cut) for cut in cuts + self._ring.finish()]

    def _take(self, block: SampleBlock, values: FloatArray, marks: Marks) -> list[Window]:
        self.expected += values.shape[0]
        self._last = values[-1:]
        values, marks = self._rate.push(values, marks)
        self._anchor = block.t0, block.first_index
        self._note_times()
        return [self._window(cut) for cut in self._ring.push(values, marks)]

    def _marked(
        self, values: FloatArray, lead_off: bool, counters: WindowCounters
    ) -> tuple[FloatArray, Marks]:
        count = values.shape[0]
        flat = values.ravel()
        # A sum of squares is finite only where every sample is; where it overflows, the long way tells.
        plain = math.isfinite(flat.dot(flat))
        if plain and not lead_off:
            if self._good.shape[0] < count:
                self._good = np.zeros(count, np.uint8)
                self._good.setflags(write=False)
            return values, self._good[:count]
        marks = np.full(count, LEAD_OFF if lead_off else GOOD, np.uint8)
        if lead_off:
            counters.lead_off += count
        if plain:
            return values, marks
        finite = np.isfinite(values)
        if finite.all():
            return values, marks
        good = finite.all(axis=1)
        marks[~good] = MISSING
        counters.not_finite += count - int(np.count_nonzero(good))
        # Each bad sample takes the last good one before it; index 0 stands for that of the block before.
        source = np.maximum.accumulate(np.where(good, np.arange(1, count + 1), 0))
        return np.concatenate((self._last, values))[source], marks

    def _note_times(self) -> None:
        """Stamp the window starts that have come, by the clock of the block they came with."""
        while self._next_time < self._rate.next_index:
            self._times.append(self._time_of(self._next_time))
            self._next_time += self._spec.hop_samples

    def _time_of(self, index: int) -> float:
        t0, first_index = self._anchor
        numerator = index * self._rate.down - first_index * self._rate.up  # exact, however long the count
        return t0 + numerator / (self._rate.up * self._rate_hz)

    def _note_crc(self, errors: int) -> None:
        if len(self._crc) >= _MAX_CRC_MARKS:
            at, before = self._crc.pop()
            self._crc.append((at, before + errors))
        else:
            self._crc.append((self._rate.next_index, errors))

    def _window(self, cut: Cut) -> Window:
        # A short record's window starts at the record's first sample, which may lie before the grid.
        t0 = self._times.popleft() if cut.first_index >= self._grid else self._first_time
        end = cut.first_index + self._spec.window_samples
        crc_errors = sum(count for at, count in self._crc if at < end)
        while self._crc and self._crc[0][0] < cut.first_index + self._spec.hop_samples:
            self._crc.popleft()
        return Window(
            stream=self._stream,
            epoch=self._epoch,
            first_index=cut.first_index,
            t0=min(max(t0, 0.0), _MAX_TIME_S),
            rate_hz=self._spec.rate_hz,
            values=cut.values,
            valid=cut.valid,
            missing=cut.missing,
            padded=cut.padded,
            crc_errors=crc_errors,
            lead_off=cut.lead_off,
        )
