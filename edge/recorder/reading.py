"""What a recorder's folder holds, for people: blocks of chosen streams and times, and unbroken runs of them.

Reading is safe beside a running agent: a record is whole or it is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.errors import EdgeError
from edge.recorder.record import BLOCK, Decoder, Recorded, RecordError
from edge.recorder.segments import list_segments, read_segment
from edge.types import FloatArray, SampleBlock


class RecorderError(EdgeError):
    """A folder that holds no recorder's files, or they cannot be read."""


@dataclass(frozen=True, slots=True)
class Choice:
    """`stream` None: all; `since` and `before`: UTC seconds of a block's first sample."""

    stream: str | None = None
    since: float | None = None
    before: float | None = None

    def takes(self, block: SampleBlock) -> bool:
        return (
            (self.stream is None or block.stream == self.stream)
            and (self.since is None or block.t0 >= self.since)
            and (self.before is None or block.t0 < self.before)
        )


def samples_folder(folder: Path) -> Path:
    """The recorder's own folder in a state folder; it may be named itself. Raises RecorderError."""
    inner = folder / "samples"
    found = inner if inner.is_dir() else folder
    if not found.is_dir():
        raise RecorderError(f"{folder}: no such folder; give the agent's durability.folder")
    if not list_segments(found):
        raise RecorderError(f"{folder}: no recorded samples in it; give the agent's durability.folder")
    return found


def recorded(folder: Path, choice: Choice) -> Iterator[Recorded]:
    """The blocks that are chosen, in the order in which they came. Raises RecorderError."""
    decoder = Decoder()
    for segment in list_segments(samples_folder(folder)):
        try:
            for raw in read_segment(segment.path):
                if raw.kind != BLOCK:
                    continue
                try:
                    each = decoder.block(raw.number, raw.payload)
                except RecordError:
                    continue
                if choice.takes(each.block):
                    yield each
        except OSError as error:
            raise RecorderError(f"{segment.path}: {error.strerror}") from error


@dataclass
class Run:
    """Samples of one stream without a gap; `values` float32 (n, channel), `t0` UTC seconds of the first."""

    block: SampleBlock
    values: FloatArray


def runs(folder: Path, choice: Choice) -> Iterator[Run]:
    """Unbroken runs, each once: what was recorded twice, because its sender could not know, is joined."""
    first: SampleBlock | None = None
    parts: list[FloatArray] = []
    next_index = 0
    for each in recorded(folder, choice):
        block = each.block
        late = next_index - block.first_index
        follows = first is not None and _key(block) == _key(first) and late >= 0
        if follows:
            parts.append(block.values[late:])
        else:
            if first is not None:
                yield Run(first, np.concatenate(parts))
            first, parts, next_index = block, [block.values], block.first_index
        next_index = max(next_index, block.first_index + len(block.values))
        if block.end:
            yield Run(first or block, np.concatenate(parts))
            first, parts = None, []
    if first is not None:
        yield Run(first, np.concatenate(parts))


def streams(folder: Path) -> list[str]:
    """The streams that are recorded, in the order in which they first came."""
    return list(dict.fromkeys(each.block.stream for each in recorded(folder, Choice())))


def _key(block: SampleBlock) -> tuple[object, ...]:
    return block.stream, block.epoch, block.rate_hz, block.channels, block.units
