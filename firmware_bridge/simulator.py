"""A device on a pseudo-terminal: plays recordings to whoever opens the port, as frames or as CSV lines.

Nothing is played before a reader is there (see :meth:`PtyLine.reader_is_there`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from firmware_bridge.errors import FirmwareBridgeError
from firmware_bridge.faults import Faults, FaultyLine
from firmware_bridge.pty_line import PtyLine
from firmware_bridge.recordings import Recording, RecordingSet
from firmware_bridge.simulated_device import DeviceSettings, SimulatedDevice, Tap
from firmware_bridge.units import to_physical

__all__ = ["PtyLine", "Simulator"]

_CSV_BLOCK = 32


class Simulator:
    """Plays recordings on a pseudo-terminal, in a thread of its own.

    Args:
        recordings: one, several, or a set; each is an epoch of its own.
        speed: times real time; 0 is as fast as the reader takes it. The device's clock is scaled along.
        drop, corrupt, seed: shorthand for ``faults``.
        csv: print lines of physical values instead of frames.
        loop: begin again after the last recording.
        link: symbolic link to the port.
        tap: alters samples in flight: an attacker on the wire.
        wait_for_reader: play nothing before a reader has opened the port.

    Use as a context manager, or call :meth:`start` and :meth:`stop`.
    """

    def __init__(
        self,
        recordings: Recording | Sequence[Recording] | RecordingSet,
        *,
        speed: float = 1.0,
        drop: float = 0.0,
        corrupt: float = 0.0,
        seed: int = 0,
        csv: bool = False,
        loop: bool = False,
        link: str | Path | None = None,
        tap: Tap | None = None,
        faults: Faults | None = None,
        settings: DeviceSettings | None = None,
        wait_for_reader: bool = True,
    ) -> None:
        if not 0 <= speed < float("inf"):
            raise FirmwareBridgeError(f"speed is {speed}, must be 0 (as fast as it is read) or more")
        self._recordings = [recordings] if isinstance(recordings, Recording) else recordings
        self._speed, self._csv, self._loop, self._wait = speed, csv, loop, wait_for_reader
        self._faults = faults or Faults(drop=drop, corrupt=corrupt, seed=seed)
        self.device = SimulatedDevice(settings, self._faults, tap)
        self._tap = tap
        self.faulty = FaultyLine(self._faults, b"\n" if csv else b"\x00")
        self._jitter = self._faults.random("jitter_ms")
        self._line = PtyLine(link)
        self.port = self._line.port
        self.played = 0
        self._stop = threading.Event()
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def lost_bytes(self) -> int:
        """Bytes that nobody read."""
        return self._line.lost_bytes

    def start(self) -> str:
        """Begin, and return the port to open."""
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)
        self._thread.start()
        return self.port

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until all recordings are played and read; False after ``timeout_s``. Raises what went wrong."""
        done = self._done.wait(timeout_s)
        if self._error is not None:
            raise self._error
        return done

    def stop(self) -> None:
        """Unplug the device."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None
        self._line.close()

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            self._play_all()
            self._line.drained(self._stop)
        except BaseException as error:  # handed to wait()
            self._error = error
        self._done.set()
        # After the last sample the device still answers, until it is unplugged.
        while self._error is None and not self._stop.is_set():
            self._answer(0.05)

    def _play_all(self) -> None:
        first = self._wait
        while not self._stop.is_set():
            for recording in self._recordings:
                if self._stop.is_set():
                    return
                self._play(recording, wait=first)
                first = False
                self.played += 1
            if not self._loop:
                return

    def _play(self, recording: Recording, *, wait: bool) -> None:
        opening = [_csv_header(recording)] if self._csv else self.device.start(recording)
        if wait:
            if not self._line.reader_is_there(b"".join(opening), self._stop):
                return
            # The reader's opening flush may have taken it.
            opening = [_csv_header(recording)] if self._csv else self.device.start(recording)
        self._send(opening)
        began_s = time.monotonic()
        for due_s, frames in self._csv_blocks(recording) if self._csv else self.device.play():
            late_s = self._jitter.random() * self._faults.jitter_ms / 1000.0
            self._pause_until(began_s + due_s / self._speed + late_s if self._speed else 0.0)
            if self._stop.is_set():
                return
            self._send(frames)
        for each in self.faulty.flush():
            self._line.write(each, self._stop)

    def _pause_until(self, when_s: float) -> None:
        """Answer the gateway while the next samples are not due."""
        self._answer(0.0)
        while not self._stop.is_set() and (left_s := when_s - time.monotonic()) > 0:
            self._answer(min(left_s, 0.05))

    def _answer(self, timeout_s: float) -> None:
        data = self._line.read(timeout_s)
        if data and not self._csv:
            self._send(self.device.receive(data))

    def _send(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            for each in self.faulty.send(frame):
                self._line.write(each, self._stop)

    def _csv_blocks(self, recording: Recording) -> Iterator[tuple[float, list[bytes]]]:
        values, channels, valid = recording.to_int16()
        for first in range(0, len(values), _CSV_BLOCK):
            part = values[first : first + _CSV_BLOCK]
            if self._tap is not None:
                part = self._tap(part.copy(), first)
            physical = to_physical(part, channels)
            physical[~valid[first : first + _CSV_BLOCK]] = np.nan
            rows = [
                (",".join(_number(value) for value in row) + "\r\n").encode() for row in physical.tolist()
            ]
            yield (first + len(part)) / recording.rate_hz, rows


def _csv_header(recording: Recording) -> bytes:
    return (",".join(channel.name for channel in recording.channels) + "\r\n").encode()


def _number(value: float) -> str:
    """The shortest text that gives the same float32 again."""
    if value != value:  # noqa: PLR0124 - NaN
        return "nan"
    return str(int(value)) if value == int(value) else np.format_float_positional(np.float32(value), trim="-")
