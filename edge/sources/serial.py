"""Samples from a device on a serial port: frames (PROTOCOL.md) or lines of numbers.

The port is opened again when it vanishes or falls silent; what was missed in between shows as a gap in the
device's own count. HELLO is asked for until it comes, and missing samples while the device can
send them again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Protocol

from edge.bundle import InputSpec
from edge.clock import SYSTEM_CLOCK, Clock
from edge.config import SerialSource
from edge.metrics import Metrics
from edge.names import to_name
from edge.sources.base import Closed, Drops, Emit
from edge.sources.device import CsvSpec, DeviceTracker
from edge.types import SampleBlock
from edge.warnings_once import WarnOnce
from firmware_bridge import codec
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.messages import Command, Hello, Samples, Verb
from firmware_bridge.serial_stream import SerialStream

log = logging.getLogger("edge.sources.serial")

READ_S = 0.25  # how late a stop may be noticed while nothing comes in
# A slow sensor is silent between its samples: reopening waits for so many of them.
SILENT_SAMPLES = 10.0
START_ID = 0  # the receiver numbers its own commands from 1


class Stream(Protocol):
    """The part of firmware_bridge's SerialStream that is used."""

    device: str
    connections: int
    problem: str

    def read(self, timeout_s: float) -> bytes: ...

    def write(self, data: bytes) -> bool: ...

    def close(self) -> None: ...


class SerialDevice:
    """The source for `[[source]] kind = "serial"`. `open_stream` is for tests."""

    name = "serial"
    is_ready = True
    aligned = True  # a device counts its samples itself, and goes on doing so while the agent restarts

    def __init__(
        self,
        settings: SerialSource,
        spec: InputSpec,
        metrics: Metrics,
        *,
        clock: Clock = SYSTEM_CLOCK,
        open_stream: Callable[[str, int], Stream] = SerialStream,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._open_stream = open_stream
        self._drops = Drops(metrics, log)
        self._warn = WarnOnce(log)
        csv = CsvSpec(
            to_name(PurePosixPath(settings.port).name, "serial"),
            settings.rate_hz,
            settings.channels,
            settings.units or spec.units,
        )
        self._tracker = DeviceTracker(settings.stream, self._report, clock.utc_minus_monotonic, csv=csv)
        self._stream: Stream | None = None
        self._decoder = FrameDecoder(settings.dialect)
        self._connections = 0
        self._heard_s = 0.0
        self._ended = False
        self._silent = ""

    def status(self) -> dict[str, object]:
        stream, hello = self._stream, self._tracker.hello
        problem = self._silent or (stream.problem if stream is not None else "not opened yet")
        return {
            "kind": "serial",
            "port": (stream.device if stream is not None else "") or self._settings.port,
            "state": "reading" if not problem else "waiting",
            "error": problem,
            "device": hello.device_id if hello else "",
            "firmware": hello.firmware if hello else "",
        }

    def run(self, emit: Emit, stop: threading.Event) -> None:
        self._open()
        try:
            while not stop.is_set():
                self.step(emit)
        except Closed:
            return
        finally:
            if self._stream is not None:
                self._stream.close()

    def step(self, emit: Emit) -> None:
        """Read once, hand on what came, ask for what is missing, open the port again where it is silent."""
        stream = self._stream
        assert stream is not None  # _open came first
        data = stream.read(READ_S)
        now = self._clock.monotonic()
        blocks: list[SampleBlock] = []
        if stream.connections != self._connections:
            blocks += self._connected(now, stream)
        if data:
            self._heard(now)
            messages = self._decoder.feed(data)
            for message in messages:
                if isinstance(message, Hello):
                    self._greeted(stream, message)
                elif isinstance(message, Samples):
                    self._ended = message.end
            blocks += self._tracker.push(messages, now)
        blocks += self._tracker.poll(now)
        for block in blocks:
            self._metrics.add("messages")
            emit(block)
        if not stream.problem:
            if self._decoder.dialect != "csv":
                for command in self._tracker.commands(now):
                    stream.write(codec.encode(command))
            self._check_silence(now)

    def _open(self) -> None:
        self._stream = self._open_stream(self._settings.port, self._settings.baud)
        self._connections = 0
        self._heard_s = self._clock.monotonic()

    def _connected(self, now: float, stream: Stream) -> list[SampleBlock]:
        """A new line: what was half-read is void, and another device may be there."""
        self._connections = stream.connections
        self._decoder = FrameDecoder(self._settings.dialect)
        self._heard_s = now
        self._ended = False
        return self._tracker.lost_connection()

    def _heard(self, now: float) -> None:
        self._heard_s = now
        if self._silent:
            self._silent = ""
            self._warn.recovered("silent", "%s: sends again", self._settings.port)

    def _greeted(self, stream: Stream, hello: Hello) -> None:
        known = self._tracker.hello
        if known is not None and (known.device_id, known.boot, known.rate_hz) == (
            hello.device_id,
            hello.boot,
            hello.rate_hz,
        ):
            return
        if known is not None and known.rate_hz != hello.rate_hz:
            self._metrics.add("rate_changes")
        log.info("%s: %s (%s), %g Hz", stream.device, hello.device_id, hello.firmware, hello.rate_hz)
        if hello.obeys_commands:
            stream.write(codec.encode(Command(START_ID, Verb.START)))

    def _check_silence(self, now: float) -> None:
        hello = self._tracker.hello
        rate_hz = hello.rate_hz if hello else self._settings.rate_hz
        limit = max(self._settings.silence_s, SILENT_SAMPLES / rate_hz if rate_hz else 0.0)
        # After END a device may be silent for as long as it likes.
        if self._ended or now - self._heard_s < limit:
            return
        self._silent = f"open, but nothing came for {limit:g} s; check baud rate and wiring"
        self._warn.warn("silent", "%s: %s", self._settings.port, self._silent)
        assert self._stream is not None
        self._stream.close()
        self._open()

    def _report(self, reason: str, message: str, n: int = 1) -> None:
        self._drops.drop(reason, self._settings.port, message, n)
