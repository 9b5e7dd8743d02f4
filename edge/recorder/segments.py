"""The recorder's files: `NUMBER.seg`, named by the first record in them; found, read and removed here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.recorder.record import HEAD, MAGIC, RecordError, open_record

SUFFIX = ".seg"


@dataclass(frozen=True, slots=True)
class Segment:
    """One file. `first`: number of its first record."""

    path: Path
    first: int


@dataclass(frozen=True, slots=True)
class Raw:
    """A sound record that is not decoded yet; `payload` is valid as long as it is held."""

    kind: int
    number: int
    payload: memoryview
    whole: memoryview  # with its head


def segment_path(folder: Path, first: int) -> Path:
    return folder / f"{first:016x}{SUFFIX}"


def list_segments(folder: Path) -> list[Segment]:
    """Oldest first. Other files are left alone."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            found.append(Segment(path, int(path.stem, 16)))
        except ValueError:
            continue
    return sorted(found, key=lambda segment: segment.first)


def from_record(segments: list[Segment], number: int) -> list[Segment]:
    """Those that may hold record `number` or later ones."""
    start = 0
    for at, segment in enumerate(segments):
        if segment.first <= number:
            start = at
    return segments[start:]


def read_segment(path: Path, damaged: Callable[[int], None] = lambda size: None) -> Iterator[Raw]:
    """The sound records of a file, in order; `damaged` is told of bytes between them that are none.

    A file that vanishes (retention) ends the reading; other OSErrors are raised.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    yield from read_records(data, damaged)


def read_records(data: bytes, damaged: Callable[[int], None] = lambda size: None) -> Iterator[Raw]:
    """As read_segment, from bytes."""
    view, at, end = memoryview(data), 0, len(data)
    while at < end:
        try:
            kind, number, payload = open_record(view, at)
        except RecordError:
            after = data.find(MAGIC, at + 1)
            skipped = after - at if after >= 0 else end - at
            damaged(skipped)
            at += skipped
            continue
        size = HEAD.size + len(payload)
        yield Raw(kind, number, payload, view[at : at + size])
        at += size


def sync_folder(folder: Path) -> None:
    """Make new and removed names in a folder last. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
