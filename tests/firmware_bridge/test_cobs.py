from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge import cobs
from firmware_bridge.errors import CodecError

# From the paper's table and the usual list of corner cases.
KNOWN = [
    ("", "01"),
    ("00", "0101"),
    ("0000", "010101"),
    ("001100", "01021101"),
    ("11220033", "0311220233"),
    ("11223344", "0511223344"),
    ("11000000", "0211010101"),
]


@pytest.mark.parametrize(("body", "encoded"), KNOWN)
def test_known_pairs(body: str, encoded: str):
    assert cobs.encode(bytes.fromhex(body)).hex() == encoded
    assert cobs.decode(bytes.fromhex(encoded)).hex() == body


def test_blocks_of_254():
    run = bytes(range(1, 255))
    assert cobs.encode(run) == b"\xff" + run
    assert cobs.encode(run + b"\xff") == b"\xff" + run + b"\x02\xff"
    assert cobs.encode(b"\x00" + run) == b"\x01\xff" + run
    assert cobs.encode(run + b"\x00") == b"\xff" + run + b"\x01\x01"
    # The optional further code byte, which other encoders write.
    assert cobs.decode(b"\xff" + run + b"\x01") == run


@given(st.one_of(st.binary(max_size=1100), st.integers(0, 1100).map(lambda n: b"\x07" * n)))
def test_round_trip_without_zeros(body: bytes):
    encoded = cobs.encode(body)
    assert 0 not in encoded
    assert len(encoded) <= len(body) + max(1, -(-len(body) // 254))
    assert cobs.decode(encoded) == body


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(encoded: bytes):
    try:
        body = cobs.decode(encoded)
    except CodecError as error:
        assert error.reason == "cobs"
    else:
        assert len(body) < len(encoded)
        assert cobs.decode(cobs.encode(body)) == body
