"""One sample message to blocks: JSON, SenML JSON or binary frames, told apart by their bytes. No IO."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge.bundle import InputSpec
from edge.clock import Clock
from edge.errors import BlockError
from edge.metrics import Metrics
from edge.pipeline.units import match_channels
from edge.quota import Bucket
from edge.sources import json_payload, senml
from edge.sources.base import Drops, PayloadError
from edge.sources.device import DeviceTracker
from edge.sources.samples import ParsedSamples
from edge.sources.timeline import Timeline
from edge.streamtable import StreamTable
from edge.types import SampleBlock
from edge.warnings_once import WarnOnce
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.messages import BadFrame, Decoded, Hello

log = logging.getLogger("edge.sources.mqtt")

_SPACE = b" \t\r\n"
_TEXT = frozenset(b"\t\r\n") | frozenset(range(0x20, 0x7F))
_MAX_GOOD = 256  # channel sets known to fit; others choose how many there are


@dataclass
class StreamState:
    """What has to be remembered between the messages of one stream."""

    timeline: Timeline
    device: DeviceTracker
    quota: Bucket
    hello: Hello | None = None
    hello_frame: bytes = b""


class MessageReader:
    """One source's. `streams` is what it remembers; `kind` as `MqttSource.format`, `where(stream)` names its topic."""

    def __init__(
        self,
        kind: str,
        spec: InputSpec,
        gap_tolerance_s: float,
        metrics: Metrics,
        drops: Drops,
        *,
        max_streams: int,
        idle_s: float,
        new_quota: Callable[[], Bucket],
        where: Callable[[str], str],
        clock: Clock,
    ) -> None:
        self._kind, self._spec, self._gap_tolerance_s = kind, spec, gap_tolerance_s
        self._metrics, self._drops, self._clock = metrics, drops, clock
        self._new_quota, self._where = new_quota, where
        self._max_streams = max_streams
        self._good_channels: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
        # One for all: each payload ends with a delimiter, so nothing stays inside.
        self._decoder = FrameDecoder("binary")
        self._warn = WarnOnce(log)
        self.streams: StreamTable[StreamState] = StreamTable(self._new_stream, max_streams, idle_s, clock.monotonic)

    def read(self, stream: str, known: StreamState | None, payload: bytes) -> list[SampleBlock]:
        """`known`: what `streams` has of it. Raises PayloadError."""
        kind = self._kind if self._kind != "auto" else _kind(payload)
        if kind == "binary":
            return self._binary(stream, known, payload)
        # Parsed before the table is asked: garbage must not take a stream's place.
        decoded = json_payload.decode(payload)
        if kind == "senml" or (kind == "auto" and isinstance(decoded, list)):
            parsed = senml.parse(decoded, known.timeline.rate_hz if known else None)
        else:
            parsed = json_payload.parse(decoded, self._spec.channels)
        if "" in parsed.units:
            units = tuple(unit or self._spec.units for unit in parsed.units)
            parsed = replace(parsed, units=units)
        self._check_channels(parsed.channels, parsed.units)
        return self._place(stream, parsed)

    def _place(self, stream: str, parsed: ParsedSamples) -> list[SampleBlock]:
        state = self._state(stream)
        n, before_hz = parsed.values.shape[0], state.timeline.rate_hz
        place = state.timeline.place(
            parsed.t0, n, parsed.rate_hz, self._clock.utc(), epoch=parsed.epoch, end=parsed.end
        )
        if place is None:
            raise PayloadError("repeated", "samples of a record whose end has come already", field="t0")
        if before_hz is not None and before_hz != parsed.rate_hz:
            self._metrics.add("rate_changes")
            says = "stream %s: rate changed from %g to %g Hz; its window starts anew"
            self._warn.warn(f"rate {stream}", says, stream, before_hz, parsed.rate_hz)
        if parsed.end:
            self.streams.done(stream)
        return [
            SampleBlock(
                stream=stream,
                epoch=place.epoch,
                first_index=place.first_index,
                t0=place.t0,
                rate_hz=parsed.rate_hz,
                channels=parsed.channels,
                units=parsed.units,
                values=parsed.values,
                end=parsed.end,
            )
        ]

    def _binary(self, stream: str, known: StreamState | None, payload: bytes) -> list[SampleBlock]:
        messages = self._decode(known, payload)
        if not messages:
            raise PayloadError("empty", "no frame in it", field="payload")
        first = messages[0]
        if known is None and isinstance(first, BadFrame) and len(messages) == 1:
            # Garbage must not take a stream's place.
            raise PayloadError(
                f"frame_{first.reason}", f"no sound frame in it: {first.detail}", field="payload"
            )
        blocks = self._state(stream).device.push(messages, self._clock.monotonic())
        for block in blocks:
            if (block.channels, block.units) not in self._good_channels:
                self._check_channels(block.channels, block.units)
        if blocks and blocks[-1].end:
            self.streams.done(stream)
        return blocks

    def _decode(self, known: StreamState | None, payload: bytes) -> list[Decoded]:
        """The frames of a payload. A HELLO that opens it as it did the last time is not decoded again."""
        if payload[-1:] != b"\x00":
            payload += b"\x00"  # closes a frame that came without its delimiter and ends one that was cut off
        if known is None:
            return self._decoder.feed(payload)
        if known.hello is not None and payload.startswith(known.hello_frame):
            return [known.hello, *self._decoder.feed(payload[len(known.hello_frame) :])]
        messages = self._decoder.feed(payload)
        if messages and isinstance(messages[0], Hello) and payload[:1] != b"\x00":
            known.hello, known.hello_frame = messages[0], payload[: payload.find(b"\x00") + 1]
        return messages

    def _state(self, stream: str) -> StreamState:
        state = self.streams.get(stream)
        if state is None:
            raise PayloadError(
                "too_many_streams",
                f"{self._max_streams} streams are active; raise pipeline.max_streams",
                field="topic",
            )
        return state

    def _new_stream(self, stream: str) -> StreamState:
        def report(reason: str, message: str, n: int = 1) -> None:
            self._drops.drop(reason, self._where(stream), message, n)

        return StreamState(
            Timeline(self._gap_tolerance_s),
            DeviceTracker(stream, report, self._clock.utc_minus_monotonic, resend=False),
            self._new_quota(),
        )

    def _check_channels(self, channels: tuple[str, ...], units: tuple[str, ...]) -> None:
        """Tell a wrong channel or unit here, where topic and field can be named; the pipeline would refuse it, too."""
        if (channels, units) in self._good_channels:
            return
        try:
            match_channels(self._spec, channels, units)
        except BlockError as error:
            raise PayloadError("wrong_channel", str(error).partition(": ")[2], field="ch") from error
        if len(self._good_channels) >= _MAX_GOOD:
            self._good_channels.clear()
        self._good_channels.add((channels, units))


def _kind(payload: bytes) -> str:
    """"binary", "json", or "auto": JSON of one kind or the other."""
    # Frames are separated by 0x00, which JSON never holds.
    if payload[-1:] == b"\x00" or payload[:1] == b"\x00":
        return "binary"
    head = payload[:64]
    if head.lstrip(_SPACE)[:1] in (b"{", b"["):
        return "auto"
    return "json" if all(byte in _TEXT for byte in head) else "binary"
