"""Samples from the broker: `<base>/<node>/stream/<id>/samples` in JSON, SenML JSON or binary frames.

The session is lasting (fixed client id): the broker keeps messages for an agent that is away. A message is
acknowledged once the agent has accepted its samples, or dropped it with a count; never before.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from edge.bundle import InputSpec
from edge.clock import SYSTEM_CLOCK, Clock
from edge.config import MqttSettings, MqttSource
from edge.metrics import Metrics
from edge.mqtt_link import MqttLink
from edge.quota import Bucket
from edge.sources.base import Closed, Drops, Emit, PayloadError
from edge.sources.messages import MessageReader
from edge.sources.silence import Silence
from edge.sources.taken import Taken
from edge.topics import Topics, stream_of
from edge.types import SampleBlock

log = logging.getLogger("edge.sources.mqtt")

# What a message counts for at least in a stream's quota: taking it apart costs something, however little signal it says
# to hold. 200 kB are a second of 10 kHz in JSON with room to spare.
MESSAGE_S, BYTES_PER_S = 0.05, 200_000.0


class MqttSamples:
    """The source for `[[source]] kind = "mqtt"`. `spec`: the bundle's input."""

    name = "mqtt"

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
        self._settings, self._topics, self._metrics = settings, topics, metrics
        self.aligned = settings.aligned
        self._max_streams = max_streams
        self._drops = Drops(metrics, log)
        self._burst_s = settings.quota_burst_s or float(max(broker.session_expiry_s, 1))
        self._monotonic = clock.monotonic
        # Streams that we do not hold share one quota: nobody gets more by inventing ids.
        self._limited, self._strangers = settings.quota_speed > 0, self._new_quota()
        self._reader = MessageReader(
            settings.format,
            spec,
            settings.gap_tolerance_s,
            metrics,
            self._drops,
            max_streams=max_streams,
            idle_s=idle_s,
            new_quota=self._new_quota,
            where=lambda stream: topics.stream(stream, "samples"),
            clock=clock,
        )
        self._by_topic: dict[str, str] = {}
        self._wanted = frozenset(settings.streams)
        self._filters = topics.samples_filters(settings.streams)[: len(settings.streams) or 1]
        self._taken = Taken(broker.receive_maximum)
        self._silence = Silence(settings.silence_s, idle_s, clock.monotonic)
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
        self._reader.streams, self._taken = before._reader.streams, before._taken

    @property
    def is_ready(self) -> bool:
        """The broker has confirmed our subscription: from then on it keeps what is sent, also while we are away."""
        return self._link.subscribed

    def run(self, emit: Emit, stop: threading.Event) -> None:
        self._emit = emit
        self._link.run(stop)

    def status(self) -> dict[str, object]:
        state = "connected" if self._link.connected else "disconnected"
        error = self._link.last_error or self._silence.says
        refused = [topic for topic in self._link.refused_filters if topic in self._filters]
        if refused and not error:
            error = f"the broker refuses the subscription to {', '.join(refused)}"
        return {
            "kind": "mqtt",
            "broker": self._link.place,
            "state": state,
            "error": error,
            "streams": len(self._reader.streams),
        }

    def _subscribe(self) -> None:
        # Again at every connect: it costs nothing and heals a session that the broker has forgotten.
        if self._settings.streams:
            self._link.unsubscribe(self._topics.samples_filters())
        self._link.subscribe(self._topics.samples_filters(self._settings.streams))

    def on_message(self, message: Any) -> None:
        """One message from the link: samples to the agent, or a counted drop. Acknowledged in either case."""
        self._metrics.add("messages")
        if message.dup and not message.retain and self._taken.is_again(message, self._link):
            self._metrics.add_by("dropped", "redelivered")
            return
        blocks = self._blocks(message)
        emit = self._emit
        if not blocks or emit is None:
            self._link.ack(message)
            return
        ack = self._taken.add(message, self._link) if message.qos else None
        try:
            for block in blocks[:-1]:
                emit(block)
            emit(blocks[-1], ack)
        except Closed:
            self._taken.forget(message)  # not acknowledged: the broker keeps it for the next start

    def _blocks(self, message: Any) -> list[SampleBlock]:
        """Nothing for a message that is dropped."""
        if message.retain:
            # What the broker kept for newcomers is of some past moment, and comes at every connect.
            self._drops.drop("retained", _shown(message), "sample messages must not be retained")
            return []
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._drops.drop("bad_topic", "a topic", "its name is not UTF-8")
            return []
        try:
            return self.parse(topic, message.payload)
        except PayloadError as error:
            self._drops.drop(error.reason, topic, str(error))
        except Exception as error:
            # A bug of ours. Never acknowledged, such messages would come again and fill what may be under way.
            self._drops.drop("failed", topic, f"cannot be taken apart: {error!r}")
            log.debug("a message that cannot be taken apart", exc_info=True)
        return []

    def parse(self, topic: str, payload: bytes) -> list[SampleBlock]:
        """Blocks of one message. Raises PayloadError; no IO."""
        stream = self._by_topic.get(topic) or self._stream(topic)
        if len(payload) > self._settings.max_payload_bytes:
            raise PayloadError(
                "too_large",
                f"payload of {len(payload)} bytes; at most {self._settings.max_payload_bytes}",
                field="payload",
            )
        known = self._reader.streams.peek(stream)
        quota = self._strangers if known is None else known.quota
        least_s = max(MESSAGE_S, len(payload) / BYTES_PER_S)
        if self._limited and not quota.take(least_s):
            raise PayloadError("over_quota", "more than this stream may send (quota_speed)", field="topic")
        blocks = self._reader.read(stream, known, payload)
        if blocks:
            self._silence.heard(blocks[-1].rate_hz, self._link)
            if self._limited:
                signal_s = 0.0
                for block in blocks:
                    signal_s += len(block.values) / block.rate_hz
                if signal_s > least_s:
                    quota.add_to_cost(signal_s - least_s)
        return blocks

    def _stream(self, topic: str) -> str:
        """The stream of a topic that is seen for the first time."""
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
        return stream

    def _new_quota(self) -> Bucket:
        return Bucket(self._burst_s, self._settings.quota_speed, self._monotonic)

    def _check_silence(self) -> None:
        self._silence.check(self._reader.streams.active, self._link)


def _shown(message: Any) -> str:
    try:
        return str(message.topic)
    except UnicodeDecodeError:
        return "a topic that is not UTF-8"
