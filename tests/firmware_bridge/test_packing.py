from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from firmware_bridge import packing
from firmware_bridge.errors import CodecError

blocks = hnp.arrays(np.int16, st.tuples(st.integers(0, 255), st.integers(1, 4)))


@settings(deadline=None)
@given(blocks, st.sampled_from([None, 0, 1, 2]), st.binary(max_size=3))
def test_round_trip_in_every_order(values: np.ndarray, order: int | None, after: bytes):
    packed = packing.pack(values, order)
    back = packing.unpack(packed + after, *values.shape)
    assert back.dtype == np.int16
    assert np.array_equal(back, values)


def test_every_width_is_exact():
    # Amplitudes from one bit to the whole range; a width of 15 is sent as 16.
    for bits in range(17):
        top = (1 << bits) - 1
        values = np.array([0, top, 0, top >> 1, top, 1 & top, 0, top], dtype=np.uint16).view(np.int16)
        assert np.array_equal(packing.unpack(packing.pack(values[:, None], 0), 8, 1)[:, 0], values)


def test_smooth_signals_shrink_and_shortest_order_is_taken():
    line = (np.arange(32, dtype=np.int16) * 7)[:, None]
    assert len(packing.pack(line)) == min(len(packing.pack(line, order)) for order in (0, 1, 2))
    assert len(packing.pack(line)) < 12 < line.nbytes


@pytest.mark.parametrize("cut", range(12))
def test_truncated_is_malformed(cut: int):
    values = np.arange(0, 3200, 100, dtype=np.int16)[:, None] ** 2 % 5000
    packed = packing.pack(values.astype(np.int16), 1)
    assert len(packed) > 12
    with pytest.raises(CodecError) as caught:
        packing.unpack(packed[:cut], 32, 1)
    assert caught.value.reason == "malformed"


def test_unknown_order_is_malformed():
    with pytest.raises(CodecError, match="order 3"):
        packing.unpack(b"\x03\x00\x00", 1, 1)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 255), st.integers(1, 16))
def test_any_bytes_unpack_or_are_refused(data: bytes, count: int, channels: int):
    try:
        values = packing.unpack(data, count, channels)
    except CodecError as error:
        assert error.reason == "malformed"
    else:
        assert values.shape == (count, channels)
        assert np.array_equal(packing.unpack(packing.pack(values), count, channels), values)
