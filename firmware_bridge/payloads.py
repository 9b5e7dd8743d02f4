"""The payload of each message type, to bytes and back. PROTOCOL.md sections 2 and 3.

Writers and readers apply the same caps, so a message that was written can be read.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from firmware_bridge import messages as m
from firmware_bridge import packing
from firmware_bridge.errors import CodecError

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PRINTABLE = re.compile(r"[ -~]*")

_HELLO = struct.Struct("<IIHBHB")
_SAMPLES = struct.Struct("<IIBBBH")
_STATUS = struct.Struct("<IIIHHBB")
_LOG = struct.Struct("<IB")
_ACK = struct.Struct("<HBBI")
_COMMAND = struct.Struct("<HBB")
_VERDICT = struct.Struct("<IIBBH")
_DECIMAL = struct.Struct("<ib")

SAMPLES_HEADER = _SAMPLES
FLAG_END = 1
FLAG_PACKED = 2
_FLAG_OBEYS = 1
_FLAG_CHARGING = 1
_UNKNOWN_U16 = 0xFFFF
_UNKNOWN_U8 = 0xFF
_MAX_EXPONENT = 30


def _malformed(detail: str) -> CodecError:
    return CodecError("malformed", detail)


def _check(value: int, low: int, high: int, what: str) -> int:
    if not low <= value <= high:
        raise _malformed(f"{what} is {value}, must be {low} to {high}")
    return value


class _Reader:
    """Takes fields off a payload; running out is a CodecError that names the field."""

    def __init__(self, payload: bytes, at: int, what: str) -> None:
        self._payload, self._at, self._what = payload, at, what

    def take(self, size: int, field: str) -> bytes:
        end = self._at + size
        if end > len(self._payload):
            raise _malformed(f"{self._what} ends inside {field}")
        part = self._payload[self._at : end]
        self._at = end
        return part

    def short(self, field: str) -> bytes:
        """A u8 length and that many bytes."""
        return self.take(self.take(1, field)[0], field)


def _head(layout: struct.Struct, payload: bytes, what: str) -> tuple[int, ...]:
    if len(payload) < layout.size:
        raise _malformed(f"{what} has {len(payload)} bytes of payload, needs {layout.size}")
    return layout.unpack_from(payload)


def _text(raw: bytes, low: int, high: int, pattern: re.Pattern[str], what: str) -> str:
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise _malformed(f"{what} is not ASCII: {raw!r}") from None
    _check(len(text), low, high, f"length of {what}")
    if not pattern.fullmatch(text):
        raise _malformed(f"{what} {text!r} has characters that are not allowed")
    return text


def _put_text(text: str, low: int, high: int, pattern: re.Pattern[str], what: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    _text(raw, low, high, pattern, what)
    return bytes([len(raw)]) + raw


def _put_utf8(text: str, cap: int) -> bytes:
    """Cut at ``cap`` bytes, never inside a character."""
    raw = text.encode("utf-8", "replace")[:cap].decode("utf-8", "ignore").encode()
    return bytes([len(raw)]) + raw


def decimal(value: float) -> tuple[int, int]:
    """``value`` as (mantissa, exponent) with nine significant digits."""
    if not math.isfinite(value):
        raise _malformed(f"{value} cannot be a scale or offset")
    digits, exponent = f"{value:.8e}".split("e")
    mantissa, power = int(digits.replace(".", "")), int(exponent) - 8
    if mantissa == 0:
        return 0, 0
    while mantissa % 10 == 0:
        mantissa, power = mantissa // 10, power + 1
    _check(power, -_MAX_EXPONENT, _MAX_EXPONENT, f"decimal exponent of {value}")
    return mantissa, power


def _read_decimal(raw: bytes, what: str) -> float:
    mantissa, exponent = _DECIMAL.unpack(raw)
    _check(exponent, -_MAX_EXPONENT, _MAX_EXPONENT, f"exponent of {what}")
    return float(f"{mantissa}e{exponent}")  # the text form is the one that rounds correctly


def _check_rate(rate_hz: float) -> float:
    if not 0 < rate_hz <= m.MAX_RATE_HZ:
        raise _malformed(f"rate is {rate_hz:g} Hz, must be above 0 and at most {m.MAX_RATE_HZ:g}")
    return rate_hz


def _check_channels(channels: Sequence[m.Channel]) -> None:
    _check(len(channels), 1, m.MAX_CHANNELS, "number of channels")
    if len({channel.name for channel in channels}) != len(channels):
        raise _malformed("two channels have one name")
    for channel in channels:
        if channel.scale == 0:
            raise _malformed(f"scale of channel {channel.name} is 0")


def put_hello(message: m.Hello) -> bytes:
    rate = Fraction(_check_rate(message.rate_hz)).limit_denominator(0xFFFF)
    _check(rate.numerator, 1, 0xFFFFFFFF, "rate numerator")
    _check_channels(message.channels)
    out = bytearray(
        _HELLO.pack(
            message.boot & 0xFFFFFFFF,
            rate.numerator,
            rate.denominator,
            _FLAG_OBEYS if message.obeys_commands else 0,
            _check(message.resend_samples, 0, m.MAX_RESEND_SAMPLES, "resend"),
            len(message.channels),
        )
    )
    out += _put_text(message.device_id, 1, m.MAX_DEVICE_ID, _NAME, "device id")
    out += _put_text(message.firmware, 0, m.MAX_FIRMWARE, _PRINTABLE, "firmware")
    for channel in message.channels:
        out += _put_text(channel.name, 1, m.MAX_CHANNEL_NAME, _NAME, "channel name")
        out += _put_text(channel.unit, 1, m.MAX_UNIT, _PRINTABLE, "unit")
        scale = decimal(channel.scale)
        out += _DECIMAL.pack(*scale) + _DECIMAL.pack(*decimal(channel.offset))
    return bytes(out)


def get_hello(payload: bytes) -> m.Hello:
    boot, numerator, denominator, flags, resend, count = _head(_HELLO, payload, "HELLO")
    if denominator == 0:
        raise _malformed("rate denominator is 0")
    rate_hz = _check_rate(numerator / denominator)
    _check(count, 1, m.MAX_CHANNELS, "number of channels")
    reader = _Reader(payload, _HELLO.size, "HELLO")
    device_id = _text(reader.short("device id"), 1, m.MAX_DEVICE_ID, _NAME, "device id")
    firmware = _text(reader.short("firmware"), 0, m.MAX_FIRMWARE, _PRINTABLE, "firmware")
    channels = []
    for _ in range(count):
        name = _text(reader.short("channel name"), 1, m.MAX_CHANNEL_NAME, _NAME, "channel name")
        unit = _text(reader.short("unit"), 1, m.MAX_UNIT, _PRINTABLE, "unit")
        scale = _read_decimal(reader.take(_DECIMAL.size, "scale"), "scale")
        offset = _read_decimal(reader.take(_DECIMAL.size, "offset"), "offset")
        channels.append(m.Channel(name, unit, scale, offset))
    _check_channels(channels)
    return m.Hello(device_id, firmware, rate_hz, tuple(channels), boot, bool(flags & _FLAG_OBEYS), resend)


def put_samples(message: m.Samples, *, pack: bool = False) -> bytes:
    values = np.asarray(message.values)
    if values.dtype != np.int16 or values.ndim != 2:
        raise _malformed(f"values are {values.dtype} of {values.ndim} dimensions, must be int16 of 2")
    count, channels = values.shape
    _check(count, 0, m.MAX_SAMPLES, "samples per channel")
    _check(channels, 1, m.MAX_CHANNELS, "number of channels")
    _check(message.lead_off, 0, 0xFFFF, "lead_off")
    flags = FLAG_END if message.end else 0
    data = np.ascontiguousarray(values, dtype="<i2").tobytes()
    if pack:
        packed = packing.pack(values)
        if len(packed) < len(data):
            data, flags = packed, flags | FLAG_PACKED
    time_us = message.device_time_us & 0xFFFFFFFF
    seq = message.seq & 0xFFFFFFFF
    return _SAMPLES.pack(seq, time_us, flags, channels, count, message.lead_off) + data


def get_samples(payload: bytes) -> m.Samples:
    seq, time_us, flags, channels, count, lead_off = _head(_SAMPLES, payload, "SAMPLES")
    _check(channels, 1, m.MAX_CHANNELS, "number of channels")
    if flags & FLAG_PACKED:
        values = packing.unpack(payload[_SAMPLES.size :], count, channels)
    else:
        if len(payload) - _SAMPLES.size < 2 * count * channels:
            raise _malformed(f"SAMPLES of {len(payload)} bytes cannot hold {count} x {channels} samples")
        flat = np.frombuffer(payload, dtype="<i2", count=count * channels, offset=_SAMPLES.size)
        values = flat.astype(np.int16, copy=False).reshape(count, channels)
    return m.Samples(seq, time_us, values, bool(flags & FLAG_END), lead_off)


def put_status(message: m.Status) -> bytes:
    millivolt = _UNKNOWN_U16 if message.battery_mv is None else message.battery_mv
    percent = message.battery_percent
    if percent is not None:
        _check(percent, 0, 100, "battery_percent")
    return _STATUS.pack(
        message.boot & 0xFFFFFFFF,
        message.device_time_us & 0xFFFFFFFF,
        message.dropped_samples & 0xFFFFFFFF,
        _check(message.lead_off, 0, 0xFFFF, "lead_off"),
        _check(millivolt, 0, 0xFFFF, "battery_mv"),
        _UNKNOWN_U8 if percent is None else percent,
        _FLAG_CHARGING if message.charging else 0,
    )


def get_status(payload: bytes) -> m.Status:
    boot, time_us, dropped, lead_off, millivolt, percent, flags = _head(_STATUS, payload, "STATUS")
    if percent != _UNKNOWN_U8:
        _check(percent, 0, 100, "battery_percent")
    return m.Status(
        time_us,
        boot,
        dropped,
        lead_off,
        None if millivolt == _UNKNOWN_U16 else millivolt,
        None if percent == _UNKNOWN_U8 else percent,
        bool(flags & _FLAG_CHARGING),
    )


def put_log(message: m.Log) -> bytes:
    level = _check(message.level, 0, 0xFF, "level")
    return _LOG.pack(message.device_time_us & 0xFFFFFFFF, level) + _put_utf8(message.text, m.MAX_LOG_BYTES)


def get_log(payload: bytes) -> m.Log:
    time_us, level = _head(_LOG, payload, "LOG")
    text = _Reader(payload, _LOG.size, "LOG").short("text")
    _check(len(text), 0, m.MAX_LOG_BYTES, "length of text")
    return m.Log(time_us, min(level, m.LogLevel.ERROR), text.decode("utf-8", "replace"))


def put_ack(message: m.Ack) -> bytes:
    return _ACK.pack(
        message.id & 0xFFFF,
        _check(message.verb, 0, 0xFF, "verb"),
        _check(message.result, 0, 0xFF, "result"),
        message.value & 0xFFFFFFFF,
    )


def get_ack(payload: bytes) -> m.Ack:
    return m.Ack(*_head(_ACK, payload, "ACK"))


def put_command(message: m.Command) -> bytes:
    args = b""
    if message.verb == m.Verb.RESEND:
        span = (message.end_seq - message.first_seq) & 0xFFFFFFFF
        _check(span, 1, m.MAX_RESEND_SAMPLES, "samples to resend")
        args = struct.pack("<II", message.first_seq & 0xFFFFFFFF, message.end_seq & 0xFFFFFFFF)
    return _COMMAND.pack(message.id & 0xFFFF, _check(message.verb, 0, 0xFF, "verb"), len(args)) + args


def get_command(payload: bytes) -> m.Command:
    id_, verb, size = _head(_COMMAND, payload, "COMMAND")
    args = _Reader(payload, _COMMAND.size, "COMMAND").take(size, "arguments")
    if verb != m.Verb.RESEND:
        return m.Command(id_, verb)
    if len(args) < 8:
        raise _malformed(f"RESEND has {len(args)} bytes of arguments, needs 8")
    first, end = struct.unpack_from("<II", args)
    _check((end - first) & 0xFFFFFFFF, 1, m.MAX_RESEND_SAMPLES, "samples to resend")
    return m.Command(id_, verb, first, end)


def put_verdict(message: m.Verdict) -> bytes:
    if not 0.0 <= message.score <= 1.0:
        raise _malformed(f"score is {message.score}, must be 0 to 1")
    index = message.label_index
    return _VERDICT.pack(
        message.seq & 0xFFFFFFFF,
        message.count & 0xFFFFFFFF,
        _check(message.status, 0, 0xFF, "status"),
        _UNKNOWN_U8 if index is None else _check(index, 0, _UNKNOWN_U8 - 1, "label_index"),
        round(message.score * 1000),
    ) + _put_utf8(message.label, m.MAX_LABEL_BYTES)


def get_verdict(payload: bytes) -> m.Verdict:
    seq, count, status, index, score = _head(_VERDICT, payload, "VERDICT")
    _check(score, 0, 1000, "score")
    label = _Reader(payload, _VERDICT.size, "VERDICT").short("label")
    _check(len(label), 0, m.MAX_LABEL_BYTES, "length of label")
    return m.Verdict(
        seq,
        count,
        min(status, m.VerdictStatus.ABSTAIN),
        label.decode("utf-8", "replace"),
        score / 1000,
        None if index == _UNKNOWN_U8 else index,
    )


READERS: dict[int, Callable[[bytes], m.Message]] = {
    m.MessageType.HELLO: get_hello,
    m.MessageType.SAMPLES: get_samples,
    m.MessageType.STATUS: get_status,
    m.MessageType.LOG: get_log,
    m.MessageType.ACK: get_ack,
    m.MessageType.COMMAND: get_command,
    m.MessageType.VERDICT: get_verdict,
}
