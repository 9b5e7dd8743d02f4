"""What the C library is thrown at, from a seed: streams of a gateway, sound and broken, and lives of a device."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.auth import Signer

KEY = bytes(range(16))
BOOT = 7
_VECTORS = Path(__file__).parents[2] / "firmware_bridge" / "vectors"


def golden() -> list[bytes]:
    """All golden streams: frames and those that are broken in one way."""
    frames = [row["frame"] for row in json.loads((_VECTORS / "frames.json").read_text(encoding="utf-8"))]
    bad = [row["bytes"] for row in json.loads((_VECTORS / "bad.json").read_text(encoding="utf-8"))]
    return [bytes.fromhex(text) for text in (*frames, *bad)]


def _messages(rng: np.random.Generator) -> list[m.Message]:
    first = int(rng.integers(0, 1 << 32))
    span = int(rng.integers(1, 200))
    label = "".join(chr(int(c)) for c in rng.integers(1, 300, int(rng.integers(0, 16))))
    return [
        m.Command(int(rng.integers(0, 1 << 16)), int(rng.integers(0, 6)), first, (first + span) & 0xFFFFFFFF),
        m.Verdict(first, span, int(rng.integers(0, 4)), label, float(rng.integers(0, 1001)) / 1000, 3),
        m.Ack(1, 2, 3, 4),
    ]


def _mutate(data: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, len(out) + 1))
        kind = rng.integers(0, 4)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            out[at : at + int(rng.integers(1, 4))] = b""
        elif kind == 2:
            out[at:at] = rng.bytes(int(rng.integers(1, 4)))
        elif at < len(out):
            out[at] = (0, 1, 0xFF, 0x7F)[int(rng.integers(0, 4))]
    return bytes(out)


def streams(seed: int, count: int) -> list[bytes]:
    """What a gateway, noise or a forger may send: (count) streams. Tags are of ``KEY`` and ``BOOT``."""
    rng = np.random.default_rng(seed)
    seeds = golden()

    def sound() -> bytes:
        signer = Signer(KEY, BOOT, int(rng.integers(0, 1000)))
        tagger = signer if rng.random() < 0.6 else None
        return codec.encode(_messages(rng)[int(rng.integers(0, 3))], tagger=tagger)

    def behind_a_good_crc() -> bytes:
        # A checksum keeps plain mutations away from what reads the fields.
        body = codec.unframe(sound()[:-1])
        return codec.frame(_mutate(body, rng)[:1000])

    def behind_a_good_tag() -> bytes:
        body = codec.unframe(codec.encode(_messages(rng)[int(rng.integers(0, 3))])[:-1])
        type_ = body[1] if rng.random() < 0.8 else int(rng.integers(1, 128))
        body = bytes([body[0], type_ | codec.TAGGED]) + _mutate(body[2:], rng)[:900]
        return codec.frame(body + Signer(KEY, BOOT, int(rng.integers(0, 1000)))(body))

    def twice() -> bytes:
        frame = sound()
        return frame + frame

    def forged() -> bytes:
        return codec.encode(_messages(rng)[0], tagger=Signer(bytes(16), BOOT, 1))

    def long_or_random() -> bytes:
        size = int(rng.choice([5, 40, 300, 1028, 1029, 1030, 3000]))
        body = rng.bytes(size) if rng.random() < 0.5 else b"\x55" * size
        return body + b"\x00" + sound()

    def largest() -> bytes:
        # runs of 254 and more, bodies at the cap
        size = int(rng.integers(760, 1021))
        return codec.frame(
            bytes([m.VERSION, 0x7E]) + rng.integers(0, 256 if size % 2 else 2, size - 2, np.uint8).tobytes()
        )

    kinds: list[Callable[[], bytes]] = [
        sound,
        lambda: sound() + _mutate(sound(), rng) + b"\x00" + sound(),
        lambda: sound()[: int(rng.integers(0, 40))] + b"\x00" + sound(),
        behind_a_good_crc,
        behind_a_good_tag,
        twice,
        forged,
        long_or_random,
        largest,
        lambda: _mutate(seeds[int(rng.integers(0, len(seeds)))], rng) + b"\x00",
        lambda: rng.bytes(int(rng.integers(0, 60))) + b"\x00",
    ]
    return seeds + [kinds[number % len(kinds)]() for number in range(count)]


def device_events(seed: int, count: int, key: bytes | None) -> list[bytes]:
    """Lives of a device as driver.c reads them: samples, commands, noise, time, faults."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        head = rng.bytes(4) + int(rng.choice([0, 60, 300, 2000])).to_bytes(2, "little")
        parts = [head, bytes([int(rng.integers(0, 2)), int(rng.random() < 0.9), int(rng.integers(0, 40))])]
        signer = None if key is None else Signer(key, 1)
        for _ in range(int(rng.integers(5, 60))):
            kind = rng.random()
            if kind < 0.4:
                parts.append(bytes([int(rng.integers(0, 128))]))
            elif kind < 0.65:
                first = max(0, int(rng.integers(-100, 1500)))
                command = m.Command(
                    1,
                    int(rng.choice([1, 2, 2, 2, 2, 2, 3, 3, 4, 9])),
                    first,
                    first + int(rng.integers(1, 300)),
                )
                message = command if rng.random() < 0.9 else m.Verdict(0, 9000, 1, "AF µ" * 5, 0.5)
                frame = codec.encode(message, tagger=signer)
                frame = frame if rng.random() < 0.9 else _mutate(frame, rng)
                parts.append(bytes([150, min(len(frame), 255)]) + frame[:255])
            elif kind < 0.85:
                parts.append(bytes([int(rng.integers(200, 230))]))
            elif kind < 0.95:
                parts.append(bytes([235]) + int(rng.integers(0, 10_000_000)).to_bytes(4, "little"))
            else:
                parts.append(bytes([int(rng.integers(240, 256))]))
        out.append(b"".join(parts))
    return out
