"""Messages to bytes and back: the golden frames, every message that can be built, every cap."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings

from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.errors import CodecError
from firmware_bridge.fields import decimal
from tests.firmware_bridge import generate_vectors
from tests.firmware_bridge.strategies import any_message, samples

FRAMES = json.loads((generate_vectors.VECTORS / "frames.json").read_text())


def test_committed_vectors_are_what_the_cases_give_today():
    assert generate_vectors.frames() == FRAMES
    assert generate_vectors.bad() == json.loads((generate_vectors.VECTORS / "bad.json").read_text())


@pytest.mark.parametrize(("name", "message", "options"), generate_vectors.cases(), ids=lambda x: str(x)[:30])
def test_golden_frame_decodes(name: str, message: m.Message, options: dict):
    row = next(row for row in FRAMES if row["name"] == name)
    frame = bytes.fromhex(row["frame"])
    assert codec.decode(frame) == message
    assert codec.unframe(frame[:-1]).hex() == row["body"]
    assert frame.count(0) == 1


def test_examples_of_the_specification_are_the_vectors():
    text = (generate_vectors.VECTORS.parent / "PROTOCOL.md").read_text()
    examples = re.findall(
        r"^`(\w+)`:.*?\n\n```\nbody without CRC +(.*)\nframe +(.*)\n```", text, re.MULTILINE
    )
    assert len(examples) >= 5
    rows = {row["name"]: row for row in FRAMES}
    for name, body, frame in examples:
        assert body.replace(" ", "") == rows[name]["body"], name
        assert frame.replace(" ", "") == rows[name]["frame"], name


@settings(deadline=None)
@given(any_message)
def test_round_trip(message: m.Message):
    frame = codec.encode(message)
    assert frame[-1] == 0 and 0 not in frame[:-1]
    assert len(frame) <= m.MAX_ENCODED_BYTES + 1
    assert codec.decode(frame) == message


@settings(deadline=None)
@given(samples(), samples())
def test_packing_does_not_change_what_is_read(first: m.Samples, second: m.Samples):
    for message in (first, second):
        packed = codec.encode(message, pack=True)
        assert codec.decode(packed) == message
        assert len(packed) <= len(codec.encode(message))


@pytest.mark.parametrize("bit", range(0, 8 * 20, 7))
def test_any_flipped_bit_is_noticed(bit: int):
    frame = bytearray(codec.encode(m.Status(1000, 7, 0, 0, 3700)))
    frame[bit // 8 % (len(frame) - 1)] ^= 1 << bit % 8
    with pytest.raises(CodecError) as caught:
        codec.decode(bytes(frame))
    assert caught.value.reason in {"crc", "cobs", "too_short"}


ecg = m.Channel("ecg", "uV")
one = np.zeros((1, 1), np.int16)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (m.Hello("", "f", 300.0, (ecg,)), "device id"),
        (m.Hello("a" * 33, "f", 300.0, (ecg,)), "device id"),
        (m.Hello("gerät", "f", 300.0, (ecg,)), "device id"),
        (m.Hello("a/b", "f", 300.0, (ecg,)), "device id"),
        (m.Hello("a", "f\n", 300.0, (ecg,)), "firmware"),
        (m.Hello("a", "f", 0.0, (ecg,)), "rate"),
        (m.Hello("a", "f", float("nan"), (ecg,)), "rate"),
        (m.Hello("a", "f", 1e7, (ecg,)), "rate is 1e\\+07"),
        (m.Hello("a", "f", 1e-9, (ecg,)), "rate"),
        (m.Hello("a", "f", 300.0, ()), "channels"),
        (m.Hello("a", "f", 300.0, tuple(m.Channel(f"c{i}", "1") for i in range(17))), "channels"),
        (m.Hello("a", "f", 300.0, (ecg, ecg)), "one name"),
        (m.Hello("a", "f", 300.0, (m.Channel("ecg", "µV"),)), "unit"),
        (m.Hello("a", "f", 300.0, (m.Channel("ecg", "uV", 0.0),)), "scale"),
        (m.Hello("a", "f", 300.0, (m.Channel("ecg", "uV", float("inf")),)), "scale"),
        (m.Hello("a", "f", 300.0, (m.Channel("ecg", "uV", 1e-50),)), "exponent"),
        (m.Hello("a", "f", 300.0, (ecg,), resend_samples=65536), "resend"),
        (m.Samples(0, 0, np.zeros((1, 17), np.int16)), "channels"),
        (m.Samples(0, 0, np.zeros((256, 1), np.int16)), "samples"),
        (m.Samples(0, 0, np.zeros((100, 16), np.int16)), "body"),
        (m.Samples(0, 0, np.zeros((1, 1), np.int32)), "int32"),
        (m.Samples(0, 0, np.zeros(1, np.int16)), "dimensions"),
        (m.Samples(0, 0, one, lead_off=1 << 16), "lead_off"),
        (m.Status(0, battery_percent=101), "battery_percent"),
        (m.Command(1, m.Verb.RESEND, 5, 5), "resend"),
        (m.Command(1, m.Verb.RESEND, 0, 65536), "resend"),
        (m.Verdict(0, 1, 0, "N", 1.01), "score"),
        (m.Verdict(0, 1, 0, "N", 0.5, 255), "label_index"),
        (m.CsvSamples(np.zeros((1, 1)), ("a",)), "no frame"),
    ],
)
def test_what_exceeds_a_cap_is_not_sent(message: m.Message, says: str):
    with pytest.raises(CodecError, match=says):
        codec.encode(message)


def test_long_texts_are_cut_between_characters():
    log = codec.decode(codec.encode(m.Log(0, 1, "µ" * 150)))
    assert isinstance(log, m.Log)
    assert log.text == "µ" * 100
    verdict = codec.decode(codec.encode(m.Verdict(0, 1, 0, "x" + "µ" * 16, 0.5)))
    assert isinstance(verdict, m.Verdict)
    assert verdict.label == "x" + "µ" * 15


def test_numbers_of_a_later_version_are_read():
    assert codec.decode(codec.encode(m.Log(0, 9, "x"))) == m.Log(0, m.LogLevel.ERROR, "x")
    read = codec.decode(codec.encode(m.Verdict(0, 1, 7, "N", 0.5)))
    assert isinstance(read, m.Verdict)
    assert read.status == m.VerdictStatus.ABSTAIN
    assert m.known(m.Verb, 2) == "resend"
    assert m.known(m.Verb, 99) == "99"


def test_more_fields_of_a_later_minor_version_are_ignored():
    for message in (case[1] for case in generate_vectors.cases() if "counter" not in case[2]):
        body = codec.unframe(codec.encode(message)[:-1])
        if len(body) > 1000:
            continue
        assert codec.decode(codec.frame(b"\x11" + body[1:] + b"\x01\x02\x03")) == message


def test_truncated_payloads_are_malformed():
    for _, message, options in generate_vectors.cases():
        if "counter" in options:
            continue
        body = codec.unframe(codec.encode(message, **options)[:-1])
        for size in range(2, len(body)):
            with pytest.raises(CodecError) as caught:
                codec.decode(codec.frame(body[:size]))
            assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    ("value", "mantissa", "exponent"),
    [
        (4.8828125, 48828125, -7),
        (1.0, 1, 0),
        (-20.5, -205, -1),
        (0.0, 0, 0),
        (1e5, 1, 5),
        (1 / 3, 333333333, -9),
    ],
)
def test_decimals(value: float, mantissa: int, exponent: int):
    assert decimal(value) == (mantissa, exponent)
