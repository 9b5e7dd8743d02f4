"""Streams: every chunking gives the same, garbage is counted, memory stays flat."""

from __future__ import annotations

import json
import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.decoder import FrameDecoder
from tests.firmware_bridge import generate_vectors
from tests.firmware_bridge.strategies import any_message

BAD = json.loads((generate_vectors.VECTORS / "bad.json").read_text())
HELLO = generate_vectors.cases()[0][1]
BLOCK = m.Samples(0, 0, np.arange(32, dtype=np.int16)[:, None])


def joined(items: list[m.Decoded]) -> list[object]:
    """Comparable, with the rows of the CSV dialect one by one."""
    out: list[object] = []
    for item in items:
        if isinstance(item, m.CsvSamples):
            out += [(item.columns, tuple(np.nan_to_num(row, nan=-12345.0))) for row in item.values]
        else:
            out.append(item)
    return out


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    parts, at = [], 0
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    return [*parts, data[at:]]


@pytest.mark.parametrize("row", BAD, ids=lambda row: row["name"])
@pytest.mark.parametrize("dialect", ["binary", "auto"])
def test_bad_vectors(row: dict, dialect: str):
    decoder = FrameDecoder(dialect)
    items = decoder.feed(bytes.fromhex(row["bytes"]))
    bad = [item.reason for item in items if isinstance(item, m.BadFrame)]
    if row["bad"] is None:
        assert len(bad) == 1
    else:
        assert bad == row["bad"]
    assert decoder.counters.frames == row["messages"] == len(items) - len(bad)
    assert decoder.counters.bad_total == len(bad)


noise = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([b"\x00", b"\n", b"1,2\n", b"3,4\r\n", b"a,b\n", b"!\n", b"x" * 1100, b"1\n2\n3\n"]),
    st.integers(1, 2200).map(lambda n: b"\x55" * n),
)
streams = st.lists(st.one_of(noise, any_message.map(codec.encode)), max_size=12).map(b"".join)


@settings(deadline=None, max_examples=150)
@given(streams, st.lists(st.integers(0, 1500), max_size=8), st.sampled_from(["auto", "binary", "csv"]))
@example(b"\x55" * 1030 + b"1,2\n1,2\n3,4\n" + b"\x00" + codec.encode(HELLO), [], "auto")
def test_every_chunking_gives_the_same(stream: bytes, sizes: list[int], dialect: str):
    whole, bytewise, chunked = (FrameDecoder(dialect) for _ in range(3))
    expected = joined(whole.feed(stream))
    assert joined([x for i in range(len(stream)) for x in bytewise.feed(stream[i : i + 1])]) == expected
    assert joined([x for part in cut(stream, sizes) for x in chunked.feed(part)]) == expected
    assert whole.counters == bytewise.counters == chunked.counters
    assert whole.dialect == bytewise.dialect == chunked.dialect


@settings(deadline=None)
@given(st.lists(any_message, max_size=6), st.lists(st.binary(max_size=30), max_size=6), st.randoms())
def test_messages_come_through_noise(messages: list[m.Message], noises: list[bytes], draw: random.Random):
    parts = [codec.encode(message) for message in messages] + [
        bytes(b or 1 for b in each) + b"\x00" for each in noises
    ]
    order = list(range(len(parts)))
    draw.shuffle(order)
    decoder = FrameDecoder("binary")
    items = decoder.feed(b"".join(parts[i] for i in order))
    got = [item for item in items if not isinstance(item, m.BadFrame)]
    sent = [messages[i] for i in order if i < len(messages)]
    assert len(got) >= len(sent)  # noise may hold a frame by chance, as good as never
    assert all(message in got for message in sent)


def test_memory_stays_flat_on_endless_garbage():
    draw = random.Random(7)
    decoder = FrameDecoder("auto")
    decoder.feed(b"x" * 5000)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for size in (65536, 200_000, 65536):
            for _ in range(4):
                decoder.feed(draw.randbytes(size).replace(b"\x00", b"\x01"))
                decoder.feed(draw.randbytes(1000))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


