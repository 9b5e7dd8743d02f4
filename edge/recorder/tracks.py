"""Where each stream's unbroken run of samples began, told with every record.

Windows of a stream that is not aligned start at multiples of the hop from the first sample of its run, which may
have been removed long since; so each record names it, by the very rule of the Windower. Used by one thread.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from edge.types import SampleBlock

_MAX_STREAMS = 100_000  # as pipeline.max_streams at most; the longest silent is forgotten


@dataclass(slots=True)
class _Run:
    key: tuple[str, float, tuple[str, ...], tuple[str, ...]]
    origin: int
    expected: int


class Tracks:
    """`longest_gap_s`: the longest gap that is filled, the length of a window."""

    def __init__(self, longest_gap_s: float) -> None:
        self._longest_gap_s = longest_gap_s
        self._runs: OrderedDict[str, _Run] = OrderedDict()

    def origin(self, block: SampleBlock, known: int | None = None) -> int:
        """First index of the run that `block` belongs to. `known`: what a record says of it already."""
        key = (block.epoch, block.rate_hz, block.channels, block.units)
        run = self._runs.get(block.stream)
        first, count = block.first_index, block.values.shape[0]
        if run is None or run.key != key or first - run.expected > int(self._longest_gap_s * block.rate_hz):
            run = _Run(key, first if known is None else known, first)
            if block.stream not in self._runs and len(self._runs) >= _MAX_STREAMS:
                self._runs.popitem(last=False)
            self._runs[block.stream] = run
        run.expected = max(run.expected, first + count)
        origin = run.origin
        if block.end:
            del self._runs[block.stream]
        return origin
