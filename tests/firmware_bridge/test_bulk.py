"""Many frames at once give what one at a time gives."""

from __future__ import annotations

import random
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_bridge import bulk, codec
from firmware_bridge import messages as m
from firmware_bridge.auth import Signer
from firmware_bridge.decoder import FrameDecoder
from tests.firmware_bridge.strategies import any_message, samples

pieces = st.one_of(
    any_message.map(codec.encode),
    samples().map(lambda message: codec.encode(message, pack=True)),
    samples(tagged=True).map(lambda message: codec.encode(message, tagger=Signer(bytes(16), 1))),
    st.binary(max_size=40).map(lambda data: data + b"\x00"),
    st.integers(1, 1030).map(lambda size: b"\x01" * size + b"\x00"),
    st.just(codec.frame(b"\x10\x3e??")),
    st.just(codec.frame(b"\x20\x02" + bytes(20))),
    # SAMPLES that claims more than it has, and one of no channels.
    st.just(codec.frame(b"\x10\x02" + bytes(8) + bytes([0, 1, 200, 0, 0, 1, 2]))),
    st.just(codec.frame(b"\x10\x02" + bytes(8) + bytes([0, 0, 0, 0, 0]))),
)


def decode(stream: bytes, min_frames: int) -> tuple[list[m.Decoded], FrameDecoder]:
    decoder = FrameDecoder("binary")
    with mock.patch.multiple(bulk, MIN_FRAMES=min_frames, MIN_BYTES=0):
        return decoder.feed(stream), decoder


@settings(deadline=None)
@given(st.lists(pieces, max_size=12).map(b"".join), st.binary(max_size=10))
@example(b"", b"\x00")
@example(b"\x00", b"")
@example(b"\x02\x07\x00", b"")
def test_same_messages_and_same_counts(stream: bytes, rest: bytes):
    slow, slow_decoder = decode(stream + rest, 1 << 30)
    fast, fast_decoder = decode(stream + rest, 0)
    assert fast == slow
    assert fast_decoder.counters == slow_decoder.counters
    assert fast_decoder._rest == slow_decoder._rest


def test_frames_longer_than_the_cap_go_the_careful_way():
    good = codec.encode(m.Command(1, m.Verb.HELLO))
    stream = good * 200 + b"\x01" * 3000 + b"\x00" + good * 200
    fast, decoder = decode(stream, 0)
    assert decoder.counters.bad == {"too_long": 1}
    assert len(fast) == 401


@pytest.mark.parametrize("count", [20, 251])
def test_a_damaged_stream_of_thousands(count: int):
    draw = random.Random(count)
    blocks = [
        m.Samples(count * i, i, np.array(draw.choices(range(-300, 300), k=count), np.int16)[:, None])
        for i in range(1500)
    ]
    stream = bytearray(b"".join(codec.encode(block) for block in blocks))
    for _ in range(100):
        stream[draw.randrange(len(stream))] = draw.randrange(256)
    slow, _ = decode(bytes(stream), 1 << 30)
    fast, decoder = decode(bytes(stream), 0)
    assert fast == slow
    assert decoder.counters.bad_total > 50


def test_values_cannot_be_written_to():
    stream = codec.encode(m.Samples(0, 0, np.zeros((4, 1), np.int16))) * 3
    for items in (decode(stream, 0)[0], decode(stream, 1 << 30)[0]):
        assert not any(item.values.flags.writeable for item in items if isinstance(item, m.Samples))
