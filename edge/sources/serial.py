"""Samples from a device on a serial port: frames (PROTOCOL.md) or lines of numbers.

The port is opened again when it vanishes or falls silent; what was missed in between shows as a gap in the
device's own count. HELLO is asked for until it comes, and missing samples while the device can
send them again. With a key, only frames that carry its tag count; verdicts go back to the device.
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
from edge.sources.answers import Answers, to_verdict
from edge.sources.base import Closed, Drops, Emit
from edge.sources.device import CsvSpec, DeviceTracker
from edge.sources.trust import REFUSALS, DeviceIds, Trust
from edge.types import Result, SampleBlock, Window
from edge.warnings_once import WarnOnce
from firmware_bridge import codec
from firmware_bridge.auth import Guard
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.messages import BadFrame, Command, Hello, Message, Samples, Verb
from firmware_bridge.serial_stream import SerialStream

log = logging.getLogger("edge.sources.serial")

READ_S = 0.25  # how late a stop may be noticed while nothing comes in
# A slow sensor is silent between its samples: reopening waits for so many of them.
SILENT_SAMPLES = 10.0
START_ID = 0  # the receiver numbers its own commands from 1
# For so long after the last refused frame the source has an error: somebody should look.
ALARM_S = 60.0


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
        trust: Trust | None = None,
        ids: DeviceIds | None = None,
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
        self._trust = trust
        self._ids = ids or DeviceIds()
        self._malformed = ""  # why a sound frame could not be read, until HELLO comes
        self._rival = ""  # the port where the same device id was heard before
        self._refused: dict[str, tuple[int, float]] = {}  # by reason: how many, when last
        self._answers = Answers(settings.verdict_every_s)
        self._answered = ""  # the stream whose verdicts are this device's
        self._new_decoder()
        self._connections = 0
        self._heard_s = 0.0
        self._ended = False
        self._silent = ""

    def status(self) -> dict[str, object]:
        stream, hello = self._stream, self._tracker.hello
        problem = self._silent or (stream.problem if stream is not None else "not opened yet")
        trust, refused = self._trust, dict(self._refused)
        return {
            "kind": "serial",
            "port": (stream.device if stream is not None else "") or self._settings.port,
            "state": "reading" if not problem else "waiting",
            "error": "; ".join(filter(None, (problem, *self._alarms()))),
            "device": hello.device_id if hello else "",
            "firmware": hello.firmware if hello else "",
            "tags": "off" if trust is None else "required" if trust.required else "checked where sent",
            "refused": {reason: count for reason, (count, _) in refused.items()},
        }

    def _alarms(self) -> list[str]:
        """What somebody should look at while samples come in all the same. The text stays while it lasts."""
        out = []
        hello, rival = self._tracker.hello, self._rival
        if rival and hello is not None:
            out.append(
                f"device id {hello.device_id} is also on {rival}: give each device an id of its own, "
                "or each source another stream"
            )
        if self._malformed and hello is None:
            out.append(f"no HELLO that can be used; of the last frame: {self._malformed}")
        since_s = self._clock.monotonic() - ALARM_S
        lately = sorted(reason for reason, (_, last_s) in dict(self._refused).items() if last_s >= since_s)
        if lately:
            out.append(f"frames refused ({', '.join(lately)}): another key, or somebody forges or replays")
        if self._trust is not None and self._trust.counters.problem:
            out.append(self._trust.counters.problem)
        return out

    def answer(self, window: Window, result: Result) -> None:
        """A verdict on this device's samples, from the pipeline's thread; sent from this source's own."""
        if self._settings.verdicts and window.stream == self._answered:
            self._answers.put(window, result)

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
            self._ids.release(self._settings.port)
            if self._trust is not None:
                self._trust.counters.save()

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
            unverified = self._decoder.counters.unverified
            messages = self._decoder.feed(data)
            if self._decoder.counters.unverified != unverified:
                self._metrics.add("unverified", self._decoder.counters.unverified - unverified)
            for message in messages:
                if isinstance(message, Hello):
                    self._greeted(stream, message)
                elif isinstance(message, Samples):
                    self._ended = message.end
                elif isinstance(message, BadFrame):
                    self._bad(message, now)
            blocks += self._tracker.push(messages, now)
        blocks += self._tracker.poll(now)
        for block in self._not_twice(blocks) if self._rival else blocks:
            self._metrics.add("messages")
            emit(block)
        if not stream.problem:
            if self._decoder.dialect != "csv":
                for command in self._tracker.commands(now):
                    self._send(stream, command)
                self._tell_verdict(stream, now)
            self._check_silence(now)
        else:
            self._ids.release(self._settings.port)

    def _open(self) -> None:
        self._stream = self._open_stream(self._settings.port, self._settings.baud)
        self._connections = 0
        self._heard_s = self._clock.monotonic()

    def _connected(self, now: float, stream: Stream) -> list[SampleBlock]:
        """A new line: what was half-read is void, and another device may be there."""
        self._connections = stream.connections
        self._new_decoder()
        self._ids.release(self._settings.port)
        self._rival = ""
        self._answers.forget()
        self._heard_s = now
        self._ended = False
        return self._tracker.lost_connection()

    def _new_decoder(self) -> None:
        dialect = self._settings.dialect
        self._guard: Guard | None = None
        if self._trust is not None:
            self._guard = self._trust.guard()
            if self._trust.required:
                dialect = "binary"  # lines carry no tag, so they must not pass either
        self._decoder = FrameDecoder(dialect, guard=self._guard)

    def _send(self, stream: Stream, message: Message) -> bool:
        return stream.write(codec.encode(message, tagger=None if self._guard is None else self._guard.tagger))

    def _tell_verdict(self, stream: Stream, now: float) -> None:
        item, hello = self._answers.take(now), self._tracker.hello
        if item is None or hello is None or not hello.obeys_commands:
            return
        window, result = item
        # A device that has begun another count would look for the window in the wrong place.
        fits = window.epoch == self._tracker.epoch
        sent = fits and self._send(stream, to_verdict(window, result, hello))
        self._metrics.add_by("answers", "sent" if sent else "unsent" if fits else "stale")

    def _not_twice(self, blocks: list[SampleBlock]) -> list[SampleBlock]:
        """Samples under an id that is on another port, too, must not mix with those."""
        hello = self._tracker.hello
        if hello is not None:
            self._claim(hello)
        if not self._rival or self._settings.stream is not None:
            return blocks
        for block in blocks:
            says = f"device id {block.stream} is also on {self._rival}"
            self._report("duplicate_id", says, len(block.values))
        return []

    def _bad(self, frame: BadFrame, now: float) -> None:
        if frame.reason in REFUSALS:
            self._refused[frame.reason] = (self._refused.get(frame.reason, (0, 0.0))[0] + 1, now)
        elif frame.reason == "malformed":
            self._malformed = frame.detail

    def _claim(self, hello: Hello) -> None:
        holder = self._ids.claim(hello.device_id, self._settings.port)
        self._rival = "" if holder == self._settings.port else holder

    def _heard(self, now: float) -> None:
        self._heard_s = now
        if self._silent:
            self._silent = ""
            self._warn.recovered("silent", "%s: sends again", self._settings.port)

    def _greeted(self, stream: Stream, hello: Hello) -> None:
        known = self._tracker.hello
        self._malformed = ""
        self._claim(hello)
        self._answered = self._settings.stream or to_name(hello.device_id, "device")
        if known is None or known.boot != hello.boot:
            self._answers.forget()
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
            self._send(stream, Command(START_ID, Verb.START))

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
