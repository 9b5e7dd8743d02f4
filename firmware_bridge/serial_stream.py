"""A serial port that comes back: reads, writes, and reconnects with back-off when the device is unplugged."""

from __future__ import annotations

import logging
import termios
import time
from collections.abc import Callable
from typing import Any, Protocol

from firmware_bridge.errors import PortError
from firmware_bridge.port_list import Lister, explain, find_port, list_ports

_LOG = logging.getLogger(__name__)

FIRST_BACKOFF_S = 0.1
# A device that is plugged in again should not wait longer than a person would.
MAX_BACKOFF_S = 2.0
WRITE_TIMEOUT_S = 1.0
_READ_BYTES = 65_536


class ByteStream(Protocol):
    """What a reader of frames needs of a transport."""

    def read(self, timeout_s: float) -> bytes:
        """Bytes that have come, at once if there are any; empty after ``timeout_s`` without."""
        ...

    def write(self, data: bytes) -> bool:
        """Send all of ``data``; False where that is not possible now."""
        ...

    def close(self) -> None:
        """Give the transport back; may be called twice."""
        ...


class Port(Protocol):
    """The part of ``serial.Serial`` that is used, so that tests can give another."""

    timeout: float | None

    @property
    def in_waiting(self) -> int: ...

    def read(self, size: int, /) -> bytes: ...

    def write(self, data: bytes, /) -> int | None: ...

    def close(self) -> None: ...


Opener = Callable[[str, int], Port]


def open_port(device: str, baud: int) -> Port:
    """Open with pyserial, exclusively, so that two readers never share one stream."""
    import serial  # slow to import

    settings: dict[str, Any] = {"baudrate": baud, "timeout": 0, "write_timeout": WRITE_TIMEOUT_S}
    if "://" not in device:
        settings["exclusive"] = True
    port: Port = serial.serial_for_url(device, **settings)
    return port


class SerialStream:
    """Reads one serial port for as long as wanted.

    Args:
        port: path, URL, ``serial:NUMBER`` or "auto" (``port_list.find_port``).
        baud: ignored by pseudo-terminals and USB CDC.
        opener, lister, clock, sleep: for tests.

    Attributes:
        connections: how often the port was opened; a change means that bytes may be missing in between.
        problem: why it is not open now, empty while it is.
    """

    def __init__(
        self,
        port: str,
        baud: int = 115_200,
        *,
        opener: Opener = open_port,
        lister: Lister = list_ports,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.wanted, self.baud = port, baud
        self.device = ""
        self.connections = 0
        self.problem = "not opened yet"
        self._open_port, self._lister, self._clock, self._sleep = opener, lister, clock, sleep
        self._port: Port | None = None
        self._usb_serial: str | None = None
        self._backoff_s = FIRST_BACKOFF_S
        self._next_try_s = 0.0
        self._warned = False
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether the port is open now."""
        return self._port is not None

    def open(self) -> None:
        """Open now, once.

        Raises:
            PortError: absent, busy, forbidden or ambiguous; the text says what to do.
        """
        if self._port is not None:
            return
        device = self._resolve()
        try:
            self._port = self._open_port(device, self.baud)
        # termios.error is no OSError; ValueError is pyserial's word for settings a port cannot do.
        except (OSError, ValueError, termios.error) as error:
            raise PortError(explain(device, error)) from error
        self.device = device
        self.connections += 1
        self.problem = ""
        self._backoff_s = FIRST_BACKOFF_S
        if self._warned:
            _LOG.warning("%s is back", device)
        self._warned = False
        self._remember_serial(device)

    def _remember_serial(self, device: str) -> None:
        if device.startswith("/dev/tty"):
            self._usb_serial = next((p.serial_number for p in self._lister() if p.device == device), None)

    def _resolve(self) -> str:
        """The device path; a board that came back under another name is found by its serial number."""
        if self._usb_serial and not self.wanted.startswith("serial:"):
            for port in self._lister():
                if port.serial_number == self._usb_serial:
                    return port.device
        return find_port(self.wanted, self._lister)

    def _lost(self, why: str) -> None:
        self.problem = why
        _LOG.log(logging.DEBUG if self._warned else logging.WARNING, "%s; trying again", why)
        self._warned = True
        port, self._port = self._port, None
        if port is not None:
            try:
                port.close()
            except (OSError, termios.error):
                _LOG.debug("closing %s failed", self.device)
        self._next_try_s = self._clock() + self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, MAX_BACKOFF_S)

    def read(self, timeout_s: float) -> bytes:
        """Bytes that have come; empty after ``timeout_s`` without any or without a port.

        Raises:
            PortError: the stream was closed.
        """
        if self._closed:
            raise PortError(f"{self.wanted}: the stream is closed")
        if self._port is None and not self._reopen(timeout_s):
            return b""
        port = self._port
        assert port is not None  # _reopen said so
        try:
            if port.timeout != timeout_s:
                port.timeout = timeout_s
            data = port.read(1)
            if data:
                waiting = min(port.in_waiting, _READ_BYTES)
                data += port.read(waiting) if waiting else b""
            return data
        # TypeError: pyserial where close() comes from another thread during a read.
        except (OSError, termios.error, TypeError) as error:
            if not self._closed:
                self._lost(
                    explain(self.device, error) if isinstance(error, OSError) else f"{self.device} was lost"
                )
            return b""

    def _reopen(self, timeout_s: float) -> bool:
        wait_s = self._next_try_s - self._clock()
        if wait_s > 0:
            self._sleep(min(wait_s, timeout_s))
            if wait_s > timeout_s:
                return False
        try:
            self.open()
        except PortError as error:
            self._lost(str(error))
            return False
        return True

    def write(self, data: bytes) -> bool:
        """Send ``data``; False where the port is not open or does not take it within a second."""
        port = self._port
        if port is None:
            return False
        try:
            port.write(data)
        except (OSError, termios.error) as error:
            self._lost(
                explain(self.device, error) if isinstance(error, OSError) else f"{self.device} was lost"
            )
            return False
        return True

    def close(self) -> None:
        """Close the port; reading after this is an error."""
        self._closed = True
        port, self._port = self._port, None
        if port is not None:
            port.close()
