"""Serial to MQTT, for a gateway too thin for a model: frames go to the topic where an agent reads samples.

Each message holds HELLO and the SAMPLES frames of a moment, so an agent that joins late understands any of
them. Lines of the CSV dialect go as JSON. paho-mqtt is imported when it is used.
"""

from __future__ import annotations

import json
import re
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from firmware_bridge import codec
from firmware_bridge.errors import BrokerError
from firmware_bridge.messages import BadFrame, CsvSamples, Decoded, Hello, Samples, Status

_TOPIC_LEVEL = re.compile(r"[A-Za-z0-9_-]{1,64}")
# One message for this long of samples, or this many bytes: few messages, and verdicts are not late.
BATCH_S = 0.25
BATCH_BYTES = 8192
# While the broker is away: some minutes of one device. What comes after that is dropped and counted.
MAX_QUEUED = 1000
_REFUSED = 128
_QUEUE_FULL = 15  # paho's MQTT_ERR_QUEUE_SIZE: the newest message is not taken


class Batcher:
    """Collects messages of one device into MQTT payloads. No IO.

    Args:
        rate_hz: of the CSV dialect, which does not say.
    """

    def __init__(self, rate_hz: float | None = None) -> None:
        self._rate_hz = rate_hz
        self._hello: Hello | None = None
        self._frames: list[bytes] = []
        self._rows: list[tuple[float, CsvSamples]] = []
        self._since_s = 0.0
        self.without_hello = 0

    @property
    def hello(self) -> Hello | None:
        """The device's latest HELLO."""
        return self._hello

    def push(self, item: Decoded, now_s: float, utc_s: float) -> list[bytes]:
        """Take a message; payloads that are ready."""
        out: list[bytes] = []
        if isinstance(item, Hello):
            out = self.flush() if item != self._hello else []
            self._hello = item
        elif isinstance(item, CsvSamples):
            if self._rate_hz is None:
                raise BrokerError("lines of numbers say no rate: give it with --rate")
            if self._rows and self._rows[0][1].columns != item.columns:
                out = self.flush()
            self._begin(now_s)
            self._rows.append((utc_s, item))
        elif isinstance(item, (Samples, Status)):
            if self._hello is None:
                self.without_hello += isinstance(item, Samples)
                return []
            self._begin(now_s)
            self._frames.append(codec.encode(item, pack=True))
            if isinstance(item, Samples) and item.end:
                return self.flush()
        elif isinstance(item, BadFrame):
            return []
        return out + self.poll(now_s)

    def _begin(self, now_s: float) -> None:
        if not self._frames and not self._rows:
            self._since_s = now_s

    def poll(self, now_s: float) -> list[bytes]:
        """Payloads that are due."""
        size = sum(map(len, self._frames))
        if not (self._frames or self._rows) or (now_s - self._since_s < BATCH_S and size < BATCH_BYTES):
            return []
        return self.flush()

    def flush(self) -> list[bytes]:
        """All that is left."""
        frames, self._frames = self._frames, []
        rows, self._rows = self._rows, []
        if frames and self._hello is not None:
            return [codec.encode(self._hello) + b"".join(frames)]
        if not rows or self._rate_hz is None:
            return []
        columns = rows[0][1].columns
        values = [row for _, part in rows for row in part.values.tolist()]
        # The rows before the first arrival were taken before it.
        t0 = rows[0][0] - (len(rows[0][1].values) - 1) / self._rate_hz
        channels = {
            name: [None if row[i] != row[i] else row[i] for row in values] for i, name in enumerate(columns)
        }
        return [json.dumps({"t0": t0, "rate_hz": self._rate_hz, "ch": channels}).encode()]


class Publisher(Protocol):
    """Where payloads go."""

    def publish(self, topic: str, payload: bytes) -> None:
        """Queue a payload for the topic."""
        ...


def samples_topic(base: str, node: str, stream: str) -> str:
    """``<base>/<node>/stream/<id>/samples``.

    Raises:
        BrokerError: a name with characters that a topic level may not have.
    """
    for part in (*base.split("/"), node, stream):
        if not _TOPIC_LEVEL.fullmatch(part):
            raise BrokerError(f"{part!r} cannot be part of a topic: use 1 to 64 of A-Z a-z 0-9 _ -")
    return f"{base}/{node}/stream/{stream}/samples"


class MqttPublisher:
    """paho-mqtt, version 5, QoS 1; reconnects by itself and keeps what could not be sent, up to a cap.

    Args:
        tls: encrypts, and checks the broker (tls.py); None sends in the clear.
        make_client: for tests.
    """

    def __init__(
        self,
        host: str,
        port: int = 1883,
        *,
        client_id: str = "",
        username: str | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
        make_client: Callable[..., Any] | None = None,
    ) -> None:
        import paho.mqtt.client as mqtt  # only what forwards needs it
        from paho.mqtt.enums import CallbackAPIVersion

        factory: Callable[..., Any] = make_client or mqtt.Client
        self._client = factory(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        if username is not None:
            self._client.username_pw_set(username, password)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.max_queued_messages_set(MAX_QUEUED)
        self._client.reconnect_delay_set(1, 30)
        self._client.on_publish = self._on_publish
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._where = f"{host}:{port}"
        self._problem = ""
        self._lock = threading.Lock()
        self.published = self.dropped = self.refused = self.queued = 0
        self._client.connect_async(host, port)
        self._client.loop_start()

    @property
    def problem(self) -> str:
        """Why nothing can be sent; empty where it can."""
        return "" if self._client.is_connected() else (self._problem or f"no connection to {self._where}")

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        del client, userdata, flags, properties
        self._problem = f"{self._where} refused the connection: {reason}" if reason.is_failure else ""

    def _on_connect_fail(self, client: Any, userdata: Any) -> None:
        del client, userdata
        # paho calls this while it handles the error, and tells nothing of it.
        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLError):
            says = getattr(error, "verify_message", "") or error.reason or error
            self._problem = f"{self._where} is not trusted: {says}"
        else:
            self._problem = ""

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        del client, userdata, mid, properties
        with self._lock:
            if reason.value >= _REFUSED:
                self.refused += 1
                self._problem = f"{self._where} refused a message: {reason}"
            else:
                self.published += 1

    def publish(self, topic: str, payload: bytes) -> None:
        info = self._client.publish(topic, payload, qos=1)
        if info.rc == _QUEUE_FULL:
            self.dropped += 1
        else:
            self.queued += 1

    def close(self, timeout_s: float = 2.0) -> None:
        """Send what is queued, for a while, and disconnect."""
        deadline_s = time.monotonic() + timeout_s
        while self._client.is_connected() and time.monotonic() < deadline_s:
            if self.published + self.refused >= self.queued:
                break
            time.sleep(0.02)
        self._client.disconnect()
        self._client.loop_stop()
