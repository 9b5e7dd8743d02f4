"""Sample messages in SenML JSON (RFC 8428): a pack of records, each one value of one channel at one time.

    [{"bn":"urn:dev:mac:0024befffe804ff1:", "bt":1769846400, "bu":"mV", "n":"ecg", "v":0.51},
     {"n":"ecg", "t":0.00333333, "v":0.52}, ...]

The channel is the last part of the name, after a colon, slash or dot. SenML has no sampling rate: it is taken from the
times, so a pack holds at least two of them, and times need six digits after the point. A value at a time where
another channel has none, or a step of several periods, leaves missing samples. SenML has no end of a record
either: a record {"n":"end","vb":true} says it. Records with text or data values are ignored.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edge.sources.base import MAX_CHANNELS, MAX_RATE_HZ, PayloadError
from edge.sources.samples import ParsedSamples, number
from edge.sources.units import split_key

MAX_VERSION = 10
MAX_SPREAD = 4  # a pack that would be stretched to more than this times its own values is no regular signal
RELATIVE_BELOW = 2.0**28  # RFC 8428, 4.5.3: smaller times are relative to now
_NEAR = 0.002  # two rates this close are the same rate seen through rounded times
_FAR = 0.02  # however badly times are rounded
_KNOWN_MUST = frozenset[str]()


def parse(records: Any, current_rate_hz: float | None = None) -> ParsedSamples:
    """Samples from a decoded JSON array. `current_rate_hz` is the stream's rate so far: a rate seen through rounded
    times that may as well be it is taken to be it. Raises PayloadError that names record and field.
    """
    if not isinstance(records, list) or not records:
        raise PayloadError("wrong_type", "not a SenML pack: send an array of records")
    series, end = _collect(records)
    if not series:
        if end:
            raise PayloadError("empty", "end without samples: put the end record into the last pack")
        raise PayloadError("empty", "no record has a number (v)")
    every = np.unique(np.concatenate([np.asarray(times, np.float64) for _, times, _ in series.values()]))
    if every.size < 2:
        raise PayloadError("bad_rate", "a pack needs two samples or more: its rate is taken from their times")
    rate_hz = _rate(every, current_rate_hz)
    start = float(every[0])
    length = round((float(every[-1]) - start) * rate_hz) + 1
    if length > MAX_SPREAD * every.size:
        raise PayloadError(
            "bad_rate", f"times are not regular: {every.size} of them span {length} periods", field="t"
        )
    values = np.full((length, len(series)), np.nan, np.float32)
    for at, (_, times, numbers) in enumerate(series.values()):
        index = np.rint((np.asarray(times, np.float64) - start) * rate_hz).astype(np.int64)
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and so a missing sample
            values[np.clip(index, 0, length - 1), at] = np.asarray(numbers, np.float32)
    channels, units = zip(*(_channel(name, unit) for name, (unit, _, _) in series.items()), strict=True)
    t0 = start if start >= RELATIVE_BELOW else None
    return ParsedSamples(t0, rate_hz, channels, units, values, end)


def _collect(records: list[Any]) -> tuple[dict[str, tuple[str, list[float], list[float]]], bool]:
    """Resolve base fields (RFC 8428, 4.6): name -> (unit, times, values), and whether the pack says the end."""
    base_name, base_unit, base_time, base_value = "", "", 0.0, 0.0
    series: dict[str, tuple[str, list[float], list[float]]] = {}
    end = False
    for at, record in enumerate(records):
        where = f"[{at}]"
        if not isinstance(record, dict):
            raise PayloadError("wrong_type", f"record {where} is not an object", field=where)
        for key in record:
            if key.endswith("_") and key not in _KNOWN_MUST:
                raise PayloadError(
                    "senml", f"record {where} has {key!r}, which must be understood and is not", field=key
                )
        version = record.get("bver", MAX_VERSION)
        if not isinstance(version, int) or version > MAX_VERSION:
            raise PayloadError(
                "senml", f"record {where}: bver {version!r} is newer than {MAX_VERSION}", field="bver"
            )
        base_name = _text(record, "bn", base_name, where)
        base_unit = _text(record, "bu", base_unit, where)
        base_time = number(record["bt"], f"{where}.bt") if "bt" in record else base_time
        base_value = number(record["bv"], f"{where}.bv") if "bv" in record else base_value
        name = base_name + _text(record, "n", "", where)
        if record.get("vb") is True and _last_part(name) == "end":
            end = True
            continue
        if "v" not in record:
            continue
        unit = _text(record, "u", base_unit, where)
        when = base_time + (number(record["t"], f"{where}.t") if "t" in record else 0.0)
        if not math.isfinite(when):
            raise PayloadError("not_finite", f"{where}: bt and t add up to no finite number", field="t")
        value = base_value + number(record["v"], f"{where}.v")
        entry = series.get(name)
        if entry is None:
            if not _last_part(name):
                raise PayloadError("missing_field", f"record {where} has no name", field="n")
            if len(series) == MAX_CHANNELS:
                raise PayloadError("bad_channels", f"more than {MAX_CHANNELS} names in a pack", field="n")
            entry = series[name] = (unit, [], [])
        elif entry[0] != unit:
            raise PayloadError(
                "bad_unit", f"record {where}: unit of {name!r} changes within the pack", field="u"
            )
        entry[1].append(when)
        entry[2].append(value)
    return series, end


def _text(record: dict[str, Any], key: str, default: str, where: str) -> str:
    value = record.get(key, default)
    if not isinstance(value, str) or len(value) > 256:
        raise PayloadError("wrong_type", f"record {where}: {key} is not a short text", field=key)
    return value


def _last_part(name: str) -> str:
    for separator in ":/.":
        name = name.rpartition(separator)[2]
    return name


def _channel(name: str, unit: str) -> tuple[str, str]:
    part = _last_part(name)
    return (part, unit) if unit else split_key(part)


def _rate(times: np.ndarray[Any, np.dtype[np.float64]], current_hz: float | None) -> float:
    """Rate of a regular series with holes, its times rounded: the usual step says how many periods the span has."""
    steps = np.diff(times)
    middle = float(np.median(steps))
    if not middle > 1.0 / MAX_RATE_HZ:
        raise PayloadError(
            "bad_rate", f"times t are {middle:g} s apart; at least {1 / MAX_RATE_HZ:g} s", field="t"
        )
    usual = steps[(steps > 0.5 * middle) & (steps < 1.5 * middle)]
    if not usual.size:
        raise PayloadError("bad_rate", "times t are not regular: no two steps are alike", field="t")
    period, span = float(usual.mean()), float(times[-1] - times[0])
    hz = round(span / period) / span
    # The first and the last time may each be off by what the steps are off.
    tolerance = min(float(np.abs(usual - period).max()) / span + 1e-6, _FAR)
    if current_hz and abs(current_hz - hz) <= max(tolerance, _NEAR) * hz:
        return current_hz
    for unit in (100.0, 50.0, 10.0, 5.0, 1.0, 0.1):  # the roundest rate that the times allow
        candidate = round(hz / unit) * unit
        if abs(candidate - hz) <= tolerance * hz:
            return candidate
    return float(f"{hz:.5g}")
