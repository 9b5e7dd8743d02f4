"""Parts that payloads are made of: checked numbers, short texts, decimals. PROTOCOL.md sections 1 and 2."""

from __future__ import annotations

import math
import re
import struct

from firmware_bridge.errors import CodecError

NAME = re.compile(r"[A-Za-z0-9_-]+")
PRINTABLE = re.compile(r"[ -~]*")
DECIMAL = struct.Struct("<ib")
_MAX_EXPONENT = 30


def malformed(detail: str) -> CodecError:
    return CodecError("malformed", detail)


def check(value: int, low: int, high: int, what: str) -> int:
    if not low <= value <= high:
        raise malformed(f"{what} is {value}, must be {low} to {high}")
    return value


class Reader:
    """Takes fields off a payload; running out is a CodecError that names the field."""

    def __init__(self, payload: bytes, at: int, what: str) -> None:
        self._payload, self._at, self._what = payload, at, what

    def take(self, size: int, field: str) -> bytes:
        end = self._at + size
        if end > len(self._payload):
            raise malformed(f"{self._what} ends inside {field}")
        part = self._payload[self._at : end]
        self._at = end
        return part

    def short(self, field: str) -> bytes:
        """A u8 length and that many bytes."""
        return self.take(self.take(1, field)[0], field)


def head(layout: struct.Struct, payload: bytes, what: str) -> tuple[int, ...]:
    if len(payload) < layout.size:
        raise malformed(f"{what} has {len(payload)} bytes of payload, needs {layout.size}")
    return layout.unpack_from(payload)


def read_text(raw: bytes, low: int, high: int, pattern: re.Pattern[str], what: str) -> str:
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise malformed(f"{what} is not ASCII: {raw!r}") from None
    check(len(text), low, high, f"length of {what}")
    if not pattern.fullmatch(text):
        raise malformed(f"{what} {text!r} has characters that are not allowed")
    return text


def put_text(text: str, low: int, high: int, pattern: re.Pattern[str], what: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    read_text(raw, low, high, pattern, what)
    return bytes([len(raw)]) + raw


def put_utf8(text: str, cap: int) -> bytes:
    """Cut at ``cap`` bytes, never inside a character."""
    raw = text.encode("utf-8", "replace")[:cap].decode("utf-8", "ignore").encode()
    return bytes([len(raw)]) + raw


def decimal(value: float) -> tuple[int, int]:
    """``value`` as (mantissa, exponent) with nine significant digits."""
    if not math.isfinite(value):
        raise malformed(f"{value} cannot be a scale or offset")
    digits, exponent = f"{value:.8e}".split("e")
    mantissa, power = int(digits.replace(".", "")), int(exponent) - 8
    if mantissa == 0:
        return 0, 0
    while mantissa % 10 == 0:
        mantissa, power = mantissa // 10, power + 1
    check(power, -_MAX_EXPONENT, _MAX_EXPONENT, f"decimal exponent of {value}")
    return mantissa, power


def read_decimal(raw: bytes, what: str) -> float:
    mantissa, exponent = DECIMAL.unpack(raw)
    check(exponent, -_MAX_EXPONENT, _MAX_EXPONENT, f"exponent of {what}")
    return float(f"{mantissa}e{exponent}")  # the text form is the one that rounds correctly
