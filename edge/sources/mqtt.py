"""Samples from the broker: `<base>/<node>/stream/<id>/samples` in JSON, SenML JSON or binary frames.

The session is lasting (fixed client id): the broker keeps messages for an agent that is away. A message is
acknowledged once the agent has accepted its samples, or dropped it with a count; never before.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from edge.bundle import InputSpec
from edge.clock import SYSTEM_CLOCK, Clock
from edge.config import MqttSettings, MqttSource
from edge.errors import BlockError
from edge.metrics import Metrics
from edge.mqtt_link import MqttLink
from edge.pipeline.units import match_channels
from edge.quota import Bucket
from edge.sources import json_payload, senml
from edge.sources.base import Closed, Drops, Emit, PayloadError
from edge.sources.device import DeviceTracker
from edge.sources.samples import ParsedSamples
from edge.sources.timeline import Timeline
from edge.streamtable import StreamTable
from edge.topics import Topics, stream_of
from edge.types import SampleBlock
from edge.warnings_once import WarnOnce
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.messages import BadFrame, Decoded, Hello

log = logging.getLogger("edge.sources.mqtt")

# What a message counts for at least in a stream's quota: taking it apart costs something, however little signal it says
# to hold. 200 kB are a second of 10 kHz in JSON with room to spare.
MESSAGE_S, BYTES_PER_S = 0.05, 200_000.0
LOOK_S = 1.0
# A slow sensor is silent between its samples: silence is that of so many of them.
SILENT_SAMPLES = 10.0
_SPACE = b" \t\r\n"
_TEXT = frozenset(b"\t\r\n") | frozenset(range(0x20, 0x7F))


@dataclass
class _Accepted:
    """A message that was taken: `safe` once it may be acknowledged, on the connection with this number."""

    checksum: int
    connection: int
    safe: bool = False


@dataclass
class _Stream:
    """What has to be remembered between the messages of one stream."""

    timeline: Timeline
    device: DeviceTracker
    quota: Bucket
    hello: Hello | None = None
    hello_frame: bytes = b""


class MqttSamples:
    """The source for `[[source]] kind = "mqtt"`. `spec`: the bundle's input."""

    name = "mqtt"

    @property
    def aligned(self) -> bool:
        return self._settings.aligned

    def __init__(
        self,
        settings: MqttSource,
        broker: MqttSettings,
        topics: Topics,
        metrics: Metrics,
        *,
        spec: InputSpec,
        max_streams: int,
        idle_s: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._metrics = metrics
        self._spec = spec
        self._good_channels: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
        self._max_streams = max_streams
        self._clock = clock
        self._decoder = FrameDecoder(
            "binary"
        )  # for all: each payload ends with a delimiter, so nothing stays inside
        self._drops = Drops(metrics, log)
        self._warn = WarnOnce(log)
        self._streams: StreamTable[_Stream] = StreamTable(
            self._new_stream, max_streams, idle_s, clock.monotonic
        )
        self._by_topic: dict[str, str] = {}
        self._burst_s = settings.quota_burst_s or float(max(broker.session_expiry_s, 1))
        # Streams that we do not hold share one quota: nobody gets more by inventing ids.
        self._strangers = self._new_quota()
        self._idle_s = idle_s
        self._heard_s = self._look_s = self._renewed_s = clock.monotonic()
        self._longest_s = 0.0  # ten samples of the slowest stream
        self._silent = ""
        self._wanted = frozenset(settings.streams)
        self._filters = topics.samples_filters(settings.streams)[: len(settings.streams) or 1]
        self._accepted: OrderedDict[int, _Accepted] = OrderedDict()  # by message id
        self._acking = threading.Lock()
        self._receive_maximum = broker.receive_maximum
        self._emit: Emit | None = None
        self._link = MqttLink(
            broker,
            f"{topics.base}-{topics.node}-in",
            lasting=True,
            on_connected=self._subscribe,
            on_message=self.on_message,
            on_poll=self._check_silence if settings.silence_s else None,
        )

    def follow(self, before: MqttSamples) -> None:
        """Take over what another source of the same agent remembers of its streams: it ends, this one goes on."""
        self._streams, self._accepted = before._streams, before._accepted

    @property
    def is_ready(self) -> bool:
        """The broker has confirmed our subscription: from then on it keeps what is sent, also while we are away."""
        return self._link.subscribed

    def run(self, emit: Emit, stop: threading.Event) -> None:
        self._emit = emit
        self._link.run(stop)

    def status(self) -> dict[str, object]:
        state = "connected" if self._link.connected else "disconnected"
        error = self._link.last_error or self._silent
        refused = [topic for topic in self._link.refused_filters if topic in self._filters]
        if refused and not error:
            error = f"the broker refuses the subscription to {', '.join(refused)}"
        return {
            "kind": "mqtt",
            "broker": self._link.place,
            "state": state,
            "error": error,
            "streams": len(self._streams),
        }

    def _subscribe(self) -> None:
        # Again at every connect: it costs nothing and heals a session that the broker has forgotten.
        if self._settings.streams:
            self._link.unsubscribe(self._topics.samples_filters())
        self._link.subscribe(self._topics.samples_filters(self._settings.streams))

    def on_message(self, message: Any) -> None:
        """One message from paho: samples to the agent, or a counted drop. Acknowledged in either case."""
        self._metrics.add("messages")
        ack: Callable[[], None] = partial(self._link.ack, message)
        if message.retain:
            # What the broker kept for newcomers is of some past moment, and comes at every connect.
            self._drops.drop("retained", _shown(message), "sample messages must not be retained")
            ack()
            return
        if message.dup and self._is_again(message):
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._drops.drop("bad_topic", "a topic", "its name is not UTF-8")
            ack()
            return
        try:
            blocks = self.parse(topic, message.payload)
        except PayloadError as error:
            self._drops.drop(error.reason, topic, str(error))
            ack()
            return
        except Exception as error:
            # A bug of ours. Never acknowledged, such messages would come again and fill what may be under way.
            self._drops.drop("failed", topic, f"cannot be taken apart: {error!r}")
            log.debug("a message that cannot be taken apart", exc_info=True)
            ack()
            return
        emit = self._emit
        if not blocks or emit is None:
            ack()
            return
        if message.qos:
            ack = self._remember(message)
        try:
            for block in blocks[:-1]:
                emit(block)
            emit(blocks[-1], ack)
        except Closed:
            self._accepted.pop(message.mid, None)
            return  # not acknowledged: the broker keeps it for the next start

    def _remember(self, message: Any) -> Callable[[], None]:
        """What was taken, as long as the broker may send it again: `receive_maximum` may be unacknowledged.

        The acknowledgement may come from another thread, after the connection broke: on the next one the same
        message id may stand for another message, until the broker has sent this one again.
        """
        entry = _Accepted(zlib.crc32(message.payload), self._link.connections)
        self._accepted[message.mid] = entry
        self._accepted.move_to_end(message.mid)
        if len(self._accepted) > 2 * self._receive_maximum:
            self._accepted.popitem(last=False)

        def ack() -> None:
            with self._acking:
                entry.safe = True
                if entry.connection == self._link.connections:
                    self._link.ack(message)

        return ack

    def _is_again(self, message: Any) -> bool:
        """Taken already, but the connection broke before our acknowledgement reached the broker."""
        entry = self._accepted.get(message.mid)
        if entry is None or entry.checksum != zlib.crc32(message.payload):
            return False
        self._metrics.add_by("dropped", "redelivered")
        with self._acking:
            entry.connection = self._link.connections
            if entry.safe:
                self._link.ack(message)
        return True

    def parse(self, topic: str, payload: bytes) -> list[SampleBlock]:
        """Blocks of one message. Raises PayloadError; no IO."""
        stream = self._by_topic.get(topic)
        if stream is None:
            stream = stream_of(topic, self._topics.root)
            if stream is None:
                raise PayloadError(
                    "bad_topic",
                    f"send to {self._topics.stream('ID', 'samples')}; an ID is 1 to 64 of A-Z a-z 0-9 _ -",
                    field="topic",
                )
            if self._wanted and stream not in self._wanted:
                raise PayloadError("not_wanted", "not among the streams of this source", field="topic")
            if len(self._by_topic) >= 4 * self._max_streams:
                self._by_topic.clear()  # a cache: others choose how many topics there are
            self._by_topic[topic] = stream
        if len(payload) > self._settings.max_payload_bytes:
            raise PayloadError(
                "too_large",
                f"payload of {len(payload)} bytes; at most {self._settings.max_payload_bytes}",
                field="payload",
            )
        known = self._streams.peek(stream)
        quota = self._strangers if known is None else known.quota
        limited, least_s = self._settings.quota_speed > 0, max(MESSAGE_S, len(payload) / BYTES_PER_S)
        if limited and not quota.take(least_s):
            raise PayloadError("over_quota", "more than this stream may send (quota_speed)", field="topic")
        blocks = self._take_apart(stream, payload)
        if blocks:
            self._heard(blocks)
            if limited:
                signal_s = 0.0
                for block in blocks:
                    signal_s += len(block.values) / block.rate_hz
                if signal_s > least_s:
                    quota.add_to_cost(signal_s - least_s)
        return blocks

    def _take_apart(self, stream: str, payload: bytes) -> list[SampleBlock]:
        kind = self._kind(payload)
        if kind == "binary":
            return self._binary(stream, payload)
        # Parsed before the table is asked: garbage must not take a stream's place.
        decoded = json_payload.decode(payload)
        if kind == "senml" or (kind == "auto" and isinstance(decoded, list)):
            known = self._streams.peek(stream)
            parsed = senml.parse(decoded, known.timeline.rate_hz if known else None)
        else:
            parsed = json_payload.parse(decoded, self._spec.channels)
        if "" in parsed.units:
            units = tuple(unit or self._spec.units for unit in parsed.units)
            parsed = replace(parsed, units=units)
        self._check_channels(parsed.channels, parsed.units)
        return self._place(stream, parsed)

    def _kind(self, payload: bytes) -> str:
        kind = self._settings.format
        if kind != "auto":
            return kind
        # Frames are separated by 0x00, which JSON never holds.
        if payload[-1:] == b"\x00" or payload[:1] == b"\x00":
            return "binary"
        head = payload[:64]
        if head.lstrip(_SPACE)[:1] in (b"{", b"["):
            return "auto"
        return "json" if all(byte in _TEXT for byte in head) else "binary"

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
            self._streams.done(stream)
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

    def _binary(self, stream: str, payload: bytes) -> list[SampleBlock]:
        messages = self._decode(stream, payload)
        if not messages:
            raise PayloadError("empty", "no frame in it", field="payload")
        first = messages[0]
        if isinstance(first, BadFrame) and len(messages) == 1 and self._streams.peek(stream) is None:
            # Garbage must not take a stream's place.
            raise PayloadError(
                f"frame_{first.reason}", f"no sound frame in it: {first.detail}", field="payload"
            )
        state = self._state(stream)
        now = self._clock.monotonic()
        blocks = state.device.push(messages, now)
        for block in blocks:
            self._check_channels(block.channels, block.units)
        if blocks and blocks[-1].end:
            self._streams.done(stream)
        return blocks

    def _decode(self, stream: str, payload: bytes) -> list[Decoded]:
        """The frames of a payload. A HELLO that opens it as it did the last time is not decoded again."""
        known = self._streams.peek(stream)
        # The 0x00 closes a frame that came without its delimiter and ends one that was cut off.
        if known is not None and known.hello is not None and payload.startswith(known.hello_frame):
            return [known.hello, *self._decoder.feed(payload[len(known.hello_frame) :] + b"\x00")]
        messages = self._decoder.feed(payload + b"\x00")
        if known is not None and messages and isinstance(messages[0], Hello) and payload[:1] != b"\x00":
            known.hello, known.hello_frame = messages[0], payload[: payload.find(b"\x00") + 1]
        return messages

    def _state(self, stream: str) -> _Stream:
        state = self._streams.get(stream)
        if state is None:
            raise PayloadError(
                "too_many_streams",
                f"{self._max_streams} streams are active; raise pipeline.max_streams",
                field="topic",
            )
        return state

    def _new_stream(self, stream: str) -> _Stream:
        def report(reason: str, message: str, n: int = 1) -> None:
            self._drops.drop(reason, self._topics.stream(stream, "samples"), message, n)

        return _Stream(
            Timeline(self._settings.gap_tolerance_s),
            DeviceTracker(stream, report, self._clock.utc_minus_monotonic, resend=False),
            self._new_quota(),
        )

    def _new_quota(self) -> Bucket:
        return Bucket(self._burst_s, self._settings.quota_speed, self._clock.monotonic)

    def _heard(self, blocks: list[SampleBlock]) -> None:
        self._heard_s = self._clock.monotonic()
        self._longest_s = max(self._longest_s, SILENT_SAMPLES / blocks[-1].rate_hz)
        if self._silent:
            self._silent = ""
            self._warn.recovered("silent", "broker %s: samples come again", self._link.place)

    def _check_silence(self) -> None:
        """From the connection's thread, several times a second."""
        now = self._clock.monotonic()
        if now < self._look_s:
            return
        self._look_s = now + LOOK_S
        limit_s = max(self._settings.silence_s, self._longest_s)
        # Nobody has sent yet, every record has ended, or the streams are given up: nothing is due.
        due = self._streams.active and now - self._heard_s < self._idle_s + limit_s
        if not due or not self._link.connected:
            self._silent = self._silent if due else ""
        elif now - max(self._heard_s, self._renewed_s) >= limit_s:
            self._renewed_s = now
            self._silent = f"connected, but no sample message came for {limit_s:g} s"
            self._warn.warn("silent", "broker %s: %s; connecting anew", self._link.place, self._silent)
            self._link.renew("no sample message came")

    def _check_channels(self, channels: tuple[str, ...], units: tuple[str, ...]) -> None:
        """Tell a wrong channel or unit here, where topic and field can be named; the pipeline would refuse it, too."""
        if (channels, units) in self._good_channels:
            return
        try:
            match_channels(self._spec, channels, units)
        except BlockError as error:
            raise PayloadError("wrong_channel", str(error).partition(": ")[2], field="ch") from error
        if len(self._good_channels) >= 256:
            self._good_channels.clear()
        self._good_channels.add((channels, units))


def _shown(message: Any) -> str:
    try:
        return str(message.topic)
    except UnicodeDecodeError:
        return "a topic that is not UTF-8"
