"""What a stream carries, counted: rates, gaps, errors, the device's own words. No IO; ``cli`` shows it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from firmware_bridge import messages as m
from firmware_bridge.clock import DeviceClock
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.receiver import Receiver
from firmware_bridge.units import to_physical

_RATE_S = 5.0  # rates are means over this long
_LINES = 8


@dataclass
class _Rate:
    """Events a second over the last seconds."""

    seen: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def add(self, now_s: float, count: int) -> None:
        self.seen.append((now_s, count))
        self.total += count
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        while self.seen and self.seen[0][0] < now_s - _RATE_S:
            self.total -= self.seen.popleft()[1]

    def per_s(self, now_s: float, since_s: float) -> float:
        self._forget(now_s)
        return self.total / max(min(now_s - since_s, _RATE_S), 1e-3)


class Monitor:
    """Counts one stream.

    Args:
        decoder: whose counters are shown.
        now_s: monotonic time of the start.
    """

    def __init__(self, decoder: FrameDecoder, now_s: float) -> None:
        self._decoder = decoder
        self._started_s = now_s
        self.receiver = Receiver(resend=False)
        self._bytes, self._frames, self._samples = _Rate(), _Rate(), _Rate()
        self._clock = DeviceClock()
        self._epoch = ""
        self._status: m.Status | None = None
        self._columns: tuple[str, ...] = ()
        self._last: list[float] = []
        self._lead_off = 0
        self._saturated = 0
        self._lines: deque[str] = deque(maxlen=_LINES)

    def feed(self, data: bytes, now_s: float) -> list[m.Decoded]:
        """Decode and count; what was decoded."""
        self._bytes.add(now_s, len(data))
        items = self._decoder.feed(data)
        for item in items:
            self._count(item, now_s)
        return items

    def _count(self, item: m.Decoded, now_s: float) -> None:
        if isinstance(item, m.BadFrame):
            self._lines.append(f"bad frame of {item.size} bytes: {item.reason} {item.detail}".rstrip())
            return
        self._frames.add(now_s, 1)
        if isinstance(item, m.CsvSamples):
            self._columns = item.columns
            self._samples.add(now_s, len(item.values))
            self._last = item.values[-1].tolist() if len(item.values) else self._last
        elif isinstance(item, m.Samples):
            self._count_samples(item, now_s)
        elif isinstance(item, m.Status):
            self._status = item
        elif isinstance(item, m.Log):
            self._lines.append(f"{m.known(m.LogLevel, item.level)}: {item.text}")
        self.receiver.push(item, now_s)
        if isinstance(item, m.Hello) and self.receiver.epoch != self._epoch:
            self._epoch = self.receiver.epoch
            self._clock = DeviceClock()
            self._columns = tuple(channel.name for channel in item.channels)

    def _count_samples(self, item: m.Samples, now_s: float) -> None:
        count = len(item.values)
        self._samples.add(now_s, count)
        self._lead_off = item.lead_off
        self._saturated += int(((item.values == 32767) | (item.values == -32768)).sum())
        hello = self.receiver.hello
        if hello is None or not count or item.values.shape[1] != len(hello.channels):
            return
        self._last = to_physical(item.values[-1:], hello.channels)[0].tolist()
        device_us = self._clock.unwrap(item.device_time_us)
        self._clock.observe(device_us + round((count - 1) * 1e6 / hello.rate_hz), now_s)

    def snapshot(self, now_s: float) -> dict[str, Any]:
        """Everything as plain values, for JSON or a table."""
        counters, loss, hello = self._decoder.counters, self.receiver.counters, self.receiver.hello
        status = self._status
        return {
            "type": "summary",
            "dialect": self._decoder.dialect,
            "seconds": round(now_s - self._started_s, 3),
            "device_id": hello.device_id if hello else None,
            "firmware": hello.firmware if hello else None,
            "boot": hello.boot if hello else None,
            "rate_hz": hello.rate_hz if hello else None,
            "channels": list(self._columns),
            "units": [channel.unit for channel in hello.channels] if hello else [],
            "last": [None if math.isnan(value) else value for value in self._last],
            "bytes_per_s": round(self._bytes.per_s(now_s, self._started_s), 1),
            "frames_per_s": round(self._frames.per_s(now_s, self._started_s), 2),
            "samples_per_s": round(self._samples.per_s(now_s, self._started_s), 2),
            "frames": counters.frames,
            "csv_rows": counters.csv_rows,
            "bad": dict(counters.bad),
            "crc_errors": counters.crc_errors,
            "unknown_types": counters.unknown_types,
            "gaps": loss.gaps,
            "missing_samples": loss.missing_samples,
            "repeats": loss.repeats,
            "restarts": loss.restarts,
            "saturated_samples": self._saturated,
            "lead_off": self._lead_off,
            "battery_mv": status.battery_mv if status else None,
            "battery_percent": status.battery_percent if status else None,
            "dropped_by_device": status.dropped_samples if status else None,
            "drift_ppm": round(self._clock.drift_ppm, 1) + 0.0 if self._clock.span_s >= 10 else None,
        }

    @property
    def lines(self) -> Sequence[str]:
        """The latest texts: logs of the device and what was wrong with bad frames."""
        return list(self._lines)


def as_json(item: m.Decoded) -> dict[str, Any]:
    """A message as plain values; integers of SAMPLES as they are."""
    out: dict[str, Any] = {"type": type(item).__name__.lower()}
    for name in item.__slots__:
        value = getattr(item, name)
        if isinstance(value, np.ndarray):
            rows = value.tolist()
            value = [[None if x != x else x for x in row] for row in rows]  # noqa: PLR0124 - NaN is no JSON
        elif isinstance(value, tuple) and value and isinstance(value[0], m.Channel):
            value = [{key: getattr(channel, key) for key in channel.__slots__} for channel in value]
        out[name] = value
    return out
