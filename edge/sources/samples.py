"""What a sample message holds, whatever its format, and the checks that all formats share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.sources.base import MAX_RATE_HZ, PayloadError
from edge.types import FloatArray, parse_time


@dataclass(frozen=True, slots=True)
class ParsedSamples:
    """One message's samples. `t0` is the first sample's time, Unix seconds, None where the sender has no clock;
    `epoch` names the sender's count where it says so; `values` float32 (n, channel), NaN where one is missing.
    """

    t0: float | None
    rate_hz: float
    channels: tuple[str, ...]
    units: tuple[str, ...]
    values: FloatArray
    end: bool = False
    epoch: str | None = None


def number(value: Any, field: str) -> float:
    """A finite JSON number. Raises PayloadError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PayloadError("wrong_type", f"{field} is {_kind(value)}, not a number", field=field)
    try:
        as_float = float(value)
    except OverflowError:
        as_float = math.inf
    if not math.isfinite(as_float):
        raise PayloadError("not_finite", f"{field} is not a finite number", field=field)
    return as_float


def rate(value: Any, field: str = "rate_hz") -> float:
    """A sampling rate in Hz. Raises PayloadError."""
    hz = number(value, field)
    if not 0 < hz <= MAX_RATE_HZ:
        raise PayloadError(
            "bad_rate", f"{field} is {hz:g}; use Hz, above 0 and at most {MAX_RATE_HZ:g}", field=field
        )
    return hz


def unix_time(value: Any, field: str) -> float:
    """Unix seconds, or an RFC 3339 text with an offset. Raises PayloadError."""
    if isinstance(value, str):
        try:
            return parse_time(value)
        except (ValueError, OverflowError) as error:
            raise PayloadError(
                "wrong_type", f"{field} is not an RFC 3339 time with an offset", field=field
            ) from error
    seconds = number(value, field)
    if not 0 <= seconds < 1e11:  # the year 5138; milliseconds since 1970 are 1.8e12 now
        says = (
            f"{field} is {seconds:g}; use seconds since 1970, or since the device's start, not milliseconds"
        )
        raise PayloadError("bad_time", says, field=field)
    return seconds


def column(value: Any, field: str) -> FloatArray:
    """A list of numbers as float32 (n,); null is a missing sample (NaN). Raises PayloadError."""
    if not isinstance(value, list):
        raise PayloadError("wrong_type", f"{field} is {_kind(value)}, not an array of numbers", field=field)
    if not value:
        return np.empty(0, np.float32)
    try:
        raw = np.asarray(value)
        # numpy alone would take "12" for 12; bool hides among numbers and shows only by itself.
        if raw.dtype.kind in "iuf" and raw.ndim == 1:
            with np.errstate(over="ignore"):
                return raw.astype(np.float32)
    except (ValueError, OverflowError):
        pass  # ragged, or a number beyond 64 bits
    return _slow_column(value, field)


def _slow_column(value: list[Any], field: str) -> FloatArray:
    out = np.empty(len(value), np.float32)
    for at, item in enumerate(value):
        out[at] = math.nan if item is None else number(item, f"{field}[{at}]")
    return out


def _kind(value: Any) -> str:
    names = {str: "a string", bool: "true or false", list: "an array", dict: "an object", type(None): "null"}
    return names.get(type(value), type(value).__name__)
