"""What people act on: an Event says that something began, goes on or is over on one stream, over many windows.

Each event has one stable `id`; its messages count up in `seq` (new, updates, end). Delivery is at least once:
consumers drop what repeats an `id` and `seq`. Times are signal time, not the time at which something was said.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, cast, get_args

from edge.chain import CHAIN_SCHEMA, ChainNote
from edge.errors import EventError, ResultError
from edge.types import Result, parse_time, rfc3339

__all__ = ["EVENT_SCHEMA", "Event", "EventKind", "EventType", "Message", "message_from_json"]

EVENT_SCHEMA: Final = "wavewall.event/1"
EventType = Literal["new", "update", "end"]
EventKind = Literal["label", "tamper", "attack_rate"]
EndReason = Literal["", "over", "silent", "clock", "stream_end", "stopped", "forgotten"]


@dataclass(frozen=True, slots=True)
class Event:
    """One message about an event (schema: edge/schemas/event.json).

    `start` and `end` are UTC seconds of the signal: the first sample of the first window that supports the event and
    the last sample, so far, of the last one. `label` and `peak_score` are None unless `kind` is "label". `evidence`
    holds ids of supporting windows (results), the newest MAX_EVIDENCE of `windows`. `measures` are the peaks of what
    raised a tamper event, or the share that raised an attack rate; None where a measure was no number.
    """

    leaf: ClassVar[str] = "event"

    id: str
    seq: int
    type: EventType
    kind: EventKind
    t: float
    boot_id: str
    stream: str
    model: str
    label: str | None
    start: float
    end: float
    peak_score: float | None
    windows: int
    evidence: tuple[str, ...]
    reason: EndReason = ""
    measures: Mapping[str, float | None] = field(default_factory=dict)
    historical: bool = False

    @property
    def key(self) -> str:
        """Names this message alone; `id` names all messages of the event."""
        return f"{self.id}.{self.seq}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON object as plain Python, in the order that is published."""
        return {
            "schema": EVENT_SCHEMA,
            "id": self.id,
            "seq": self.seq,
            "type": self.type,
            "kind": self.kind,
            "t": rfc3339(self.t),
            "boot_id": self.boot_id,
            "stream": self.stream,
            "model": self.model,
            "label": self.label,
            "start": rfc3339(self.start),
            "end": rfc3339(self.end),
            "peak_score": None if self.peak_score is None else round(self.peak_score, 6),
            "windows": self.windows,
            "evidence": list(self.evidence),
            "reason": self.reason,
            "measures": {k: None if v is None else round(v, 6) for k, v in self.measures.items()},
            "historical": self.historical,
        }

    def to_json(self) -> str:
        """Compact JSON on one line."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @staticmethod
    def from_json(text: str | bytes) -> Event:
        """Parse what to_json wrote; unknown keys pass. Raises EventError that names the field."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise EventError(f"event: not JSON ({error}); send one object per message") from error
        if not isinstance(data, dict) or data.get("schema") != EVENT_SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else type(data).__name__
            raise EventError(
                f"event field 'schema' is {found!r}; this version reads {EVENT_SCHEMA!r}", field="schema"
            )
        texts = {key: _text(data, key) for key in ("id", "boot_id", "stream", "model")}
        measures = data.get("measures")
        if not isinstance(measures, dict):
            raise _wrong("measures", "is not an object")
        evidence = data.get("evidence")
        if not isinstance(evidence, list) or not all(isinstance(item, str) for item in evidence):
            raise _wrong("evidence", "is not a list of window ids")
        return Event(
            seq=_count(data, "seq"),
            type=cast("EventType", _choice(data, "type", get_args(EventType))),
            kind=cast("EventKind", _choice(data, "kind", get_args(EventKind))),
            t=_time(data, "t"),
            label=None if data.get("label") is None else _text(data, "label"),
            start=_time(data, "start"),
            end=_time(data, "end"),
            peak_score=_number(data.get("peak_score"), "peak_score"),
            windows=_count(data, "windows"),
            evidence=tuple(evidence),
            reason=cast("EndReason", _choice(data, "reason", get_args(EndReason))),
            measures={str(key): _number(value, f"measures.{key}") for key, value in measures.items()},
            historical=data.get("historical") is True,
            **texts,
        )


Message = Result | Event | ChainNote


def message_from_json(text: str | bytes) -> Message:
    """A result, an event or a note of the chain, told apart by its schema. Raises ResultError or EventError."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ResultError(f"message: not JSON ({error}); send one object per message") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema == CHAIN_SCHEMA:
        return ChainNote.from_json(text)
    return Event.from_json(text) if schema == EVENT_SCHEMA else Result.from_json(text)


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise _wrong(key, "is not a string")
    return value


def _choice(data: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str:
    value = _text(data, key)
    if value not in known:
        raise _wrong(key, f"is {value[:40]!r}; use one of {', '.join(repr(k) for k in known)}")
    return value


def _count(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(key, "is not a whole number, zero or more")
    return value


def _number(value: Any, key: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
        raise _wrong(key, "is neither a finite number nor null")
    if not math.isfinite(value):
        raise _wrong(key, "is neither a finite number nor null")
    return float(value)


def _time(data: Mapping[str, Any], key: str) -> float:
    text = _text(data, key)
    try:
        return parse_time(text)
    except (ValueError, OverflowError) as error:
        raise _wrong(key, f"is not an RFC 3339 time with an offset ({text[:40]!r})") from error


def _wrong(key: str, what: str) -> EventError:
    return EventError(f"event field {key!r} {what}; see edge/schemas/event.json", field=key)
