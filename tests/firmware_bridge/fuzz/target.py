"""What is fuzzed: any bytes into decoder, guard and receiver must parse or count, never raise, never grow."""

from __future__ import annotations

import math
import struct
from dataclasses import replace

from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.auth import CounterStore, DeviceGuard, Guard, Signer
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.decoder import Guard as Check
from firmware_bridge.errors import CodecError
from firmware_bridge.receiver import MAX_HELD_BLOCKS, Receiver

KEY = bytes(range(16))
BOOT = 7
DIALECTS = ("auto", "binary", "csv")
HELLO = m.Hello("ecg-1", "fuzz", 300.0, (m.Channel("ecg", "uV"),), BOOT, True, 960)


def one_input(data: bytes) -> None:
    """The first byte says how the rest is read, so that a fuzzer reaches everything by itself."""
    if not data:
        return
    mode, data = data[0], data[1:]
    wire = framed(data) if mode & 0x0C else data
    check: Check | None = None
    if mode & 0x10:
        check = (
            DeviceGuard(KEY, BOOT) if mode & 0x20 else Guard({"ecg-1": KEY}, CounterStore(), required=True)
        )
    if mode & 0x08:
        wire = codec.encode(HELLO, tagger=Signer(KEY, BOOT)) + tagged(data)
    read(wire, FrameDecoder(DIALECTS[mode & 3 if mode & 3 < 3 else 0], guard=check), 1 + (mode >> 6) * 97)


def framed(data: bytes) -> bytes:
    """Bodies behind a right CRC: a checksum keeps plain mutations away from what reads the fields."""
    return b"".join(codec.frame(b"\x10" + part[:900]) for part in data.split(b"\xff\x00") if part)


def tagged(data: bytes) -> bytes:
    """Bodies behind a right tag."""
    out = []
    for number, part in enumerate(data.split(b"\xff\x00")):
        if part:
            body = bytes([m.VERSION, part[0] | codec.TAGGED]) + part[1:900]
            out.append(codec.frame(body + Signer(KEY, BOOT, number + 1)(body)))
    return b"".join(out)


def read(wire: bytes, decoder: FrameDecoder, size: int) -> None:
    """Feed in chunks and follow the messages to where samples come out."""
    receiver, now_s, bad = Receiver(), 0.0, 0
    for at in range(0, len(wire), size):
        for item in decoder.feed(wire[at : at + size]):
            now_s += 0.01
            if isinstance(item, m.BadFrame):
                bad += 1
                continue
            for block in (*receiver.push(item, now_s), *receiver.poll(now_s)):
                assert block.samples.values.shape[1] == len(block.hello.channels)
            for command in receiver.commands(now_s):
                assert codec.decode(codec.encode(command)) == command
            again(item)
    assert decoder.counters.bytes == len(wire)
    assert decoder.counters.bad_total == bad
    assert len(decoder._rest) <= m.MAX_ENCODED_BYTES
    assert len(receiver._held) <= MAX_HELD_BLOCKS


def again(item: m.Message) -> None:
    """What was read can be written, and reads the same, unless a newer peer said more than we know."""
    if isinstance(item, m.CsvSamples):
        return
    try:
        frame = codec.encode(item)
    except CodecError as error:  # such as an empty RESEND range, which only a reader takes
        assert error.reason in ("malformed", "too_long")
        return
    back = codec.decode(frame)
    if isinstance(item, m.Log) and isinstance(back, m.Log) and cut(item.text, back.text):
        back = replace(back, text=item.text)
    if isinstance(item, m.Verdict) and isinstance(back, m.Verdict) and cut(item.label, back.label):
        back = replace(back, label=item.label)
    if not isinstance(item, m.Hello):
        assert back == item
        return
    assert isinstance(back, m.Hello)
    assert replace(back, channels=()) == replace(item, channels=())
    for one, other in zip(back.channels, item.channels, strict=True):
        assert (one.name, one.unit) == (other.name, other.unit)
        # A reader takes ten digits, and nine are written.
        assert math.isclose(one.scale, other.scale, rel_tol=1e-8)
        assert math.isclose(one.offset, other.offset, rel_tol=1e-8)


def cut(text: str, back: str) -> bool:
    """U+FFFD stands for a byte that is no text and is three times as long: what no longer fits is cut off."""
    return "\ufffd" in text and text.startswith(back)


def corpus() -> list[bytes]:
    """Inputs to begin with: each kind of message, whole and as a body, in the modes that matter."""
    messages: list[m.Message] = [
        HELLO,
        m.Status(5, BOOT, 1, 1, 3700, 50, True),
        m.Log(1, 2, "text µ"),
        m.Command(1, m.Verb.RESEND, 10, 42),
        m.Ack(1, m.Verb.RESEND, m.AckResult.PARTIAL, 20),
        m.Verdict(0, 9000, 1, "AF", 0.875, 1),
    ]
    blocks = [
        struct.pack("<IIBBBH", at, at * 3333, at == 96, 1, 32, 0) + bytes(range(64)) for at in (0, 32, 96)
    ]
    bodies = [codec.unframe(codec.encode(each)[:-1])[1:] for each in messages] + [b"\x02" + b for b in blocks]
    whole = b"".join(codec.frame(b"\x10" + body) for body in bodies)
    signer = Signer(KEY, BOOT)
    return [
        *(bytes([mode]) + whole for mode in (0x00, 0x01, 0x41, 0xC1, 0x11)),
        *(bytes([mode]) + b"\xff\x00".join(bodies) for mode in (0x05, 0xC5, 0x19, 0x39)),
        *(b"\x05" + body for body in bodies),
        b"\x11" + b"".join(codec.encode(each, tagger=signer) for each in messages),
        b"\x00ecg,ref\r\n1,2\r\n3,nan\r\n!\r\n4;5\n",
        b"\x02ecg:1\tref:2\necg:3\tref:4\n" + b"\x00" + whole,
    ]