def test_a_million_random_bytes_parse_or_count():
    draw = random.Random(11)
    for dialect in ("auto", "binary", "csv"):
        decoder = FrameDecoder(dialect)
        for _ in range(16):
            items = decoder.feed(draw.randbytes(65536))
            assert all(isinstance(item, (m.BadFrame, m.CsvSamples)) for item in items)
        assert decoder.counters.bytes == 1 << 20
        assert decoder.counters.bad_total > 0


@pytest.mark.slow
def test_ten_million_random_bytes():
    draw = random.Random(13)
    decoder = FrameDecoder("auto")
    for _ in range(160):
        decoder.feed(draw.randbytes(65536))
    assert decoder.counters.bytes >= 10**7
    # A random frame has a right CRC once in 2^32.
    assert decoder.counters.frames == 0


def test_mutated_real_stream_loses_only_what_was_hit():
    draw = random.Random(3)
    blocks = [
        m.Samples(32 * i, 1000 * i, np.array(draw.choices(range(-500, 500), k=32), np.int16)[:, None])
        for i in range(300)
    ]
    stream = bytearray(b"".join(codec.encode(block) for block in blocks))
    hits = 40
    for _ in range(hits):
        stream[draw.randrange(len(stream))] = draw.randrange(256)
    decoder = FrameDecoder("binary")
    got = [item for item in decoder.feed(bytes(stream)) if isinstance(item, m.Samples)]
    assert all(block in blocks for block in got)
    # A hit on a delimiter costs two frames, any other one.
    assert len(got) >= len(blocks) - 2 * hits
    assert decoder.counters.crc_errors > 0


def test_every_truncation_of_a_stream_ends_well():
    stream = b"".join(codec.encode(case[1]) for case in generate_vectors.cases())
    count = len(generate_vectors.cases())
    for end in range(0, len(stream), 5):
        decoder = FrameDecoder("binary")
        items = decoder.feed(stream[:end] + b"\x00" + codec.encode(HELLO))
        assert items[-1] == HELLO
        assert sum(isinstance(item, m.BadFrame) for item in items) <= 1
        assert len(items) <= count + 2


def test_joining_in_the_middle_costs_one_frame():
    stream = codec.encode(BLOCK) * 3
    items = FrameDecoder("auto").feed(stream[17:])
    assert [type(item) for item in items] == [m.BadFrame, m.Samples, m.Samples]


def test_tagged_frames_without_a_guard_are_read_and_counted():
    frame = bytes.fromhex(
        next(
            row["frame"]
            for row in json.loads((generate_vectors.VECTORS / "frames.json").read_text())
            if row["name"] == "tagged_samples"
        )
    )
    decoder = FrameDecoder("binary")
    assert isinstance(decoder.feed(frame)[0], m.Samples)
    assert decoder.counters.unverified == 1


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_dialect_is_found_and_found_again(size: int):
    boot_text = b"ets Jul 29 2019 12:21:46\r\nrst:0x1 (POWERON_RESET)\r\n"
    stream = (
        boot_text
        + codec.encode(HELLO)
        + codec.encode(BLOCK) * 2
        + b"reflashed with a sketch that prints\r\n" * 40  # longer than any frame
        + b"ecg,ref\r\n"
        + b"1,2\r\n" * 300
        + b"\x00"
        + codec.encode(BLOCK) * 2
    )
    decoder = FrameDecoder("auto")
    items = [x for at in range(0, len(stream), size) for x in decoder.feed(stream[at : at + size])]
    rows = sum(len(item.values) for item in items if isinstance(item, m.CsvSamples))
    assert rows == 300
    assert {item.columns for item in items if isinstance(item, m.CsvSamples)} == {("ecg", "ref")}
    blocks = [item for item in items if isinstance(item, m.Samples)]
    # The boot text grew together with HELLO.
    assert len(blocks) == 4
    assert decoder.dialect == "binary"


def test_a_fixed_dialect_is_kept():
    decoder = FrameDecoder("binary")
    assert not any(isinstance(x, m.CsvSamples) for x in decoder.feed(b"1,2\n" * 600))
    assert decoder.dialect == "binary"
    decoder = FrameDecoder("csv")
    decoder.feed(b"1\n2\n" + codec.encode(BLOCK) + b"\n3\n")
    assert decoder.dialect == "csv"
    assert decoder.counters.csv_rows == 2
