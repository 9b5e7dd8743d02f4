"""Scrolling back: what the flight recorder holds of one stream between two times. Reads files, holds none open."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from edge.recorder.record import BLOCK, Decoder, RecordError
from edge.recorder.segments import list_segments, read_segment
from edge.types import SampleBlock

# A page asks for two minutes; what lies further back than so many bytes of records is not searched for it.
MAX_SCAN_BYTES = 96 << 20
# A file is closed some time after its last sample was taken.
SLACK_S = 120.0


class RecordedSamples:
    """Blocks by stream and signal time, from the recorder's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, stream: str, since: float, until: float) -> list[SampleBlock]:
        """Oldest first, of the newest epochs that fit; what is damaged or just being removed is left out."""
        files: deque[Path] = deque()
        scanned = 0
        for segment in reversed(list_segments(self._folder)):
            try:
                facts = segment.path.stat()
            except OSError:
                continue  # retention took it
            if facts.st_mtime < since - SLACK_S:
                break
            scanned += facts.st_size
            if scanned > MAX_SCAN_BYTES:
                break
            files.appendleft(segment.path)
        return [block for path in files for block in _read(path, stream, since, until)]


def _read(path: Path, stream: str, since: float, until: float) -> list[SampleBlock]:
    found, decoder, name = [], Decoder(), f'"{stream}"'.encode()
    try:
        for raw in read_segment(path):
            # Its description comes first: most records are of other streams.
            if raw.kind != BLOCK or name not in bytes(raw.payload[: 128 + len(name)]):
                continue
            try:
                block = decoder.block(raw.number, raw.payload).block
            except RecordError:
                continue
            end = block.t0 + block.values.shape[0] / block.rate_hz
            if block.stream == stream and end > since and block.t0 < until:
                found.append(block)
    except OSError:
        return found
    return found
