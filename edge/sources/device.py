"""Messages of one device (firmware_bridge) to sample blocks: units from HELLO, order, gaps and time by the device's
own count and clock. No IO.

Serves the serial source and binary payloads on MQTT alike, so that both give the same blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.names import to_name
from edge.types import SampleBlock
from firmware_bridge.clock import DeviceClock
from firmware_bridge.messages import BadFrame, Command, CsvSamples, Decoded, Hello, Int16Array, Samples
from firmware_bridge.receiver import Block, Receiver
from firmware_bridge.units import ToPhysical

_WRAP = 1 << 32
_CRC_REASONS = frozenset({"crc", "cobs", "too_short", "too_long"})
# On a link that may send a message twice, repeats this recent are no restart of the device.
REPEAT_S = 60.0


class Report(Protocol):
    """Told what was dropped: reason (a counter's label), sentence, how many."""

    def __call__(self, reason: str, message: str, n: int = 1) -> None: ...


@dataclass(frozen=True, slots=True)
class CsvSpec:
    """What lines of numbers do not say. No `channels`: the header's names. `units` apply to every column."""

    stream: str
    rate_hz: float | None
    channels: tuple[str, ...]
    units: str


class DeviceTracker:
    """State of one device's stream.

    stream: its id, or None to take the device's own. `utc_minus_monotonic` is asked for each block.
    csv: rate, names and unit for the CSV dialect, where that may come.
    resend: the link goes both ways: ask for what is missing. Off, it may also repeat what it sent (MQTT).
    """

    def __init__(
        self,
        stream: str | None,
        report: Report,
        utc_minus_monotonic: Callable[[], float],
        *,
        csv: CsvSpec | None = None,
        resend: bool = True,
    ) -> None:
        self._stream = stream
        self._report = report
        self._utc = utc_minus_monotonic
        self._csv = csv
        self._resend = resend
        self._receiver = Receiver(resend=resend)
        self._clock = DeviceClock()
        self._clock_epoch = ""
        self._crc_errors = 0  # since the last block
        self._next_seq: int | None = None  # after the newest block, where repeats are to be known
        # What follows from a HELLO and the receiver's name for the count, kept as long as they last.
        self._described: Hello | None = None
        self._count, self._name = "", ""
        self._channels: tuple[str, ...] = ()
        self._units: tuple[str, ...] = ()
        self._to_physical = ToPhysical(())
        self._rows: int | None = None  # rows of the CSV dialect so far
        self._csv_epoch = ""

    @property
    def hello(self) -> Hello | None:
        """The device's latest HELLO."""
        return self._receiver.hello

    @property
    def epoch(self) -> str:
        """Name of the count that its blocks are in now; empty before HELLO."""
        hello = self._receiver.hello
        return "" if hello is None else self._epoch(hello, self._receiver.epoch)

    def push(self, messages: Sequence[Decoded], monotonic_s: float) -> list[SampleBlock]:
        """The blocks that are in order now, after messages that were read together at `monotonic_s`.

        Frames that follow each other become one block: a block costs more than a frame.
        """
        out: list[SampleBlock] = []
        ready: list[Block] = []
        newest: Samples | None = None
        at = 0
        while at < len(messages):
            message = messages[at]
            at += 1
            if isinstance(message, Samples):
                last = message
                goes_on = message.seq == self._next_seq
                if goes_on and at < len(messages):
                    # What continues the count can only be new: frames of it are one to the receiver.
                    run = _run(messages, at - 1)
                    message, last, at = _joined(run), run[-1], at - 1 + len(run)
                if not goes_on and self._is_repeat(message):
                    self._report("repeated", "samples that came before", len(message.values))
                elif self._take_samples(message, monotonic_s, ready):
                    newest = last
            elif isinstance(message, CsvSamples):
                out += self._csv_rows(message, monotonic_s)
            elif isinstance(message, BadFrame):
                self._crc_errors += message.reason in _CRC_REASONS
                says = f"bad frame of {message.size} bytes ({message.reason}): {message.detail}"
                self._report(f"frame_{message.reason}", says)
            else:
                # It may begin another epoch, whose clock is not that of the samples before.
                self._date(newest, monotonic_s)
                out += self._to_blocks(ready)
                before = self._receiver.epoch
                newest, ready = None, self._receiver.push(message, monotonic_s)
                if self._receiver.epoch != before:
                    self._next_seq = None  # a count of its own: nothing of it came before
        self._date(newest, monotonic_s)
        return out + self._to_blocks(ready)

    def _take_samples(self, samples: Samples, monotonic_s: float, ready: list[Block]) -> bool:
        before = self._receiver.counters.before_hello
        blocks = self._receiver.push(samples, monotonic_s)
        if self._receiver.counters.before_hello != before:
            says = "samples before the HELLO that says their rate and unit; asking for it"
            self._report("no_hello", says, len(samples.values))
        ready += blocks
        if blocks and not self._resend:
            self._next_seq = (samples.seq + len(samples.values)) % _WRAP
        return self._receiver.hello is not None

    def poll(self, monotonic_s: float) -> list[SampleBlock]:
        """Blocks whose gap has been waited for long enough. Call it a few times a second where `resend`."""
        return self._to_blocks(self._receiver.poll(monotonic_s))

    def commands(self, monotonic_s: float) -> list[Command]:
        """What to send to the device now."""
        return [] if self._rows is not None else self._receiver.commands(monotonic_s)

    def lost_connection(self) -> list[SampleBlock]:
        """The line was closed: give out what is held; another device may be there next."""
        self._rows = None
        return self._to_blocks(self._receiver.lost_connection())

    def _is_repeat(self, samples: Samples) -> bool:
        if self._resend or self._next_seq is None or self.hello is None:
            return False
        end = samples.seq + len(samples.values)
        away = (end - self._next_seq + _WRAP // 2) % _WRAP - _WRAP // 2
        return -REPEAT_S * self.hello.rate_hz < away <= 0 and len(samples.values) > 0

    def _epoch(self, hello: Hello, count: str) -> str:
        if hello is not self._described or count != self._count:
            self._described, self._count = hello, count
            self._name = f"{hello.device_id}.{count}@{hello.rate_hz:g}"
            self._channels = tuple(channel.name for channel in hello.channels)
            self._units = tuple(channel.unit for channel in hello.channels)
            self._to_physical = ToPhysical(hello.channels)
        return self._name

    def _date(self, samples: Samples | None, monotonic_s: float) -> None:
        """Of frames that came together only the newest says something about the delay."""
        hello = self._receiver.hello
        if samples is None or hello is None:
            return
        epoch = self._epoch(hello, self._receiver.epoch)
        if epoch != self._clock_epoch:
            self._clock_epoch, self._clock = epoch, DeviceClock()
        first_us = self._clock.unwrap(samples.device_time_us)
        last_us = first_us + round(max(len(samples.values) - 1, 0) * 1e6 / hello.rate_hz)
        self._clock.observe(last_us, monotonic_s)

    def _to_blocks(self, blocks: list[Block]) -> list[SampleBlock]:
        if len(blocks) == 1:  # nearly always
            only = blocks[0]
            return [self._to_block(only, [only.samples.values], only.samples.end)]
        out: list[SampleBlock] = []
        at = 0
        while at < len(blocks):
            first = blocks[at]
            run, after = [first.samples.values], first.first_index + len(first.samples.values)
            last = at + 1
            while last < len(blocks) and _follows(blocks[last], blocks[last - 1], after):
                run.append(blocks[last].samples.values)
                after += len(run[-1])
                last += 1
            out.append(self._to_block(first, run, blocks[last - 1].samples.end))
            at = last
        return out

    def _to_block(self, block: Block, run: list[Int16Array], end: bool) -> SampleBlock:
        hello, samples = block.hello, block.samples
        epoch = self._epoch(hello, block.epoch)
        crc_errors, self._crc_errors = self._crc_errors, 0
        t0 = self._clock.gateway_s(self._clock.unwrap(samples.device_time_us)) + self._utc()
        return SampleBlock(
            stream=self._stream or to_name(hello.device_id, "device"),
            epoch=epoch,
            first_index=block.first_index,
            t0=max(0.0, t0),  # a wall clock that stands before 1970 is no reason to lose samples
            rate_hz=hello.rate_hz,
            channels=self._channels,
            units=self._units,
            values=self._to_physical(run[0] if len(run) == 1 else np.concatenate(run)),
            end=end,
            crc_errors=crc_errors,
            lead_off=samples.lead_off != 0,
        )

    def _csv_rows(self, message: CsvSamples, monotonic_s: float) -> list[SampleBlock]:
        n, width = message.values.shape
        spec = self._csv
        if spec is None or spec.rate_hz is None:
            self._report("no_rate", "lines of numbers say no rate: set rate_hz of this source", n)
            return []
        channels = spec.channels or message.columns
        if len(channels) != width:
            says = f"lines have {width} columns, the source's channels are {', '.join(channels)}"
            self._report("bad_channels", says, n)
            return []
        if self._rows is None:
            # Lines have no count: after each opening of the port another one begins.
            began = monotonic_s - n / spec.rate_hz + self._utc()
            self._rows, self._csv_epoch, self._clock = 0, f"csv{began:.3f}@{spec.rate_hz:g}", DeviceClock()
        first, self._rows = self._rows, self._rows + n
        self._clock.observe(round((self._rows - 1) * 1e6 / spec.rate_hz), monotonic_s)
        crc_errors, self._crc_errors = self._crc_errors, 0
        block = SampleBlock(
            stream=self._stream or spec.stream,
            epoch=self._csv_epoch,
            first_index=first,
            t0=max(0.0, self._clock.gateway_s(round(first * 1e6 / spec.rate_hz)) + self._utc()),
            rate_hz=spec.rate_hz,
            channels=channels,
            units=(spec.units,) * width,
            values=message.values.astype(np.float32),
            crc_errors=crc_errors,
        )
        return [block]


def _run(messages: Sequence[Decoded], at: int) -> list[Samples]:
    """The frames from ``messages[at]`` on that continue each other, one at least."""
    before = messages[at]
    assert isinstance(before, Samples)
    run = [before]
    for message in messages[at + 1 :]:
        if (
            not isinstance(message, Samples)
            or message.seq != (before.seq + len(before.values)) % _WRAP
            or message.lead_off != before.lead_off
            or message.values.shape[1] != before.values.shape[1]
            or before.end
        ):
            break
        run.append(message)
        before = message
    return run


def _joined(run: list[Samples]) -> Samples:
    first = run[0]
    if len(run) == 1:
        return first
    values = np.concatenate([samples.values for samples in run])
    return Samples(first.seq, first.device_time_us, values, run[-1].end, first.lead_off)


def _follows(block: Block, before: Block, index: int) -> bool:
    """Whether a block can be one with the block before it, which ends at `index`."""
    return (
        block.first_index == index
        and not before.samples.end
        and block.hello is before.hello
        and block.epoch == before.epoch
        and (block.samples.lead_off != 0) == (before.samples.lead_off != 0)
    )
