"""A device without hardware: what it sends and when, and how it answers. Sans-IO; ``simulator`` gives it a port."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.auth import DeviceGuard, Signer
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.faults import Faults
from firmware_bridge.messages import Int16Array
from firmware_bridge.recordings import Recording

Tap = Callable[[Int16Array, int], Int16Array]
"""Alters samples in flight: given int16 (n, channel) and the index of the first, returns the same shape."""

_FAULT_S = 1.0  # how long a stuck converter or a lost electrode lasts
_RAIL = 32_767


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """What kind of device it is.

    Attributes:
        boot: boot number of the first epoch; each further one is one higher.
        block_samples: samples per channel in a frame; fewer where the frame would be too long.
        pack: delta-pack SAMPLES.
        ring_blocks: how many blocks it can send again; 0 for a device that only sends.
        hello_every_s, status_every_s: in device time.
        key: makes every frame tagged.
    """

    device_id: str = "sim-1"
    firmware: str = "simulator"
    boot: int = 1
    block_samples: int = 32
    pack: bool = False
    ring_blocks: int = 64
    hello_every_s: float = 2.0
    status_every_s: float = 5.0
    key: bytes | None = field(default=None, repr=False)


class SimulatedDevice:
    """Plays recordings as frames."""

    def __init__(
        self, settings: DeviceSettings | None = None, faults: Faults | None = None, tap: Tap | None = None
    ) -> None:
        self.settings = settings or DeviceSettings()
        self._faults = faults or Faults()
        self._tap = tap
        self._boot = self.settings.boot
        names = ("reset", "stuck", "lead_off", "wrong_key")
        self._draw = {name: self._faults.random(name) for name in names}
        self._hello: m.Hello | None = None
        self._hello_due_s = self._status_due_s = 0.0
        self._time_s = self._booted_s = 0.0
        self._running = True
        self.verdicts: deque[m.Verdict] = deque(maxlen=100)
        self._values: Int16Array = np.empty((0, 1), np.int16)
        self._valid: npt.NDArray[np.bool_] = np.empty((0, 1), bool)
        self._rate_hz = 1.0
        self._restart()

    def _restart(self) -> None:
        self._ring: deque[m.Samples] = deque(maxlen=self.settings.ring_blocks)
        key = self.settings.key
        self._signer = None if key is None else Signer(key, self._boot)
        wrong = None if key is None else bytes(byte ^ 0x5A for byte in key)
        self._forger = None if wrong is None else Signer(wrong, self._boot)
        guard = None if key is None else DeviceGuard(key, self._boot)
        self._decoder = FrameDecoder("binary", guard=guard)

    def _encode(self, message: m.Message) -> bytes:
        tagger: codec.Tagger | None = self._signer
        if self._signer is not None and self._forger is not None and self._hit("wrong_key"):
            self._forger.number = self._signer.number
            tagger = self._forger
        return codec.encode(message, pack=self.settings.pack, tagger=tagger)

    def _hit(self, name: str) -> bool:
        rate: float = getattr(self._faults, name)
        return self._draw[name].random() < rate

    def _time_us(self, since_boot_s: float) -> int:
        """Device time: what a crystal that runs fast would show."""
        return round(since_boot_s * (1e6 + self._faults.drift_ppm)) & 0xFFFFFFFF

    def start(self, recording: Recording) -> list[bytes]:
        """Boot with this recording on the sensor: the first bytes on the wire."""
        self._time_s = 0.0
        self._rate_hz = recording.rate_hz
        self._values, channels, self._valid = recording.to_int16()
        return self._boot_up(channels)

    def _boot_up(self, channels: tuple[m.Channel, ...]) -> list[bytes]:
        settings = self.settings
        self._restart()
        resend = settings.ring_blocks * self._block_samples(len(channels))
        self._hello = m.Hello(
            settings.device_id,
            settings.firmware,
            self._rate_hz,
            channels,
            self._boot,
            obeys_commands=settings.ring_blocks > 0,
            resend_samples=min(resend, m.MAX_RESEND_SAMPLES),
        )
        self._booted_s = self._status_due_s = self._time_s
        self._hello_due_s = self._time_s + settings.hello_every_s
        return [codec.DELIMITER, self._encode(self._hello)]

    def _block_samples(self, channels: int) -> int:
        # Header 2, fields 13, trailer 16, CRC 4.
        room = (m.MAX_BODY_BYTES - 35) // (2 * channels)
        return max(1, min(self.settings.block_samples, m.MAX_SAMPLES, room))

    def play(self) -> Iterator[tuple[float, list[bytes]]]:
        """The rest of the epoch that :meth:`start` began.

        Yields:
            seconds since the recording began at which frames are ready, and the frames.
        """
        values, valid, rate_hz = self._values, self._valid, self._rate_hz
        total = len(values)
        block = self._block_samples(values.shape[1])
        stuck_until = lead_off_until = -1.0
        held = values[0].copy() if total else values
        epoch_start = 0
        for first in range(0, max(total, 1), block):
            last = min(first + block, total)
            self._time_s = last / rate_hz
            part, lost = values[first:last].copy(), ~valid[first:last]
            if self._hit("stuck"):
                stuck_until, held = self._time_s + _FAULT_S, part[0].copy()
            if self._hit("lead_off"):
                lead_off_until = self._time_s + _FAULT_S
            if self._time_s < stuck_until:
                part[:] = held
            mask = _bits(lost)
            if self._time_s < lead_off_until:
                part[:, 0], mask = _RAIL, mask | 1
            if self._tap is not None and len(part):
                part = np.ascontiguousarray(self._tap(part, first), dtype=np.int16)
            at = first - epoch_start
            message = m.Samples(
                at & 0xFFFFFFFF, self._time_us(at / rate_hz), part, end=last == total, lead_off=mask
            )
            if self._running:
                if self._ring.maxlen:
                    self._ring.append(message)
                yield self._time_s, [*self._due(mask), self._encode(message)]
            if last < total and self._hit("reset"):
                epoch_start = last
                self._boot += 1
                assert self._hello is not None  # start() came first
                yield self._time_s, self._boot_up(self._hello.channels)
        self._boot += 1

    def _due(self, lead_off: int) -> list[bytes]:
        """HELLO and STATUS when their time has come."""
        out = []
        if self._hello is not None and self._time_s >= self._hello_due_s:
            self._hello_due_s = self._time_s + self.settings.hello_every_s
            out.append(self._encode(self._hello))
        if self._time_s >= self._status_due_s:
            self._status_due_s = self._time_s + self.settings.status_every_s
            time_us = self._time_us(self._time_s - self._booted_s)
            out.append(self._encode(m.Status(time_us, self._boot, lead_off=lead_off, battery_mv=3700)))
        return out

    def receive(self, data: bytes) -> list[bytes]:
        """Bytes from the gateway; the frames that answer them."""
        out: list[bytes] = []
        if not self.settings.ring_blocks:
            return out
        for message in self._decoder.feed(data):
            if isinstance(message, m.Command):
                out += self._obey(message)
            elif isinstance(message, m.Verdict):
                self.verdicts.append(message)
        return out

    def _obey(self, command: m.Command) -> list[bytes]:
        result, value, after = m.AckResult.DONE, 0, list[m.Message]()
        if command.verb == m.Verb.HELLO and self._hello is not None:
            after = [self._hello]
        elif command.verb == m.Verb.RESEND:
            result, value, after = self._resend(command)
        elif command.verb in (m.Verb.START, m.Verb.STOP):
            self._running = command.verb == m.Verb.START
        else:
            result = m.AckResult.UNKNOWN_VERB
        ack = m.Ack(command.id, command.verb, result, value)
        return [self._encode(message) for message in (ack, *after)]

    def _resend(self, command: m.Command) -> tuple[m.AckResult, int, list[m.Message]]:
        size = (command.end_seq - command.first_seq) & 0xFFFFFFFF
        found: list[m.Message] = []
        first_seq, late = 0, False
        for block in self._ring:
            # Where the block begins and ends, counted from the first sample asked for.
            begin = (block.seq - command.first_seq + (1 << 31)) % (1 << 32) - (1 << 31)
            if begin < size and begin + len(block.values) > 0:
                if not found:
                    first_seq, late = block.seq, begin > 0
                found.append(block)
        if not found:
            return m.AckResult.GONE, 0, []
        return (m.AckResult.PARTIAL if late else m.AckResult.DONE), first_seq, found


def _bits(lost: npt.NDArray[np.bool_]) -> int:
    """Bit i where channel i has lost any sample; ``lost`` has the shape (n, channel)."""
    return sum(1 << i for i in range(lost.shape[1]) if lost[:, i].any())
