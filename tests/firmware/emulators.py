"""Boards without boards: QEMU's mps2-an385 and an Arduino Uno in simavr, each on a pseudo-terminal."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import termios
import time
import tty
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.messages import Decoded

# A loaded machine of two cores may be slow to start a process; nothing here waits longer than needed.
PATIENCE_S = 60.0
SEED_ADDRESS = 0x20000000  # of `kept` in firmware/cortex-m/board.c, which mps2.ld puts first


def wait_until(done: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"after {seconds:g} s: {what}"
        time.sleep(0.01)


def holders(port: str) -> set[int]:
    """Ids of our own processes that have ``port`` open."""
    found = set()
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(fd) == port:
                found.add(int(fd.parts[2]))
        except OSError:
            continue
    return found


class _Emulator:
    """A process that serves a pseudo-terminal, ended with the block that it was started in."""

    port: str

    def __init__(self, command: Sequence[str], announces: str) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            self.port = self._read_port(announces) if announces else ""
        except BaseException:
            self.stop()
            raise

    def _read_port(self, announces: str) -> str:
        assert self.process.stdout is not None
        said, deadline = b"", time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                said += os.read(self.process.stdout.fileno(), 4096)
                found = re.search(announces, said.decode(errors="replace"))
                if found:
                    return found[1]
            assert self.process.poll() is None, f"the emulator ended: {said.decode(errors='replace')}"
        raise AssertionError(f"the emulator names no port: {said!r}")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> _Emulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Qemu(_Emulator):
    """The Cortex-M example. It does not run before :meth:`go`, so that no reader misses its first frame.

    Args:
        elf: what it runs.
        folder: for the control socket; its path must be short.
        fast: 50 times faster than time; else its clock is the wall's.
        seed: added to the boot number; give each start of one board another.
        uart: put the serial line on this Unix socket instead of a terminal of its own.
    """

    def __init__(
        self,
        elf: Path,
        folder: Path,
        *,
        fast: bool = True,
        seed: int = 0,
        uart: Path | None = None,
    ) -> None:
        control = folder / "qmp.sock"
        command = ["qemu-system-arm", "-M", "mps2-an385", "-kernel", str(elf), "-S"]
        command += ["-display", "none", "-monitor", "none"]
        command += ["-serial", "pty" if uart is None else f"unix:{uart},server=on,wait=off"]
        command += ["-qmp", f"unix:{control},server=on,wait=off"]
        command += ["-device", f"loader,addr={SEED_ADDRESS:#x},data={seed},data-len=4"]
        if fast:
            command += ["-icount", "shift=5,sleep=off"]
        super().__init__(command, r"redirected to (/dev/pts/\d+)" if uart is None else "")
        self._control = socket.socket(socket.AF_UNIX)
        self._control.settimeout(PATIENCE_S)
        wait_until(
            lambda: self._control.connect_ex(str(control)) == 0, "QEMU's control socket does not answer"
        )
        self._answers = self._control.makefile("rb")
        assert b"QMP" in self._answers.readline()
        self.command("qmp_capabilities")

    def command(self, name: str) -> None:
        """A QMP command: cont, stop, system_reset."""
        self._control.sendall(json.dumps({"execute": name}).encode())
        while True:
            answer = json.loads(self._answers.readline())
            assert "error" not in answer, answer
            if "return" in answer:
                return

    def go(self) -> None:
        """Start, or continue after :meth:`pause`."""
        self.command("cont")

    def pause(self) -> None:
        """The board hangs."""
        self.command("stop")

    def reset(self) -> None:
        """The board's reset button."""
        self.command("system_reset")

    def stop(self) -> None:
        control = getattr(self, "_control", None)
        if control is not None:
            self._answers.close()
            control.close()
        super().stop()


class Uno(_Emulator):
    """A sketch in simavr. It runs once somebody has opened the port; SIGUSR1 is its reset button."""

    def __init__(self, runner: Path, elf: Path, *options: str) -> None:
        super().__init__([str(runner), *options, str(elf)], r"serial line on (/dev/pts/\d+)")

    def reset(self) -> None:
        self.process.send_signal(signal.SIGUSR1)


class Line:
    """The gateway's end of the port, raw: what comes, decoded, and what is sent."""

    def __init__(self, port: str) -> None:
        self._fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._fd, termios.TCSANOW)
        self.decoder = FrameDecoder("binary")
        self.messages: list[Decoded] = []
        self.raw = bytearray()

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def read(self, seconds: float = 0.05) -> None:
        """Take what is there within ``seconds``."""
        if select.select([self._fd], [], [], seconds)[0]:
            data = os.read(self._fd, 65536)
            self.raw += data
            self.messages += self.decoder.feed(data)

    def read_until(self, done: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
        """Read until ``done``, and fail after ``seconds`` in which it does not come true."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, f"after {seconds:g} s: {what}; {self.messages[-5:]}"
            self.read()

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
