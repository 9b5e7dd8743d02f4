"""The peer of the wire benchmark speaks MIN's format: it round-trips, stuffs, and drops what is damaged."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.min_format import Receiver, encode

PAYLOAD = st.binary(max_size=255) | st.lists(st.sampled_from([0xAA, 0x55, 0]), max_size=255).map(bytes)


@given(payloads=st.lists(PAYLOAD, max_size=5), cut=st.integers(1, 40))
def test_any_payload_in_any_chunks(payloads: list[bytes], cut: int) -> None:
    stream = b"".join(encode(1, payload) for payload in payloads)
    receiver, got = Receiver(), []
    for at in range(0, len(stream), cut):
        got += receiver.feed(stream[at : at + cut])
    assert got == payloads


def test_the_layout_of_a_frame() -> None:
    body = bytes((7, 3)) + b"\xaa\xaa\x01"
    crc = zlib.crc32(body).to_bytes(4, "big")
    assert encode(7, b"\xaa\xaa\x01") == b"\xaa\xaa\xaa\x07\x03\xaa\xaa\x55\x01" + crc + b"\x55"


def test_a_damaged_frame_is_dropped_and_the_next_one_read() -> None:
    bad = bytearray(encode(1, b"hello"))
    bad[6] ^= 1
    assert Receiver().feed(bytes(bad) + encode(1, b"world")) == [b"world"]
