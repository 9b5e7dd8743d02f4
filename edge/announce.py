"""The agent's own topics: state, info, health and each stream's availability, retained; and its events, which are not.

They are sent at QoS 0 and all of them again at every connect: so an old value can never arrive after a newer one,
which is what a resend from a client's queue would do.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping

from edge.mqtt_link import BrokerError, MqttLink
from edge.topics import STATE_ONLINE, STATE_STOPPED, Topics

log = logging.getLogger("edge.announce")

ONLINE, OFFLINE = "online", "offline"
# Streams' topics whose last word is kept for the next connect; a gateway that sees more in one outage forgets the
# oldest. Three topics each for 4,096 streams.
MAX_STREAM_TOPICS = 3 * 4096
# Events of the agent itself that wait for the connection: models and configurations change a few times a year.
MAX_EVENTS = 32
EVENT_SCHEMA = "wavewall.node-event/1"


class Announcer:
    """What is retained now. Setters from any thread; a value equal to the last one is not sent again."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._link: MqttLink | None = None
        self._lock = threading.Lock()
        self._fixed: dict[str, str] = {}
        self._streams: OrderedDict[str, str] = OrderedDict()
        self._events: deque[str] = deque(maxlen=MAX_EVENTS)
        self._confirmed = threading.Condition()
        self._confirmed_mids: set[int] = set()  # filled while stopping only
        self._stopping = False

    def attach(self, link: MqttLink) -> None:
        self._link = link

    def connected(self) -> None:
        """The link is up: tell everything."""
        with self._lock:
            everything = [*self._fixed.items(), *self._streams.items()]
        for topic, payload in everything:
            self._send(topic, payload)
        self._send_events()

    def online(self) -> None:
        """The agent takes samples."""
        with self._lock:
            self._fixed[self._topics.state] = STATE_ONLINE
        self._send(self._topics.state, STATE_ONLINE)

    def info(self, facts: Mapping[str, object]) -> None:
        self._set(self._topics.info, facts)

    def health(self, facts: Mapping[str, object]) -> None:
        self._set(self._topics.health, facts)

    def event(self, facts: Mapping[str, object]) -> None:
        """Something happened to the agent itself: told once, at QoS 1, now or at the next connect."""
        self._events.append(json.dumps({"schema": EVENT_SCHEMA, **facts}, separators=(",", ":"), allow_nan=False))
        self._send_events()

    def _send_events(self) -> None:
        link = self._link
        while link is not None and link.connected:
            try:
                payload = self._events.popleft()
            except IndexError:
                return
            try:
                link.publish(self._topics.event, payload, qos=1)
            except BrokerError as error:
                log.warning("event not told: %s", error)

    def availability(self, stream: str, online: bool) -> None:
        self.retained(self._topics.stream(stream, "availability"), ONLINE if online else OFFLINE)

    def attack_rate(self, stream: str, payload: str) -> None:
        self.retained(self._topics.stream(stream, "attack_rate"), payload)

    def retained(self, topic: str, payload: str) -> None:
        """A retained topic of one stream."""
        with self._lock:
            if self._streams.get(topic) == payload:
                return
            self._streams[topic] = payload
            self._streams.move_to_end(topic)
            if len(self._streams) > MAX_STREAM_TOPICS:
                self._streams.popitem(last=False)
        self._send(topic, payload)

    def stopped(self, timeout_s: float) -> bool:
        """Say `stopped` and wait for the broker to confirm it; False where it did not."""
        link = self._link
        with self._lock:
            self._fixed[self._topics.state] = STATE_STOPPED
        if link is None or not link.connected:
            return False
        self._stopping = True
        try:
            mid = link.publish(self._topics.state, STATE_STOPPED, qos=1, retain=True)
        except BrokerError as error:
            log.warning("could not say that the agent stopped: %s", error)
            return False
        with self._confirmed:
            return self._confirmed.wait_for(lambda: mid in self._confirmed_mids, timeout_s)

    def on_published(self, mid: int, code: int) -> None:
        """From the link's thread."""
        if self._stopping and code < 0x80:
            with self._confirmed:
                self._confirmed_mids.add(mid)
                self._confirmed.notify_all()

    def _set(self, topic: str, facts: Mapping[str, object]) -> None:
        payload = json.dumps(facts, separators=(",", ":"), allow_nan=False)
        with self._lock:
            self._fixed[topic] = payload
        self._send(topic, payload)

    def _send(self, topic: str, payload: str) -> None:
        link = self._link
        if link is None or not link.connected:
            return
        try:
            link.publish(topic, payload, retain=True)
        except BrokerError as error:
            log.debug("%s not told now, but at the next connect: %s", topic, error)
