"""One connection to the broker, kept up: paho's client, run by a thread that the agent owns.

paho's own thread is not used: its pauses cannot be interrupted, and a stop must end within seconds. All of
the client's network work happens in `run`; other threads only queue packets (publish, ack).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from edge.backoff import Backoff
from edge.config import MqttSettings
from edge.errors import EdgeError
from edge.mqtt_setup import aim, make_client
from edge.mqtt_tls import why as why_not_trusted
from edge.warnings_once import WarnOnce

log = logging.getLogger("edge.mqtt")

POLL_S = 0.25  # how late a stop may be noticed while nothing comes in
TAKEN_OVER = 0x8E
# A connection that broke so soon does not count as one that worked: the pauses go on growing.
SHORT_S, FLAPS = 5.0, 3


class BrokerError(EdgeError):
    """The broker cannot be used: absent, refused the login, or ended the connection."""


class MqttLink:
    """A connection for one purpose. `client_id` is fixed, so that the broker knows a session again.

    lasting: the broker keeps subscriptions and messages while we are away (QoS 1, `session_expiry_s`), and messages are
    acknowledged by `ack` only. `will` is (topic, payload), retained, published by the broker if we vanish.
    Callbacks run in the thread of `run`: `on_connected`, `on_message(paho message)`,
    `on_published(mid, reason code)`, `on_down`, and `on_poll` several times a second while there is a connection.
    """

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        *,
        lasting: bool = False,
        will: tuple[str, str] | None = None,
        on_connected: Callable[[], None] | None = None,
        on_message: Callable[[Any], None] | None = None,
        on_published: Callable[[int, int], None] | None = None,
        on_down: Callable[[], None] | None = None,
        on_poll: Callable[[], None] | None = None,
        quiet: bool = False,
    ) -> None:
        self._settings = settings
        self.client_id = client_id
        self._lasting = lasting
        self._will = will
        self._on_connected = on_connected
        self._on_message = on_message
        self._on_published = on_published
        self._on_down = on_down
        self._on_poll = on_poll
        self._warn = WarnOnce(log)
        self._quiet = quiet
        self._up = threading.Event()
        self._renewed = threading.Event()
        self._renew_why = ""
        self._subscribing: dict[int, list[str]] = {}
        self.refused_filters: list[str] = []
        self.subscribed = False  # the broker has answered to a subscription, once
        self.connections = 0  # how often the broker has accepted us
        self._up_since: float | None = None
        self._accepted = False  # by the broker, and paho has yet to send again what it kept
        self._refused = ""
        self._client = self._make_client()

    @property
    def place(self) -> str:
        """host:port"""
        return f"{self._settings.host}:{self._settings.port}"

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    @property
    def last_error(self) -> str:
        """Why the broker does not serve us, "" while it does."""
        return "" if self.connected else self._refused

    def wait_connected(self, timeout_s: float) -> bool:
        return self._up.wait(timeout_s)

    def run(self, stop: threading.Event) -> None:
        """Stay connected until `stop` is set, then disconnect properly (no last will)."""
        pause = Backoff(self._settings.reconnect_min_s, self._settings.reconnect_max_s)
        aim(self._client, self._settings, self._lasting)
        short_lived = 0
        while not stop.is_set():
            self._up_since = None
            if self._renewed.is_set():
                self._renewed.clear()
                self._client = self._make_client()
                aim(self._client, self._settings, self._lasting)
            reason = self._serve(stop)
            if stop.is_set():
                break
            lived_s = self._lived_s()
            if lived_s is not None and lived_s >= SHORT_S:
                short_lived = 0
                pause.reset()
            elif lived_s is not None:
                short_lived += 1
            self._down(reason, short_lived)
            stop.wait(pause.next_s())
        self._leave()

    def renew(self, why: str = "connected, but it does not acknowledge") -> None:
        """Begin anew with nothing queued: the connection is up, but what should happen on it does not."""
        self._renew_why = why
        self._renewed.set()

    def _serve(self, stop: threading.Event) -> str:
        """One connection, from its beginning to its end; why it ended."""
        client, self._accepted = self._client, False
        try:
            client.reconnect()
            answer_by = time.monotonic() + self._settings.connect_timeout_s
            while not stop.is_set() and client.loop(POLL_S) == 0:
                if self._accepted:
                    self._accepted = False
                    self._begin()
                if self._up_since is None and time.monotonic() > answer_by:
                    return "no answer"
                if self._renewed.is_set():
                    client.disconnect()
                    return self._renew_why
                if self._on_poll is not None:
                    self._guard(self._on_poll)
        except (OSError, ValueError) as error:
            return _why(error, self._settings.host)
        except Exception as error:  # paho on a packet that no broker should send
            log.exception("broker %s: connection given up", self.place)
            return repr(error)
        return self._refused or "connection lost"

    def _lived_s(self) -> float | None:
        """How long the connection that broke had lasted; None where there was none."""
        return None if self._up_since is None else time.monotonic() - self._up_since

    def subscribe(self, filters: list[str], qos: int = 1) -> None:
        """Call it from `on_connected`. What the broker refuses is told, and is in `refused_filters`."""
        _, mid = self._client.subscribe([(topic, qos) for topic in filters])
        self._subscribing[mid] = filters

    def unsubscribe(self, filters: list[str]) -> None:
        """Call it from `on_connected`: a lasting session remembers what an earlier run subscribed to."""
        self._client.unsubscribe(filters)

    def publish(
        self,
        topic: str,
        payload: str | bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        correlation: bytes | None = None,
    ) -> int:
        """Queue a message; its id (`mid`). Raises BrokerError where it cannot even be queued."""
        properties = None
        if correlation is not None and self._settings.version == "5":
            from paho.mqtt.packettypes import PacketTypes
            from paho.mqtt.properties import Properties

            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = correlation
        info = self._client.publish(topic, payload, qos, retain, properties)
        # NO_CONN (4) at QoS 1 means: kept by paho and sent when connected.
        if info.rc != 0 and not (info.rc == 4 and qos):
            raise BrokerError(f"{self.place}: not sent ({_rc_text(info.rc)})")
        return int(info.mid)

    def ack(self, message: Any) -> None:
        """Acknowledge a message of a lasting link. Any thread."""
        if message.qos:
            self._client.ack(message.mid, message.qos)

    def _make_client(self) -> Any:
        client = make_client(self._settings, self.client_id, self._lasting, self._will)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_disconnect = self._disconnected
        if self._on_message is not None:
            client.on_message = self._message
            if self._lasting:  # else paho acknowledges, which it does for messages that it took apart itself
                client.on_received = self._received
        if self._on_published is not None:
            client.on_publish = self._published
        return client

    def _connected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refused = f"refused: {reason}"
            return
        self._refused = ""
        self._subscribing.clear()
        self._up_since = time.monotonic()
        self._accepted = True

    def _begin(self) -> None:
        """After paho has sent again what the last connection left: what is newer must not overtake it."""
        self.connections += 1
        self._up.set()
        self._warn.recovered("down", "broker %s: connected as %s", self.place, self.client_id)
        log.debug("broker %s: connected as %s", self.place, self.client_id)
        if self._on_connected is not None:
            self._guard(self._on_connected)

    def _subscribed(self, client: Any, userdata: Any, mid: int, reasons: list[Any], properties: Any) -> None:
        filters = self._subscribing.pop(mid, [])
        self.subscribed = True
        refused = [topic for topic, reason in zip(filters, reasons, strict=False) if reason.is_failure]
        self.refused_filters = [*(f for f in self.refused_filters if f not in filters), *refused]
        for topic, reason in zip(filters, reasons, strict=False):
            if reason.is_failure:
                says = "broker %s: refuses the subscription to %s (%s); give this user the right to read it"
                self._warn.warn(f"subscribe {topic}", says, self.place, topic, reason)

    def _disconnected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._up.clear()
        self._accepted = False
        code = getattr(reason, "value", 0)
        if code == TAKEN_OVER:
            self._refused = self._same_name()
        elif flags.is_disconnect_packet_from_server and not self._refused:
            self._refused = f"disconnected by the broker: {reason}"

    def _same_name(self) -> str:
        return f"another client took over the name {self.client_id}; give each agent its own node.id"

    def _down(self, reason: str, short_lived: int) -> None:
        self._refused = reason
        self._up.clear()
        if not self._quiet:
            says = "broker %s: %s (client %s); trying again until it answers"
            self._warn.warn("down", says, self.place, reason, self.client_id)
            if short_lived == FLAPS:
                # Not every broker says why. Two clients of one name throw each other out for ever.
                self._warn.warn(
                    "flaps", "broker %s: lost again and again, perhaps %s", self.place, self._same_name()
                )
        if self._on_down is not None:
            self._guard(self._on_down)

    def _message(self, client: Any, userdata: Any, message: Any) -> None:
        self._received(message)

    def _received(self, message: Any) -> None:
        try:
            self._on_message(message)  # type: ignore[misc]  # set only where there is one
        except Exception:
            log.exception("a message's handler failed; the connection goes on")

    def _published(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        assert self._on_published is not None
        self._on_published(mid, int(getattr(reason, "value", 0)))

    def _guard(self, callback: Callable[[], None]) -> None:
        """A bug in a callback must not take the connection down with it."""
        try:
            callback()
        except Exception:
            log.exception("MQTT callback failed; the connection goes on")

    def _leave(self) -> None:
        """Flush what is queued, then DISCONNECT: the broker drops the last will."""
        client = self._client
        client.disconnect()
        deadline = time.monotonic() + 0.5
        while client.socket() is not None and time.monotonic() < deadline and client.loop(0.05) == 0:
            pass
        self._up.clear()


def _rc_text(rc: int) -> str:
    from paho.mqtt.client import error_string

    return error_string(rc)


def _why(error: Exception, host: str) -> str:
    import socket
    import ssl

    from paho.mqtt.client import WebsocketConnectionError

    if isinstance(error, ssl.SSLError):
        return why_not_trusted(error, host)
    if isinstance(error, WebsocketConnectionError):
        return f"no WebSocket there ({error}); see mqtt.transport and mqtt.ws_path"
    if isinstance(error, socket.gaierror):
        return f"host name not found ({error.strerror})"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, TimeoutError):
        return "no answer"
    return str(getattr(error, "strerror", None) or error)
