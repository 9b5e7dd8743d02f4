"""A complete window as one message on `stream/<id>/windows`: a line of JSON, then the samples.

Samples are little-endian int16 where that loses nothing (whole numbers, as an ADC gives them), else float32; then, only
where a sample is not valid, a bit for each of them. No IO.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edge.bundle.manifest import MAX_CHANNELS, MAX_WINDOW_VALUES
from edge.errors import EdgeError
from edge.names import is_name
from edge.types import FloatArray, Window

SCHEMA: Final = "wavewall.window/1"
MAX_HEAD: Final = 4096
_TYPES: Final[dict[str, np.dtype[Any]]] = {"i2": np.dtype("<i2"), "f4": np.dtype("<f4")}
_MAX_TEXT: Final = 200
_MAX_COUNT: Final = 1 << 62


class WindowError(EdgeError):
    """Bytes that are no window."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A window with the number that its gateway gave it, and the start of the gateway (boot) that this is of."""

    window: Window
    seq: int
    boot_id: str


def encode(cut: Cut) -> bytes:
    """The message."""
    w = cut.window
    whole = w.values.astype("<i2") if _fits(w.values) else None
    body = whole if whole is not None else w.values.astype("<f4", copy=False)
    head = {
        "schema": SCHEMA,
        "stream": w.stream,
        "epoch": w.epoch,
        "first_index": w.first_index,
        "t0": w.t0,
        "rate_hz": w.rate_hz,
        "shape": list(w.values.shape),
        "type": "f4" if whole is None else "i2",
        "missing": w.missing,
        "padded": w.padded,
        "crc_errors": w.crc_errors,
        "lead_off": w.lead_off,
        "seq": cut.seq,
        "boot_id": cut.boot_id,
    }
    valid = b"" if w.valid.all() else np.packbits(w.valid).tobytes()
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + body.tobytes() + valid


def decode(data: bytes) -> Cut:
    """Raises WindowError, whatever the bytes are."""
    end = data.find(b"\n", 0, MAX_HEAD)
    if end < 0:
        raise WindowError("no line of JSON at the beginning; is this a window?")
    try:
        head = json.loads(data[:end])
    except (ValueError, RecursionError) as error:
        raise WindowError(f"its first line is not JSON ({error})") from error
    if not isinstance(head, dict) or head.get("schema") != SCHEMA:
        raise WindowError(f"its schema is not {SCHEMA}")
    n, channels = _shape(head.get("shape"))
    kind = _TYPES.get(str(head.get("type")))
    if kind is None:
        raise WindowError("its type is neither i2 nor f4")
    size, body = n * channels * kind.itemsize, data[end + 1 :]
    if len(body) not in (size, size + (n + 7) // 8):
        raise WindowError(f"has {len(body)} bytes of samples, {n} x {channels} of {kind} need {size}")
    values = np.frombuffer(body[:size], kind).reshape(n, channels).astype(np.float32)
    if not np.isfinite(values).all():
        raise WindowError("holds NaN or infinity")
    valid = np.ones(n, np.bool_)
    if len(body) > size:
        valid = np.unpackbits(np.frombuffer(body[size:], np.uint8), count=n).astype(np.bool_)
    window = Window(
        stream=_text(head, "stream", name=True),
        epoch=_text(head, "epoch"),
        first_index=_count(head, "first_index"),
        t0=_number(head, "t0", 253_402_300_799.0),
        rate_hz=_number(head, "rate_hz", 1e7),
        values=values,
        valid=valid,
        missing=_count(head, "missing", n),
        padded=_count(head, "padded", n),
        crc_errors=_count(head, "crc_errors"),
        lead_off=_count(head, "lead_off", n),
    )
    return Cut(window, _count(head, "seq"), _text(head, "boot_id"))


def _fits(values: FloatArray) -> bool:
    return bool((np.abs(values) <= 32767.0).all() and (values == np.rint(values)).all())


def _shape(value: object) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2:
        n, channels = value
        whole = type(n) is int and type(channels) is int
        if whole and n >= 1 and 1 <= channels <= MAX_CHANNELS and n * channels <= MAX_WINDOW_VALUES:
            return n, channels
    raise WindowError("its shape is not [samples, channels]")


def _text(head: dict[str, Any], key: str, *, name: bool = False) -> str:
    value = head.get(key)
    if not isinstance(value, str) or len(value) > _MAX_TEXT or (name and not is_name(value)):
        raise WindowError(f"{key} is not a {'name' if name else 'text'}")
    return value


def _count(head: dict[str, Any], key: str, most: int = _MAX_COUNT) -> int:
    value = head.get(key)
    if type(value) is not int or not 0 <= value <= most:
        raise WindowError(f"{key} is not a whole number from 0 to {most}")
    return value


def _number(head: dict[str, Any], key: str, most: float) -> float:
    value = head.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:  # NaN is neither
        raise WindowError(f"{key} is not a number from 0 to {most:g}")
    return float(value)
