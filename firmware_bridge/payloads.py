"""The payload of each message type, to bytes and back. PROTOCOL.md sections 2 and 3.

Writers and readers apply the same caps, so a message that was written can be read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from firmware_bridge import messages as m
from firmware_bridge import packing
from firmware_bridge.fields import (
    DECIMAL,
    NAME,
    PRINTABLE,
    Reader,
    check,
    decimal,
    head,
    malformed,
    put_text,
    put_utf8,
    read_decimal,
    read_text,
)

_HELLO = struct.Struct("<IIHBHB")
_INT16 = np.dtype("<i2")
_SAMPLES = struct.Struct("<IIBBBH")
_STATUS = struct.Struct("<IIIHHBB")
_LOG = struct.Struct("<IB")
_ACK = struct.Struct("<HBBI")
_COMMAND = struct.Struct("<HBB")
_VERDICT = struct.Struct("<IIBBH")

SAMPLES_HEADER = _SAMPLES
FLAG_END = 1
FLAG_PACKED = 2
_FLAG_OBEYS = 1
_FLAG_CHARGING = 1
_UNKNOWN_U16 = 0xFFFF
_UNKNOWN_U8 = 0xFF


def _check_rate(rate_hz: float) -> float:
    if not 0 < rate_hz <= m.MAX_RATE_HZ:
        raise malformed(f"rate is {rate_hz:g} Hz, must be above 0 and at most {m.MAX_RATE_HZ:g}")
    return rate_hz


def _check_channels(channels: Sequence[m.Channel]) -> None:
    check(len(channels), 1, m.MAX_CHANNELS, "number of channels")
    if len({channel.name for channel in channels}) != len(channels):
        raise malformed("two channels have one name")
    for channel in channels:
        if channel.scale == 0:
            raise malformed(f"scale of channel {channel.name} is 0")


def put_hello(message: m.Hello) -> bytes:
    rate = Fraction(_check_rate(message.rate_hz)).limit_denominator(0xFFFF)
    check(rate.numerator, 1, 0xFFFFFFFF, "rate numerator")
    _check_channels(message.channels)
    out = bytearray(
        _HELLO.pack(
            message.boot & 0xFFFFFFFF,
            rate.numerator,
            rate.denominator,
            _FLAG_OBEYS if message.obeys_commands else 0,
            check(message.resend_samples, 0, m.MAX_RESEND_SAMPLES, "resend"),
            len(message.channels),
        )
    )
    out += put_text(message.device_id, 1, m.MAX_DEVICE_ID, NAME, "device id")
    out += put_text(message.firmware, 0, m.MAX_FIRMWARE, PRINTABLE, "firmware")
    for channel in message.channels:
        out += put_text(channel.name, 1, m.MAX_CHANNEL_NAME, NAME, "channel name")
        out += put_text(channel.unit, 1, m.MAX_UNIT, PRINTABLE, "unit")
        scale = decimal(channel.scale)
        out += DECIMAL.pack(*scale) + DECIMAL.pack(*decimal(channel.offset))
    return bytes(out)


def get_hello(payload: bytes) -> m.Hello:
    boot, numerator, denominator, flags, resend, count = head(_HELLO, payload, "HELLO")
    if denominator == 0:
        raise malformed("rate denominator is 0")
    rate_hz = _check_rate(numerator / denominator)
    check(count, 1, m.MAX_CHANNELS, "number of channels")
    reader = Reader(payload, _HELLO.size, "HELLO")
    device_id = read_text(reader.short("device id"), 1, m.MAX_DEVICE_ID, NAME, "device id")
    firmware = read_text(reader.short("firmware"), 0, m.MAX_FIRMWARE, PRINTABLE, "firmware")
    channels = []
    for _ in range(count):
        name = read_text(reader.short("channel name"), 1, m.MAX_CHANNEL_NAME, NAME, "channel name")
        unit = read_text(reader.short("unit"), 1, m.MAX_UNIT, PRINTABLE, "unit")
        scale = read_decimal(reader.take(DECIMAL.size, "scale"), "scale")
        offset = read_decimal(reader.take(DECIMAL.size, "offset"), "offset")
        channels.append(m.Channel(name, unit, scale, offset))
    _check_channels(channels)
    return m.Hello(device_id, firmware, rate_hz, tuple(channels), boot, bool(flags & _FLAG_OBEYS), resend)


def put_samples(message: m.Samples, *, pack: bool = False) -> bytes:
    values = np.asarray(message.values)
    if values.dtype != np.int16 or values.ndim != 2:
        raise malformed(f"values are {values.dtype} of {values.ndim} dimensions, must be int16 of 2")
    count, channels = values.shape
    check(count, 0, m.MAX_SAMPLES, "samples per channel")
    check(channels, 1, m.MAX_CHANNELS, "number of channels")
    check(message.lead_off, 0, 0xFFFF, "lead_off")
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
    seq, time_us, flags, channels, count, lead_off = head(_SAMPLES, payload, "SAMPLES")
    if not 1 <= channels <= m.MAX_CHANNELS:
        check(channels, 1, m.MAX_CHANNELS, "number of channels")
    if flags & FLAG_PACKED:
        values = packing.unpack(payload[_SAMPLES.size :], count, channels)
    else:
        if len(payload) - _SAMPLES.size < 2 * count * channels:
            raise malformed(f"SAMPLES of {len(payload)} bytes cannot hold {count} x {channels} samples")
        values = np.ndarray((count, channels), _INT16, payload, _SAMPLES.size)
        if not _INT16.isnative:
            values = values.astype(np.int16)
    return m.Samples(seq, time_us, values, bool(flags & FLAG_END), lead_off)


def put_status(message: m.Status) -> bytes:
    millivolt = _UNKNOWN_U16 if message.battery_mv is None else message.battery_mv
    percent = message.battery_percent
    if percent is not None:
        check(percent, 0, 100, "battery_percent")
    return _STATUS.pack(
        message.boot & 0xFFFFFFFF,
        message.device_time_us & 0xFFFFFFFF,
        message.dropped_samples & 0xFFFFFFFF,
        check(message.lead_off, 0, 0xFFFF, "lead_off"),
        check(millivolt, 0, 0xFFFF, "battery_mv"),
        _UNKNOWN_U8 if percent is None else percent,
        _FLAG_CHARGING if message.charging else 0,
    )


def get_status(payload: bytes) -> m.Status:
    boot, time_us, dropped, lead_off, millivolt, percent, flags = head(_STATUS, payload, "STATUS")
    if percent != _UNKNOWN_U8:
        check(percent, 0, 100, "battery_percent")
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
    level = check(message.level, 0, 0xFF, "level")
    return _LOG.pack(message.device_time_us & 0xFFFFFFFF, level) + put_utf8(message.text, m.MAX_LOG_BYTES)


def get_log(payload: bytes) -> m.Log:
    time_us, level = head(_LOG, payload, "LOG")
    text = Reader(payload, _LOG.size, "LOG").short("text")
    check(len(text), 0, m.MAX_LOG_BYTES, "length of text")
    return m.Log(time_us, min(level, m.LogLevel.ERROR), text.decode("utf-8", "replace"))


def put_ack(message: m.Ack) -> bytes:
    return _ACK.pack(
        message.id & 0xFFFF,
        check(message.verb, 0, 0xFF, "verb"),
        check(message.result, 0, 0xFF, "result"),
        message.value & 0xFFFFFFFF,
    )


def get_ack(payload: bytes) -> m.Ack:
    return m.Ack(*head(_ACK, payload, "ACK"))


def put_command(message: m.Command) -> bytes:
    args = b""
    if message.verb == m.Verb.RESEND:
        span = (message.end_seq - message.first_seq) & 0xFFFFFFFF
        check(span, 1, m.MAX_RESEND_SAMPLES, "samples to resend")
        args = struct.pack("<II", message.first_seq & 0xFFFFFFFF, message.end_seq & 0xFFFFFFFF)
    return _COMMAND.pack(message.id & 0xFFFF, check(message.verb, 0, 0xFF, "verb"), len(args)) + args


def get_command(payload: bytes) -> m.Command:
    id_, verb, size = head(_COMMAND, payload, "COMMAND")
    args = Reader(payload, _COMMAND.size, "COMMAND").take(size, "arguments")
    if verb != m.Verb.RESEND:
        return m.Command(id_, verb)
    if len(args) < 8:
        raise malformed(f"RESEND has {len(args)} bytes of arguments, needs 8")
    first, end = struct.unpack_from("<II", args)
    check((end - first) & 0xFFFFFFFF, 1, m.MAX_RESEND_SAMPLES, "samples to resend")
    return m.Command(id_, verb, first, end)


def put_verdict(message: m.Verdict) -> bytes:
    if not 0.0 <= message.score <= 1.0:
        raise malformed(f"score is {message.score}, must be 0 to 1")
    index = message.label_index
    return _VERDICT.pack(
        message.seq & 0xFFFFFFFF,
        message.count & 0xFFFFFFFF,
        check(message.status, 0, 0xFF, "status"),
        _UNKNOWN_U8 if index is None else check(index, 0, _UNKNOWN_U8 - 1, "label_index"),
        round(message.score * 1000),
    ) + put_utf8(message.label, m.MAX_LABEL_BYTES)


def get_verdict(payload: bytes) -> m.Verdict:
    seq, count, status, index, score = head(_VERDICT, payload, "VERDICT")
    check(score, 0, 1000, "score")
    label = Reader(payload, _VERDICT.size, "VERDICT").short("label")
    check(len(label), 0, m.MAX_LABEL_BYTES, "length of label")
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
