"""What moves through the agent, in order: SampleBlock -> Window -> Scores -> Verdict -> Result.

All are frozen; arrays inside them are not copied, so whoever makes one gives the array away.
Times are seconds since the Unix epoch, UTC; units are in the names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, ClassVar, Final, Literal, cast

import numpy as np
import numpy.typing as npt

from .errors import ResultError

__all__ = [
    "RESULT_SCHEMA",
    "BoolArray",
    "FloatArray",
    "Result",
    "ResultWindow",
    "SampleBlock",
    "Scores",
    "Status",
    "Verdict",
    "Window",
    "parse_time",
    "rfc3339",
]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Status = Literal["ok", "suspect", "abstain"]

RESULT_SCHEMA: Final = "wavewall.result/1"
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """Consecutive samples of one stream, as a source delivers them.

    `first_index` counts samples at `rate_hz` since the source began to count; a gap is a jump in it.
    `epoch` changes whenever the source starts its count anew (a device reset, another file).
    `t0` is the UTC time of the first sample. `values` is float32 (n, channel) in `units`.
    """

    stream: str
    epoch: str
    first_index: int
    t0: float
    rate_hz: float
    channels: tuple[str, ...]
    units: tuple[str, ...]
    values: FloatArray
    end: bool = False
    crc_errors: int = 0
    lead_off: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """One window at the bundle's rate, in the bundle's input unit, before preprocessing.

    `values` float32 (n, channel); `valid` bool (n,), False where a sample is missing or padding.
    `first_index` counts samples at the bundle's rate. `missing` counts invalid samples without the padding,
    `padded` the padding alone, `lead_off` those of `missing` that the device took with an electrode off.
    A record that is shorter than the window is padded as many samples before as after (left = padded // 2);
    then `first_index` and `t0` are those of the first real sample.
    """

    stream: str
    epoch: str
    first_index: int
    t0: float
    rate_hz: float
    values: FloatArray
    valid: BoolArray
    missing: int = 0
    padded: int = 0
    crc_errors: int = 0
    lead_off: int = 0


@dataclass(frozen=True, slots=True)
class Scores:
    """What one run of the model gave for one window.

    `probabilities` float32 (k,); `probabilities_raw` the same from the path without the encode-decode;
    `reconstruction` (n, channel); `residual` is the root mean square, over the valid samples, of the
    reconstruction minus the model's input, in its unit; `disagreement` is the total variation, 0 to 1,
    between the two probability vectors. What the bundle does not offer, or nobody asked for, is None.
    `failed`: why the model did not judge the window (`failed`, `overload`); the probabilities are NaN then.
    """

    probabilities: FloatArray
    probabilities_raw: FloatArray | None = None
    reconstruction: FloatArray | None = None
    embedding: FloatArray | None = None
    features: FloatArray | None = None
    residual: float | None = None
    disagreement: float | None = None
    latency_ms: float = 0.0
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Scores weighed by the bundle's decision thresholds. `reason` is "" exactly when `status` is "ok"."""

    label: str
    score: float
    probabilities: dict[str, float]
    status: Status
    reason: str
    residual: float | None = None
    disagreement: float | None = None


def rfc3339(time_s: float) -> str:
    """UTC time in RFC 3339 with milliseconds: 2026-01-31T08:00:00.250Z."""
    millis = round(time_s * 1000.0)
    moment = datetime.fromtimestamp(millis // 1000, tz=timezone.utc)
    # isoformat, as %Y writes years before 1000 with too few digits
    return f"{moment.isoformat()[:19]}.{millis % 1000:03d}Z"


def parse_time(text: str) -> float:
    """Seconds since the epoch from an RFC 3339 text; a missing offset is refused. Raises ValueError."""
    # CPython 3.10 does not know the Z.
    moment = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no UTC offset")
    return moment.timestamp()


@dataclass(frozen=True, slots=True)
class ResultWindow:
    """The window that a result is about: its first sample's time, length, rate, missing, CRC errors."""

    t0: float
    n: int
    rate_hz: float
    missing: int
    crc_errors: int


@dataclass(frozen=True, slots=True)
class Result:
    """One published verdict (schema: edge/schemas/result.json). `t` is when it was reached, UTC seconds.

    Delivery is at least once: consumers drop what repeats an `id`. `seq` counts results by stream and boot.
    """

    leaf: ClassVar[str] = "result"

    id: str
    t: float
    boot_id: str
    seq: int
    stream: str
    label: str
    score: float
    probabilities: Mapping[str, float]
    status: Status
    reason: str
    model: str
    window: ResultWindow
    disagreement: float | None
    residual: float | None
    latency_ms: float
    historical: bool = False
    prev: str = ""  # digest of the result before it, where results form a chain (see chain.py)

    @property
    def key(self) -> str:
        """Names this message alone."""
        return self.id

    def to_dict(self) -> dict[str, Any]:
        """The JSON object as plain Python, in the order that is published, floats rounded for the wire."""
        return {
            "schema": RESULT_SCHEMA,
            "id": self.id,
            "t": rfc3339(self.t),
            "boot_id": self.boot_id,
            "seq": self.seq,
            "stream": self.stream,
            "label": self.label,
            "score": round(self.score, 6),
            "probabilities": {label: round(value, 6) for label, value in self.probabilities.items()},
            "status": self.status,
            "reason": self.reason,
            "model": self.model,
            "window": {
                "t0": rfc3339(self.window.t0),
                "n": self.window.n,
                "rate_hz": round(self.window.rate_hz, 6),
                "missing": self.window.missing,
                "crc_errors": self.window.crc_errors,
            },
            "disagreement": _rounded(self.disagreement, 6),
            "residual": _rounded(self.residual, 4),
            "latency_ms": round(self.latency_ms, 3),
            "historical": self.historical,
            **({"prev": self.prev} if self.prev else {}),
        }

    def to_json(self) -> str:
        """Compact JSON on one line."""
        return _COMPACT.encode(self.to_dict())

    @staticmethod
    def from_json(text: str | bytes) -> Result:
        """Parse what to_json wrote. Raises ResultError that names the field."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ResultError(f"result: not JSON ({error}); send one object per message") from error
        fields = _Fields(data, "")
        schema = fields.text("schema")
        if schema != RESULT_SCHEMA:
            message = f"result field 'schema' is {schema!r}; this version reads {RESULT_SCHEMA!r}"
            raise ResultError(message, field="schema")
        window = _Fields(fields.get("window"), "window.")
        status = fields.text("status")
        if status not in ("ok", "suspect", "abstain"):
            raise fields.wrong("status", f"is {status!r}; use ok, suspect or abstain")
        probabilities = _Fields(fields.get("probabilities"), "probabilities.")
        return Result(
            id=fields.text("id"),
            t=fields.time("t"),
            boot_id=fields.text("boot_id"),
            seq=fields.integer("seq"),
            stream=fields.text("stream"),
            label=fields.text("label"),
            score=fields.number("score"),
            probabilities={label: probabilities.number(label) for label in probabilities.data},
            status=cast("Status", status),
            reason=fields.text("reason"),
            model=fields.text("model"),
            window=ResultWindow(
                t0=window.time("t0"),
                n=window.integer("n"),
                rate_hz=window.number("rate_hz"),
                missing=window.integer("missing"),
                crc_errors=window.integer("crc_errors"),
            ),
            disagreement=fields.optional_number("disagreement"),
            residual=fields.optional_number("residual"),
            latency_ms=fields.number("latency_ms"),
            historical=fields.boolean("historical"),
            prev=fields.text("prev") if "prev" in fields.data else "",
        )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


class _Fields:
    """Typed access to a JSON object; unknown keys pass, as subscribers may be older than agents."""

    __slots__ = ("data", "prefix")

    def __init__(self, data: Any, prefix: str) -> None:
        if not isinstance(data, dict):
            name = prefix.rstrip(".") or "the message"
            message = f"result: {name} is not a JSON object; see edge/schemas/result.json"
            raise ResultError(message, field=name)
        self.data: dict[str, Any] = data
        self.prefix = prefix

    def get(self, key: str) -> Any:
        if key not in self.data:
            raise self.wrong(key, "is missing")
        return self.data[key]

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str):
            raise self.wrong(key, "is not a string")
        return value

    def number(self, key: str) -> float:
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.wrong(key, "is not a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.wrong(key, "is not a finite number")
        return number

    def optional_number(self, key: str) -> float | None:
        return None if self.get(key) is None else self.number(key)

    def integer(self, key: str) -> int:
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.wrong(key, "is not a whole number, zero or more")
        return value

    def boolean(self, key: str) -> bool:
        value = self.get(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "is not true or false")
        return value

    def time(self, key: str) -> float:
        text = self.text(key)
        try:
            return parse_time(text)
        except (ValueError, OverflowError) as error:
            raise self.wrong(key, f"is not an RFC 3339 time with an offset ({text[:40]!r})") from error

    def wrong(self, key: str, what: str) -> ResultError:
        name = f"{self.prefix}{key}"
        return ResultError(f"result field {name!r} {what}; see edge/schemas/result.json", field=name)
