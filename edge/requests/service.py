"""Requests from the broker to the registry and answers back: one thread, a short queue, a rate.

A request is taken from a fresh session only (one that waited for an absent agent is of another time), never from a
retained message (it would be carried out at every connect). The answer goes to the request's MQTT 5 response topic with
its correlation data, else to `response/<verb>`.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge.clock import SYSTEM_CLOCK, Clock
from edge.config import RequestSettings
from edge.errors import EdgeError
from edge.names import is_name
from edge.quota import Bucket
from edge.requests.registry import Registry, RequestError, refusal
from edge.topics import Topics
from edge.types import rfc3339
from edge.warnings_once import WarnOnce

log = logging.getLogger("edge.requests")

RESPONSE_SCHEMA = "wavewall.response/1"
WAITING = 16  # requests that wait while one is worked on
MAX_TOPIC = 512
MAX_CORRELATION = 1024
POLL_S = 0.5

Publish = Callable[[str, str, bytes | None], object]


@dataclass(frozen=True)
class _Request:
    verb: str
    payload: bytes
    reply_to: str
    correlation: bytes | None


class RequestService:
    """`on_message` from the connection's thread: returns at once. `run` in a thread of its own."""

    def __init__(
        self,
        registry: Registry,
        settings: RequestSettings,
        topics: Topics,
        publish: Publish,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._registry, self._topics, self._publish, self._clock = registry, topics, publish, clock
        self._waiting: queue.Queue[_Request] = queue.Queue(WAITING)
        self._bucket = Bucket(settings.per_minute, settings.per_minute / 60.0, clock.monotonic)
        self._warn = WarnOnce(log)

    @property
    def filters(self) -> list[str]:
        return [self._topics.request("+")]

    def on_message(self, message: Any) -> None:
        """One message from paho. What is no request, or comes too often, is dropped: an answer costs, too."""
        if message.retain:
            self._warn.warn("retained", "a retained request was dropped: it would come back at every start")
            return
        if not self._bucket.take(1.0):
            self._warn.warn("often", "requests come too often, some are dropped (requests.per_minute)")
            return
        try:
            topic = str(message.topic)
        except UnicodeDecodeError:
            return
        verb = topic.removeprefix(self._topics.request(""))
        if not is_name(verb):
            return
        reply_to, correlation = self._reply(message, verb)
        request = _Request(verb, message.payload, reply_to, correlation)
        try:
            self._waiting.put_nowait(request)
        except queue.Full:
            self._tell(request, refusal(RequestError("busy", "too many requests wait; ask again later")))

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                request = self._waiting.get(timeout=POLL_S)
            except queue.Empty:
                continue
            self._tell(request, self._registry.answer(request.verb, request.payload))

    def _reply(self, message: Any, verb: str) -> tuple[str, bytes | None]:
        properties = getattr(message, "properties", None)
        wanted = getattr(properties, "ResponseTopic", None)
        correlation = getattr(properties, "CorrelationData", None)
        if not isinstance(correlation, bytes) or len(correlation) > MAX_CORRELATION:
            correlation = None
        if wanted is None:
            return self._topics.response(verb), correlation
        if may_answer_to(wanted, self._topics):
            return wanted, correlation
        says = "request %s: its response topic is no place for an answer; answered on response/%s"
        self._warn.warn("response topic", says, verb, verb)
        return self._topics.response(verb), correlation

    def _tell(self, request: _Request, answer: dict[str, object]) -> None:
        head = {
            "schema": RESPONSE_SCHEMA,
            "t": rfc3339(self._clock.utc()),
            "node": self._topics.node,
            "verb": request.verb,
        }
        try:
            payload = json.dumps({**head, **answer}, separators=(",", ":"), allow_nan=False)
            self._publish(request.reply_to, payload, request.correlation)
        except (EdgeError, ValueError, TypeError) as error:
            self._warn.warn("answer", "request %s: could not be answered: %s", request.verb, error)


def may_answer_to(topic: object, topics: Topics) -> bool:
    """Whether an answer may go there: the one who asks must not make the agent write into anyone's own topics.

    Not below our base but for `response/` of this node, not to the broker's own topics, no wildcards.
    """
    if not isinstance(topic, str) or not 0 < len(topic) <= MAX_TOPIC or not topic.isprintable():
        return False
    if topic.startswith("$") or "+" in topic or "#" in topic:
        return False
    return not (topic + "/").startswith(f"{topics.base}/") or topic.startswith(topics.response(""))
