"""Records from files, each as one stream: `[[source]] kind = "replay"` and `edge-agent replay` alike."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.bundle import InputSpec
from edge.clock import SYSTEM_CLOCK, Clock
from edge.config import ReplaySource
from edge.errors import EdgeError
from edge.names import to_name
from edge.sources.base import Closed, Emit
from edge.types import SampleBlock
from firmware_bridge.errors import RecordingError
from firmware_bridge.recordings import Recording, RecordingSet, open_recordings

log = logging.getLogger("edge.sources.replay")

BLOCK_SAMPLES = 4096  # large enough that a block's own cost vanishes, small enough to stop within one


class ReplayError(EdgeError):
    """A recording that cannot be played; the message names file and record."""


def open_set(path: Path, spec: InputSpec, rate_hz: float | None = None) -> RecordingSet:
    """The records of a file, zip or folder. Formats without a rate get `rate_hz`, else the bundle's own.

    Raises ReplayError.
    """
    try:
        return open_recordings(path, rate_hz=rate_hz or spec.rate_hz)
    except RecordingError as error:
        raise ReplayError(str(error)) from error


def read(records: RecordingSet, name: str) -> Recording:
    """One record. Raises ReplayError."""
    try:
        return records.read(name)
    except RecordingError as error:
        raise ReplayError(str(error)) from error


def blocks(recording: Recording, stream: str, t0: float, size: int = BLOCK_SAMPLES) -> Iterator[SampleBlock]:
    """The record as blocks, the last one with its end. The epoch is of the content, so ids repeat with it."""
    values = recording.physical
    digest = hashlib.sha256(values.tobytes()).hexdigest()[:16]
    channels = tuple(channel.name for channel in recording.channels)
    units = tuple(channel.unit for channel in recording.channels)
    n = values.shape[0]
    for first in range(0, max(n, 1), size):
        yield SampleBlock(
            stream=stream,
            epoch=f"file-{digest}@{recording.rate_hz:g}",
            first_index=first,
            t0=t0 + first / recording.rate_hz,
            rate_hz=recording.rate_hz,
            channels=channels,
            units=units,
            values=values[first : first + size],
            end=first + size >= n,
        )


class Replay:
    """Plays the records one after the other, as fast as the agent takes them or at `speed` times real time."""

    name = "replay"
    is_ready = True
    aligned = False

    def __init__(self, settings: ReplaySource, spec: InputSpec, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._clock = clock
        self._records = open_set(settings.recording, spec, settings.rate_hz)
        self._names: Sequence[str] = settings.records or self._records.names
        for name in self._names:
            if name not in self._records:
                read(self._records, name)  # raises, with the nearest name
        self._played = 0

    def status(self) -> dict[str, object]:
        state = "finished" if self._played == len(self._names) else "playing"
        return {
            "kind": "replay",
            "recording": str(self._settings.recording),
            "state": state,
            "played": self._played,
        }

    def run(self, emit: Emit, stop: threading.Event) -> None:
        for name in self._names:
            if stop.is_set():
                return
            try:
                recording = read(self._records, name)
            except ReplayError as error:
                log.error("record skipped: %s", error)
            else:
                self._play(recording, emit, stop)
            self._played += 1

    def _play(self, recording: Recording, emit: Emit, stop: threading.Event) -> None:
        stream = self._settings.stream or to_name(recording.name)
        speed = self._settings.speed
        size = (
            BLOCK_SAMPLES if not speed else max(1, min(BLOCK_SAMPLES, round(recording.rate_hz * speed / 10)))
        )
        began = self._clock.monotonic()
        for block in blocks(recording, stream, self._clock.utc(), size):
            if speed:
                due = began + (block.first_index + block.values.shape[0]) / (recording.rate_hz * speed)
                if stop.wait(max(0.0, due - self._clock.monotonic())):
                    return
            try:
                emit(block)
            except Closed:
                return
