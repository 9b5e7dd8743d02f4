"""Messages of one device (firmware_bridge) to sample blocks: units from HELLO, gaps by the sample count. No IO.

Serves the serial source and binary payloads on MQTT alike, so that both give the same blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.names import to_name
from edge.sources.arrival import ArrivalClock
from edge.types import FloatArray, SampleBlock
from firmware_bridge.messages import BadFrame, CsvSamples, Decoded, Hello, Samples, Status
from firmware_bridge.units import to_physical

# PROTOCOL.md, section 4: a jump beyond this is a restart, not a gap.
RESTART_SAMPLES = 1 << 20
_WRAP = 1 << 32
_CRC_REASONS = frozenset({"crc", "cobs", "too_short", "too_long"})


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


@dataclass(frozen=True, slots=True)
class _Format:
    rate_hz: float
    channels: tuple[str, ...]
    units: tuple[str, ...]


class DeviceTracker:
    """State of one device's stream.

    stream: its id, or None to take the device's own. `utc_minus_monotonic` is asked for each block.
    csv: rate, names and unit for the CSV dialect.
    """

    def __init__(
        self,
        stream: str | None,
        report: Report,
        utc_minus_monotonic: Callable[[], float],
        csv: CsvSpec | None = None,
    ) -> None:
        self._stream = stream
        self._report = report
        self._utc = utc_minus_monotonic
        self._csv = csv
        self.hello: Hello | None = None
        self._epoch = ""
        self._next: int | None = None  # index after the newest sample, unwrapped
        self._clock = ArrivalClock(1.0)
        self._hello_just_came = False
        self._restarts = 0
        self._crc_errors = 0  # since the last block
        self._rows: int | None = None  # rows of the CSV dialect so far

    @property
    def stream(self) -> str | None:
        """The stream's id once it is known."""
        return self._stream or (to_name(self.hello.device_id, "device") if self.hello else None)

    @property
    def needs_hello(self) -> bool:
        """Samples come, or may come, that cannot be understood without a HELLO."""
        return self.hello is None and self._rows is None

    def reset(self) -> None:
        """The line was closed: another device may be there next. A device's own count lets it go on where it was."""
        self.hello, self._rows = None, None
        self._hello_just_came = False

    def push(self, message: Decoded, monotonic_s: float) -> list[SampleBlock]:
        """The blocks that a message read at `monotonic_s` completes: none or one."""
        if isinstance(message, Samples):
            block = self._samples(message, monotonic_s)
            self._hello_just_came = False
            return [block] if block is not None else []
        if isinstance(message, CsvSamples):
            block = self._csv_rows(message, monotonic_s)
            return [block] if block is not None else []
        if isinstance(message, Hello):
            self._take_hello(message)
        elif isinstance(message, BadFrame):
            self._crc_errors += message.reason in _CRC_REASONS
            says = f"bad frame of {message.size} bytes ({message.reason}): {message.detail}"
            self._report(f"frame_{message.reason}", says)
        elif isinstance(message, Status) and self.hello is not None and message.boot != self.hello.boot:
            self.hello = None  # it restarted and we missed its HELLO
        return []

    def _take_hello(self, hello: Hello) -> None:
        epoch = f"{hello.device_id}.{hello.boot:08x}@{hello.rate_hz:g}"
        if self._epoch.partition("~")[0] != epoch:
            self._start(epoch, hello.rate_hz)
        self.hello = hello
        self._hello_just_came = True

    def _start(self, epoch: str, rate_hz: float) -> None:
        self._epoch, self._next, self._clock = epoch, None, ArrivalClock(rate_hz)

    def _samples(self, message: Samples, monotonic_s: float) -> SampleBlock | None:
        hello = self.hello
        n, width = message.values.shape
        if hello is None:
            self._report("no_hello", "samples before HELLO, which says their rate and unit", n)
            return None
        if width != len(hello.channels):
            self._report("bad_channels", f"SAMPLES has {width} channels, HELLO {len(hello.channels)}", n)
            return None
        index = self._index(message.seq)
        if index is None:
            self.hello = None
            self._report(
                "no_hello", f"sample count jumped to {message.seq}: the device restarted; asking for HELLO", n
            )
            return None
        values = to_physical(message.values, hello.channels)
        form = _Format(
            hello.rate_hz, tuple(c.name for c in hello.channels), tuple(c.unit for c in hello.channels)
        )
        return self._block(index, form, values, monotonic_s, end=message.end, lead_off=message.lead_off != 0)

    def _index(self, seq: int) -> int | None:
        """The sample count without its wrap at 2^32; None where the device must have restarted."""
        if self._next is None:
            return seq
        if seq == 0 and self._hello_just_came and self._next % _WRAP:
            # A device without a boot counter that works: counts from 0 again under the same number.
            self._restarts += 1
            epoch = self._epoch.partition("~")[0]
            self._start(
                f"{epoch}~{self._utc():.3f}.{self._restarts}", self.hello.rate_hz if self.hello else 1.0
            )
            return 0
        difference = (seq - self._next + (_WRAP >> 1)) % _WRAP - (_WRAP >> 1)
        if abs(difference) <= RESTART_SAMPLES:
            return self._next + difference
        if self._hello_just_came:
            # Its HELLO names the boot that we know: it has gone on counting while we were away.
            return self._next + difference % _WRAP
        return None

    def _csv_rows(self, message: CsvSamples, monotonic_s: float) -> SampleBlock | None:
        n, width = message.values.shape
        spec = self._csv
        if spec is None or spec.rate_hz is None:
            self._report("no_rate", "lines of numbers say no rate: set rate_hz of this source", n)
            return None
        channels = spec.channels or message.columns
        if len(channels) != width:
            says = f"lines have {width} columns, the source's channels are {', '.join(channels)}"
            self._report("bad_channels", says, n)
            return None
        self._stream = self._stream or spec.stream
        if self._rows is None:
            self._rows = 0
            self._start(f"csv{monotonic_s + self._utc():.3f}@{spec.rate_hz:g}", spec.rate_hz)
        values = message.values.astype(np.float32)
        form = _Format(spec.rate_hz, channels, (spec.units,) * width)
        return self._block(self._next or 0, form, values, monotonic_s)

    def _block(
        self,
        index: int,
        form: _Format,
        values: FloatArray,
        monotonic_s: float,
        *,
        end: bool = False,
        lead_off: bool = False,
    ) -> SampleBlock:
        after = index + values.shape[0]
        if self._next is None or after > self._next:
            self._next = after
        self._clock.arrived(after, monotonic_s)
        crc_errors, self._crc_errors = self._crc_errors, 0
        stream = self.stream
        assert stream is not None
        return SampleBlock(
            stream=stream,
            epoch=self._epoch,
            first_index=index,
            t0=self._clock.monotonic_of(index) + self._utc(),
            rate_hz=form.rate_hz,
            channels=form.channels,
            units=form.units,
            values=values,
            end=end,
            crc_errors=crc_errors,
            lead_off=lead_off,
        )
