"""Requests without a broker: what is answered, what is refused, and where an answer may go."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from edge.config import RequestSettings
from edge.errors import EdgeError
from edge.requests import Arguments, Registry, Verb
from edge.requests.registry import MAX_REQUEST_BYTES
from edge.requests.service import WAITING, RequestService, may_answer_to
from edge.topics import Topics

pytestmark = pytest.mark.security

TOPICS = Topics("wavewall", "gw1")


class Sum(Arguments):
    a: int
    b: int = 0


def fails(_: object) -> dict[str, object]:
    raise EdgeError("the disk is full; free some space")


def breaks(_: object) -> dict[str, object]:
    raise KeyError("secret detail")


@pytest.fixture
def registry() -> Registry:
    verbs = [
        Verb("sum", "Adds.", lambda s: {"sum": s.a + s.b}, Sum),
        Verb("fails", "", fails),
        Verb("breaks", "", breaks),
        Verb("hidden", "", lambda _: {}),
    ]
    return Registry(verbs, allowed=("sum", "fails", "breaks"))


def test_an_answer_carries_id_and_result(registry: Registry):
    answer = registry.answer("sum", b'{"id": "q1", "a": 2, "b": 3}')
    assert answer == {"id": "q1", "ok": True, "result": {"sum": 5}}
    assert registry.answer("sum", b'{"a": 2}')["id"] is None


@pytest.mark.parametrize(
    ("name", "payload", "code", "field"),
    [
        ("sum", b"", "bad_arguments", "a"),
        ("sum", b'{"a": "2"}', "bad_arguments", "a"),
        ("sum", b'{"a": true}', "bad_arguments", "a"),
        ("sum", b'{"a": 1, "c": 1}', "bad_arguments", "c"),
        ("sum", b"[1]", "bad_request", ""),
        ("sum", b"{", "bad_request", ""),
        ("sum", b"\xff{}", "bad_request", ""),
        ("sum", b'{"a":' + b"1" * MAX_REQUEST_BYTES + b"}", "bad_request", ""),
        ("sum", b'{"id": {"a": 1}, "a": 1}', "bad_request", "id"),
        ("sum", b'{"id": "%s", "a": 1}' % (b"x" * 65), "bad_request", "id"),
        ("hidden", b"", "not_allowed", ""),
        ("nothing", b"", "not_allowed", ""),
        ("fails", b"", "failed", ""),
        ("breaks", b"", "internal", ""),
    ],
)
def test_what_is_refused_says_why(registry: Registry, name: str, payload: bytes, code: str, field: str):
    answer = registry.answer(name, payload)
    error: Any = answer["error"]
    assert answer["ok"] is False
    assert (error["code"], error["field"]) == (code, field)
    assert error["message"]
    assert "secret" not in json.dumps(answer)


@pytest.mark.parametrize(
    ("topic", "may"),
    [
        ("wavewall/gw1/response/ping", True),
        ("reply/client-7", True),
        ("wavewall2/x", True),
        ("wavewall/gw1/state", False),
        ("wavewall/gw1", False),
        ("wavewall", False),
        ("wavewall/gw2/response/ping", False),
        ("wavewall/gw1/stream/s1/samples", False),
        ("$SYS/x", False),
        ("a/+/b", False),
        ("a/#", False),
        ("", False),
        ("a\nb", False),
        ("x" * 600, False),
    ],
)
def test_where_an_answer_may_go(topic: str, may: bool):
    assert may_answer_to(topic, TOPICS) is may


@dataclass
class Message:
    topic: str = "wavewall/gw1/request/sum"
    payload: bytes = b'{"a": 1}'
    retain: bool = False
    properties: Any = field(default_factory=SimpleNamespace)


def served(registry: Registry, *messages: Message, per_minute: int = 600) -> list[tuple[str, dict[str, Any]]]:
    """What is published for these messages, all of them taken before the first one is worked on."""
    out: list[tuple[str, dict[str, Any]]] = []
    settings = RequestSettings(enabled=True, per_minute=per_minute)
    service = RequestService(
        registry, settings, TOPICS, lambda topic, payload, _: out.append((topic, json.loads(payload)))
    )
    for message in messages:
        service.on_message(message)
    stop = SimpleNamespace(is_set=service._waiting.empty)
    service.run(stop)  # type: ignore[arg-type]
    return out


def test_a_retained_request_is_never_carried_out(registry: Registry):
    assert served(registry, Message(retain=True)) == []


def test_a_response_topic_among_our_own_is_not_used(registry: Registry):
    wanted = SimpleNamespace(ResponseTopic="wavewall/gw1/state")
    (topic, answer), *_ = served(registry, Message(properties=wanted))
    assert topic == "wavewall/gw1/response/sum"
    assert answer["ok"]


def test_the_queue_is_short_and_says_busy(registry: Registry):
    answers = served(registry, *(Message() for _ in range(WAITING + 3)))
    assert [answer["ok"] for _, answer in answers].count(False) == 3
    assert {answer["error"]["code"] for _, answer in answers if not answer["ok"]} == {"busy"}


def test_too_many_a_minute_are_dropped(registry: Registry):
    assert len(served(registry, *(Message() for _ in range(10)), per_minute=4)) == 4
