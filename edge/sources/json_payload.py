"""Sample messages in compact JSON: {"t0": 1769846400.25, "rate_hz": 300, "ch": {"ecg_uv": [1, 2, 3]}, "end": true}

`t0` (Unix seconds of the first sample, or an RFC 3339 text) may be left out by a sender without a clock, and
then lost messages cannot be seen. `end` closes the record. `epoch` (text or number) may name the sender's count,
e.g. a boot counter. Keys not listed here are ignored, so that senders may add their own.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import numpy as np

from edge.sources.base import MAX_CHANNELS, PayloadError
from edge.sources.samples import ParsedSamples, column, rate, unix_time
from edge.sources.units import split_key

MAX_KEY = 64
MAX_EPOCH = 64
# A sample message needs 3 levels, a request's arguments perhaps 5. (Up to twice as many may pass.)
MAX_DEPTH = 16
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
# Python before 3.10.7 reads a number of a million digits, for minutes.
_MANY_DIGITS = None if hasattr(sys, "set_int_max_str_digits") else re.compile(rb"[0-9]{4300}")


def decode(payload: bytes) -> Any:
    """Any JSON value. Raises PayloadError("not_json")."""
    if payload.count(b"[") + payload.count(b"{") > MAX_DEPTH and _too_deep(payload):
        raise PayloadError("not_json", "not JSON that is taken: nested too deeply")
    if _MANY_DIGITS is not None and _MANY_DIGITS.search(payload):
        raise PayloadError("not_json", "not JSON that is taken: a number has too many digits")
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        says = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise PayloadError("not_json", f"not JSON: {says}"[:200]) from error


def _too_deep(payload: bytes) -> bool:
    """Whether brackets are left after the innermost pairs were taken away so often. Linear, whatever the payload."""
    for text in (payload, _TEXT.sub(b"", payload)):  # brackets within texts do not count
        rest = text.translate(None, _NOT_BRACKETS)
        for _ in range(MAX_DEPTH):
            rest = rest.replace(b"[]", b"").replace(b"{}", b"")
        if not rest:
            return False
    return True


def parse(message: Any, known: tuple[str, ...] = ()) -> ParsedSamples:
    """Samples from a decoded JSON object. A key that is one of the `known` channels has no unit in it.

    Raises PayloadError that names the field.
    """
    if not isinstance(message, dict):
        raise PayloadError("wrong_type", 'not an object; send {"t0":...,"rate_hz":...,"ch":{"ecg_uv":[...]}}')
    if "rate_hz" not in message:
        raise PayloadError("missing_field", "rate_hz is missing", field="rate_hz")
    rate_hz = rate(message["rate_hz"])
    t0 = message.get("t0")
    start = None if t0 is None else unix_time(t0, "t0")
    end = message.get("end", False)
    if not isinstance(end, bool):
        raise PayloadError("wrong_type", "end is not true or false", field="end")
    table = message.get("ch")
    if not isinstance(table, dict):
        raise PayloadError(
            "missing_field" if table is None else "wrong_type", "ch is not an object", field="ch"
        )
    if not 1 <= len(table) <= MAX_CHANNELS:
        raise PayloadError(
            "bad_channels", f"ch has {len(table)} channels; use 1 to {MAX_CHANNELS}", field="ch"
        )
    names, units, columns = [], [], []
    for key, samples in table.items():
        if len(key) > MAX_KEY:
            raise PayloadError("bad_channels", f"a key of ch is longer than {MAX_KEY} characters", field="ch")
        name, unit = (key, "") if key in known else split_key(key)
        names.append(name)
        units.append(unit)
        columns.append(column(samples, f"ch.{key}"))
    lengths = {len(samples) for samples in columns}
    if len(lengths) > 1:
        raise PayloadError("bad_channels", f"channels differ in length: {sorted(lengths)}", field="ch")
    if lengths == {0} and not end:
        raise PayloadError("empty", "ch holds no samples", field="ch")
    values = columns[0][:, None] if len(columns) == 1 else np.stack(columns, axis=1)
    return ParsedSamples(
        start, rate_hz, tuple(names), tuple(units), values, end, _epoch(message.get("epoch"))
    )


def _epoch(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)) or len(str(value)) > MAX_EPOCH:
        raise PayloadError(
            "wrong_type", f"epoch is not a text of at most {MAX_EPOCH} characters", field="epoch"
        )
    return str(value)
