"""One device, several readers: what the device's port says is copied to a pseudo-terminal for each of them.

A serial port has one reader; the demo compares two agents on the same bytes. What a reader sends (HELLO requests)
goes to the device.
"""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from collections.abc import Callable
from types import TracebackType

from edge.demo.stage import DemoError
from firmware_bridge.simulator import PtyLine

_READ_BYTES = 4096
_POLL_S = 0.05
_FLUSH_S = 0.1  # pyserial flushes while it opens; what is sent after that is kept
_FILLER = b"\x00"  # an empty frame: readers of frames skip it


class Splitter:
    """Copies one port to `count` others. `ports` are the paths to open, in order. Use as a context manager."""

    def __init__(self, count: int) -> None:
        self._lines = [PtyLine() for _ in range(count)]
        self.ports = [line.port for line in self._lines]
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._device = -1

    def wait_for_readers(self, timeout_s: float, alive: Callable[[], bool] = lambda: True) -> None:
        """Until every port has been opened. Raises DemoError at the time-out, or once `alive` says no."""
        deadline = time.monotonic() + timeout_s
        for line in self._lines:
            line.write(_FILLER, self._stop)
            while line.queued():
                if time.monotonic() > deadline or not alive():
                    raise DemoError(f"nobody opened {line.port} within {timeout_s:g} s")
                time.sleep(_POLL_S)
        time.sleep(_FLUSH_S)

    def connect(self, device_port: str) -> None:
        """Open the device's port and begin to copy."""
        try:
            self._device = os.open(device_port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            tty.setraw(self._device)
        except OSError as error:
            raise DemoError(f"{device_port}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._copy, name="splitter", daemon=True)
        self._thread.start()

    @property
    def lost_bytes(self) -> int:
        """Bytes that a reader did not take in time."""
        return sum(line.lost_bytes for line in self._lines)

    def _copy(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select([self._device], [], [], _POLL_S)
            try:
                data = os.read(self._device, _READ_BYTES) if ready else b""
            except BlockingIOError:
                continue
            except OSError:
                return  # unplugged: the show is over
            for line in self._lines:
                if data:
                    line.write(data, self._stop)
                if answer := line.read(0.0):
                    self._to_device(answer)

    def _to_device(self, data: bytes) -> None:
        try:
            os.write(self._device, data)
        except OSError:
            pass  # its queue is full or it is gone; whoever asked asks again

    def close(self) -> None:
        """Unplug every reader."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2.0)
        if self._device >= 0:
            os.close(self._device)
            self._device = -1
        for line in self._lines:
            line.close()

    def __enter__(self) -> Splitter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
