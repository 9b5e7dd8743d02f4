"""The device's end of a pseudo-terminal: a serial port without hardware.

Both ends are raw, and the far end is kept open here, so that a reader may come and go.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import select
import termios
import threading
import time
import tty
from pathlib import Path

from firmware_bridge.errors import PortError

# The kernel's own queue takes 64 kB more; a reader this far behind is waited for, as a UART's user would be late.
_QUEUE_BYTES = 2048
# After this long without taking anything, the reader is gone: its bytes are lost, as on a wire.
_READER_GONE_S = 1.0
_POLL_S = 0.002
# pyserial flushes the port while it opens it; on a busy machine that takes a moment.
_SETTLE_S = 0.3


class PtyLine:
    """The device's end of a pseudo-terminal, with an optional symbolic link to the other end."""

    def __init__(self, link: str | Path | None = None) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        self._link = None if link is None else Path(link)
        self.lost_bytes = 0
        self._gone = False
        if self._link is not None:
            self._make_link(self._link)

    def _make_link(self, link: Path) -> None:
        try:
            if link.is_symlink():
                link.unlink()
            link.symlink_to(self.port)
        except OSError as error:
            self._link = None
            self.close()
            raise PortError(f"{link}: cannot make the link: {error.strerror or error}") from error

    def queued(self) -> int:
        """Bytes that the reader has not taken yet; 0 only where it has taken all."""
        # poll() makes the kernel move what is on its way into the queue; FIONREAD alone does not look there.
        if not select.select([self._slave], [], [], 0)[0]:
            return 0
        count = array.array("i", [0])
        fcntl.ioctl(self._slave, termios.FIONREAD, count)
        return max(1, count[0])

    def reader_is_there(self, probe: bytes, stop: threading.Event) -> bool:
        """Wait until somebody takes ``probe`` off the port; False if stopped before.

        A reader that opens the port flushes what is queued, or reads it: both take it away.
        """
        self._write_now(probe)
        while self.queued():
            if stop.wait(_POLL_S):
                return False
        # pyserial flushes while it opens; what is sent after that is kept.
        return not stop.wait(0.05)

    def wait_for_open(self, stop: threading.Event) -> bool:
        """Wait until somebody opens the port, without sending anything; False if stopped before.

        Our own hold on the far end is given up meanwhile: the kernel then says when another comes.
        """
        os.close(self._slave)
        poller = select.poll()
        poller.register(self._master, 0)  # hang-ups are always told
        opened = False
        while not opened and not stop.is_set():
            opened = not poller.poll(0)
            stop.wait(_POLL_S)
        self._slave = os.open(self.port, os.O_RDWR | os.O_NOCTTY)
        return opened and not stop.wait(_SETTLE_S)

    def _write_now(self, data: bytes) -> int:
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno == errno.EIO:
                return 0
            raise

    def write(self, data: bytes, stop: threading.Event) -> None:
        """Send ``data``, waiting for a slow reader; lost (and counted) where nobody reads."""
        waited_since = time.monotonic()
        while data and not stop.is_set():
            written = self._write_now(data) if self.queued() < _QUEUE_BYTES else 0
            data = data[written:]
            if written:
                self._gone = False
                waited_since = time.monotonic()
            elif self._gone or time.monotonic() - waited_since > _READER_GONE_S:
                self._gone = True
                self.lost_bytes += len(data)
                return
            else:
                time.sleep(_POLL_S)

    def read(self, timeout_s: float) -> bytes:
        """What the reader has written to the device."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, timeout_s))
        if not ready:
            return b""
        try:
            return os.read(self._master, 4096)
        except OSError as error:
            if error.errno in (errno.EIO, errno.EAGAIN):
                return b""
            raise

    def drained(self, stop: threading.Event, timeout_s: float = 2.0) -> bool:
        """Wait until the reader has taken everything; False if it does not."""
        deadline = time.monotonic() + timeout_s
        while self.queued():
            if time.monotonic() > deadline or stop.wait(_POLL_S):
                return False
        return True

    def close(self) -> None:
        """Unplug: readers get an error. The link goes, if it is still ours."""
        if self._link is not None and self._link.is_symlink() and os.readlink(self._link) == self.port:
            self._link.unlink()
        for handle in (self._master, self._slave):
            os.close(handle)
