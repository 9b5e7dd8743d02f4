"""Results to the broker: QoS 1, each one done when its PUBACK came with a good reason code."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.delivery.sinks.base import SinkError, SinkWaiting
from edge.events import Message
from edge.mqtt_link import BrokerError, MqttLink
from edge.topics import Topics

CONNECT_S = 0.5  # how long opening waits for the connection: a stop must not wait longer
REFUSED_FOR_GOOD = frozenset(
    {0x90, 0x95, 0x99}
)  # topic name invalid, packet too large, payload format invalid
_REASONS = {
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x87: "not authorized: give this user the right to write below the agent's topics",
    0x90: "topic name invalid",
    0x95: "packet too large",
    0x97: "quota exceeded",
    0x99: "payload format invalid",
}


@dataclass
class _Flight:
    """A published message; `code` is None until its PUBACK came."""

    mid: int
    code: int | None = None


class MqttSink:
    """Publishes below `stream/<id>/`: each result on `result`, the newest one that is not historical on `last`.

    What was published when the connection broke stays with paho, which sends it again after the reconnect: a retry of
    the same result waits for that message instead of sending another. What is not acknowledged in time on a
    connection that is up goes out again on a new one.
    """

    kind = "mqtt"

    def __init__(
        self,
        link: MqttLink,
        topics: Topics,
        *,
        last: bool = True,
        ack_timeout_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = f"mqtt {link.place}"
        self._link, self._topics, self._last = link, topics, last
        self._ack_timeout_s, self._clock = ack_timeout_s, clock
        self._acked = threading.Condition()
        self._flights: dict[tuple[str, str], _Flight] = {}  # (message's key, leaf): bounded by the batch
        self._by_mid: dict[int, _Flight] = {}  # those not acknowledged
        self._sending = False
        self._early: dict[int, int] = {}

    def on_published(self, mid: int, code: int) -> None:
        """From the link's thread."""
        with self._acked:
            flight = self._by_mid.pop(mid, None)
            if flight is not None:
                flight.code = code
                if not self._by_mid:
                    self._acked.notify()
            elif self._sending:
                # The PUBACK overtook the return of publish(). (No lock is held around publish(): paho calls us
                # under a lock of its own.)
                self._early[mid] = code

    def open(self) -> None:
        if not self._link.wait_connected(CONNECT_S):
            raise SinkWaiting(self._link.last_error or "not connected")

    def write(self, results: Sequence[Message]) -> None:
        latest = (
            {r.stream: r.id for r in results if r.leaf == "result" and not r.historical} if self._last else {}
        )
        wanted: list[tuple[int, tuple[str, str]]] = []
        keep: set[tuple[str, str]] = set()
        for at, result in enumerate(results):
            leaves = [result.leaf]
            if result.leaf == "result" and latest.get(result.stream) == result.id:
                leaves.append("last")
            payload = ""
            for leaf in leaves:
                key = (result.key, leaf)
                keep.add(key)
                wanted.append((at, key))
                if key not in self._flights:
                    payload = payload or result.to_json()
                    self._send(key, self._topics.stream(result.stream, leaf), payload)
        with self._acked:
            # Those of results that the spool gave up meanwhile are of no interest any more.
            for key in [k for k in self._flights if k not in keep]:
                self._by_mid.pop(self._flights.pop(key).mid, None)
        self._wait()
        self._settle(len(results), wanted)

    def close(self) -> None:
        pass

    def _send(self, key: tuple[str, str], topic: str, payload: str) -> None:
        with self._acked:
            self._sending = True
        mid: int | None
        why: BrokerError | None = None
        try:
            mid = self._link.publish(topic, payload, qos=1, retain=key[1] == "last")
        except BrokerError as error:
            mid = None
            why = error
        with self._acked:
            code = None if mid is None else self._early.get(mid)
            self._sending = False
            self._early.clear()
            if mid is None:
                raise SinkError(str(why)) from why
            flight = self._flights[key] = _Flight(mid, code)
            if code is None:
                self._by_mid[mid] = flight

    def _wait(self) -> None:
        deadline = self._clock() + self._ack_timeout_s
        with self._acked:
            while self._by_mid:
                left = deadline - self._clock()
                if left <= 0 or not self._link.connected:
                    return
                self._acked.wait(min(left, 0.25))

    def _settle(self, count: int, wanted: list[tuple[int, tuple[str, str]]]) -> None:
        open_, refused, worst = set[int](), set[int](), 0
        codes = {key: self._flights[key].code for _, key in wanted}
        for key, code in codes.items():
            if code is not None:
                del self._flights[key]
        for at, key in wanted:
            code = codes[key]
            if code is None:
                open_.add(at)
            elif code >= 0x80:
                worst = code
                (refused if code in REFUSED_FOR_GOOD else open_).add(at)
        for at in open_:
            refused.discard(at)
        if not open_ and not refused:
            return
        done = [at for at in range(count) if at not in open_ and at not in refused]
        if not self._link.connected:
            raise SinkWaiting(self._link.last_error or "connection lost", done=done, refused=refused)
        if any(code is None for code in codes.values()):
            # Connected, and yet nothing comes back: not to be waited for again on this connection.
            self._forget()
            self._link.renew()
            says = f"no acknowledgement within {self._ack_timeout_s:g} s; connecting anew"
            raise SinkError(says, done=done, refused=refused)
        says = f"refused by the broker: {_REASONS.get(worst, 'reason')} (0x{worst:02x})"
        raise SinkError(says, done=done, refused=refused)

    def _forget(self) -> None:
        with self._acked:
            self._flights.clear()
            self._by_mid.clear()
