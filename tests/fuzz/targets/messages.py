"""Requests, results, and the files that results stand in."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from edge.bundle import signing
from edge.chain import Signer
from edge.chain_check import check
from edge.errors import ResultError
from edge.events import EventError, message_from_json
from edge.requests import Arguments, Registry, Verb
from edge.types import Result
from tests.fuzz.targets.base import Target


class _Everything(Arguments):
    """One argument of each kind."""

    text: str = ""
    number: float = 0.0
    count: int = 0
    flag: bool = False
    names: tuple[str, ...] = ()


def request(data: bytes) -> None:
    name, _, body = data.partition(b"\n")
    registry = Registry([Verb("do", "", lambda given: given.model_dump(), _Everything)], ("do",))
    answer = registry.answer(name.decode("utf-8", "replace"), body)
    assert answer["ok"] in (True, False)
    if not answer["ok"]:
        error: Any = answer["error"]
        assert error["code"] in ("bad_request", "bad_arguments", "not_allowed"), error
        json.dumps(answer, allow_nan=False)


def result(data: bytes) -> None:
    try:
        made = Result.from_json(data)
    except ResultError:
        return
    assert Result.from_json(made.to_json()).to_json() == made.to_json()


def message(data: bytes) -> None:
    """Anything on a results topic or in a results file: result, event or note of the chain."""
    try:
        made = message_from_json(data)
    except (ResultError, EventError) as error:
        assert str(error)
        return
    again = message_from_json(made.to_json())
    assert type(again) is type(made)
    assert again.to_json() == made.to_json()


def results_file(data: bytes) -> None:
    """`edge-agent verify` finds faults in any text, and ends."""
    lines = data.decode("utf-8", "replace").splitlines()
    report = check(lines, PUBLIC if len(lines) % 2 else None)
    assert all(1 <= fault.line <= len(lines) and fault.says for fault in report.faults)


PUBLIC = signing.public_key(bytes(range(32)))


@lru_cache(maxsize=1)
def _chain_corpus() -> list[bytes]:
    from tests.edge.agent.test_chain import Writer

    writer = Writer(every=2, signer=Signer(bytes(range(32))))
    writer.add("s1", 3)
    writer.chain.stop()
    again = Writer("b2", before=writer.chain.heads())
    again.add("s1", 2)
    return ["\n".join(lines).encode() for lines in (writer.lines, [*writer.lines, *again.lines], again.lines)]


def _message_corpus() -> list[bytes]:
    return [*_result_corpus(), *(line for text in _chain_corpus() for line in text.split(b"\n"))]


def _result_corpus() -> list[bytes]:
    from tests.edge.agent.helpers import result as make

    return [
        make().to_json().encode(),
        make(status="suspect", reason="residual", residual=1.5).to_json().encode(),
    ]


TARGETS: dict[str, Target] = {
    "request": Target(
        request,
        lambda: [b"do\n", b'do\n{"id":1,"text":"x","names":["a"]}', b'do\n{"count":1e3,"flag":null}', b"no\n[]"],
        ("edge.requests", "edge.sources"),
    ),
    "result": Target(result, _result_corpus, ("edge.types",)),
    "message": Target(message, _message_corpus, ("edge.types", "edge.events", "edge.chain")),
    "results-file": Target(results_file, _chain_corpus, ("edge.chain", "edge.chain_check"), 1 << 14),
}  # fmt: skip
