"""Writes firmware_bridge/vectors/*.json. Run by hand when PROTOCOL.md changes: the files are the contract.

    python -m tests.firmware_bridge.generate_vectors

The tests check that today's code still gives the committed bytes, so running this to make a test pass is
wrong unless the specification changed first.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from firmware_bridge import codec, siphash
from firmware_bridge import messages as m

VECTORS = Path(__file__).parents[2] / "firmware_bridge" / "vectors"
KEY = bytes(range(16))
ECG = [
    -127,
    -162,
    -197,
    -229,
    -245,
    -254,
    -261,
    -265,
    -268,
    -268,
    -255,
    -231,
    -190,
    -132,
    -62,
    40,
    180,
    420,
    90,
    -60,
]


def tagger(counter: int) -> codec.Tagger:
    def tag(body: bytes) -> bytes:
        counted = body + counter.to_bytes(8, "little")
        return counted[len(body) :] + siphash.siphash24(KEY, counted).to_bytes(8, "little")

    return tag


def column(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int16).reshape(-1, 1)


def cases() -> list[tuple[str, m.Message, dict[str, Any]]]:
    ecg = m.Channel("ecg", "uV", 4.8828125)
    two = np.arange(-8, 8, dtype=np.int16).reshape(-1, 2)
    wild = column([32767, -32768, 32767, -32768, 0, 1, -1, 0, 1, 32767])
    return [
        ("hello_ecg", m.Hello("ecg-1", "wavewall 0.1", 300.0, (ecg,), 7, True, 960), {}),
        (
            "hello_meter_two_channels",
            m.Hello(
                "meter_A", "", 1 / 60, (m.Channel("power", "W", 0.1, -20.5), m.Channel("t", "degC", 0.01)), 1
            ),
            {},
        ),
        ("hello_odd_rate", m.Hello("x", "f", 16_000_000 / 53_312, (m.Channel("a", "1"),), 0xFFFFFFFF), {}),
        ("samples_ecg", m.Samples(0, 1000, column(ECG)), {}),
        ("samples_ecg_packed", m.Samples(0, 1000, column(ECG)), {"pack": True}),
        ("samples_two_channels_wrapping", m.Samples(0xFFFFFFFC, 0xFFFFFF00, two, False, 2), {}),
        ("samples_two_channels_packed", m.Samples(8, 26666, two), {"pack": True}),
        ("samples_extremes", m.Samples(5, 5, wild), {}),
        ("samples_constant_packed", m.Samples(64, 9, column([100] * 32)), {"pack": True}),
        ("samples_zeros", m.Samples(0, 0, column([0] * 32)), {}),
        ("samples_no_zero_bytes", m.Samples(0x01010101, 0x01010101, column([0x0101] * 251)), {}),
        ("samples_largest", m.Samples(1, 2, np.arange(502, dtype=np.int16).reshape(251, 2)), {}),
        ("samples_end", m.Samples(8992, 29973333, column([1, 2, 3, 4, 5, 6, 7, 8]), True), {}),
        ("samples_end_empty", m.Samples(9000, 30000000, np.empty((0, 1), np.int16), True), {}),
        ("status", m.Status(1_000_000, 7, 3, 1, 3712, 56, True), {}),
        ("status_unknown_battery", m.Status(2_000_000, 7), {}),
        ("log", m.Log(1234, m.LogLevel.WARNING, "electrode µV low"), {}),
        ("ack_done", m.Ack(1, m.Verb.RESEND, m.AckResult.DONE, 320), {}),
        ("ack_gone", m.Ack(2, m.Verb.RESEND, m.AckResult.GONE), {}),
        ("command_hello", m.Command(1, m.Verb.HELLO), {}),
        ("command_resend", m.Command(2, m.Verb.RESEND, 320, 352), {}),
        ("command_resend_wrapping", m.Command(3, m.Verb.RESEND, 0xFFFFFFF0, 16), {}),
        ("command_start", m.Command(4, m.Verb.START), {}),
        ("command_stop", m.Command(5, m.Verb.STOP), {}),
        ("command_unknown_verb", m.Command(6, 99), {}),
        ("verdict", m.Verdict(0, 9000, m.VerdictStatus.SUSPECT, "AF", 0.875, 1), {}),
        ("verdict_abstain", m.Verdict(3000, 9000, m.VerdictStatus.ABSTAIN, "", 0.0), {}),
        ("tagged_hello", m.Hello("ecg-1", "wavewall 0.1", 300.0, (ecg,), 7, True, 960), {"counter": 7 << 32}),
        ("tagged_samples", m.Samples(0, 1000, column(ECG)), {"counter": (7 << 32) + 1}),
        ("tagged_command", m.Command(1, m.Verb.RESEND, 320, 352), {"counter": (7 << 32) + 1}),
    ]


def as_json(message: m.Message) -> dict[str, Any]:
    fields = {"type": type(message).__name__.upper()} | asdict(message)
    if isinstance(message, m.Samples):
        fields["values"] = message.values.tolist()
        fields["shape"] = list(message.values.shape)
    if isinstance(message, m.Hello):
        fields["channels"] = [asdict(channel) for channel in message.channels]
    return fields


def frames() -> list[dict[str, Any]]:
    out = []
    for name, message, options in cases():
        counter = options.get("counter")
        tag = None if counter is None else tagger(counter)
        wire = codec.encode(message, pack=options.get("pack", False), tagger=tag)
        row: dict[str, Any] = {
            "name": name,
            "message": as_json(message),
            "packed": options.get("pack", False),
        }
        if counter is not None:
            row |= {"key": KEY.hex(), "counter": counter}
        out.append(row | {"body": codec.unframe(wire[:-1]).hex(), "frame": wire.hex()})
    return out


def bad() -> list[dict[str, Any]]:
    good = codec.encode(m.Command(1, m.Verb.HELLO))
    version = codec.frame(bytes([0x20, 0x41]) + b"\x01\x00\x01\x00")
    newer = codec.frame(bytes([0x1F, 0x41]) + b"\x01\x00\x01\x00" + b"new fields")
    unknown = codec.frame(bytes([0x10, 0x3E]) + b"whatever")
    hello = codec.unframe(codec.encode(cases()[0][1])[:-1])
    fast = codec.frame(hello[:6] + (10_000_000).to_bytes(4, "little") + hello[10:])
    many = codec.frame(hello[:15] + bytes([200]) + hello[16:])
    foreign = codec.frame(hello.replace(b"ecg-1", b"ecg\xc3\xa9"))
    scale0 = codec.frame(hello.replace((48828125).to_bytes(4, "little"), bytes(4)))
    rate0 = codec.frame(hello[:10] + bytes(2) + hello[12:])
    short = codec.frame(bytes([0x10, 0x02]) + bytes(9) + bytes([1, 5, 0, 0]))
    order = codec.frame(bytes([0x10, 0x02]) + bytes(8) + bytes([2, 1, 1, 0, 0, 3, 0]))
    cut = codec.frame(bytes([0x10, 0x02]) + bytes(8) + bytes([2, 1, 9, 0, 0, 0, 0x55]))
    flipped = bytearray(good)
    flipped[3] ^= 0x10
    rows = [
        ("filler", bytes(5), [], 0),
        ("good_between_filler", bytes(2) + good + bytes(3) + good, [], 2),
        ("bit_flipped", bytes(flipped), ["crc"], 0),
        ("lost_delimiter", good[:-1] + good + good, ["crc"], 1),
        ("block_past_the_end", b"\xff\x01\x02\x00" + good, ["cobs"], 1),
        ("too_short", b"\x06\x01\x02\x03\x04\x05\x00" + good, ["too_short"], 1),
        ("huge", b"\x55" * 5000 + b"\x00" + good, ["too_long"], 1),
        ("other_major_version", version + good, ["version"], 1),
        ("newer_minor_version_with_more_fields", newer, [], 1),
        ("unknown_type_is_skipped", unknown + good, [], 1),
        ("hello_10_mhz", fast, ["malformed"], 0),
        ("hello_200_channels", many, ["malformed"], 0),
        ("hello_device_id_not_ascii", foreign, ["malformed"], 0),
        ("hello_scale_0", scale0, ["malformed"], 0),
        ("hello_rate_denominator_0", rate0, ["malformed"], 0),
        ("samples_shorter_than_count", short, ["malformed"], 0),
        ("packed_unknown_order", order, ["malformed"], 0),
        ("packed_cut", cut, ["malformed"], 0),
    ]
    rows += [(f"truncated_at_{n}", good[:n] + b"\x00", None, 0) for n in range(1, len(good) - 1)]
    return [{"name": n, "bytes": b.hex(), "bad": r, "messages": k} for n, b, r, k in rows]


def sip() -> dict[str, Any]:
    tags = [siphash.siphash24(KEY, bytes(range(n))).to_bytes(8, "little").hex() for n in range(64)]
    return {
        "key": KEY.hex(),
        "about": "tag of the bytes 00 01 02 ... of each length from 0 to 63",
        "tags": tags,
    }


def write(name: str, content: Any) -> None:
    rows = content if isinstance(content, list) else None
    text = (
        json.dumps(content, indent=1)
        if rows is None
        else "[\n" + ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows) + "\n]"
    )
    (VECTORS / name).write_text(text + "\n")


if __name__ == "__main__":
    write("frames.json", frames())
    write("bad.json", bad())
    write("siphash.json", sip())
