"""A record of the recorder: to bytes and back, alone and in groups, and found where it is damaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.recorder.record import (
    BLOCK,
    Decoder,
    Encoder,
    Mark,
    RecordError,
    open_record,
    read_mark,
    whole_units,
)
from edge.recorder.segments import read_records
from edge.types import SampleBlock
from tests.edge.agent.helpers import block


def same(a: SampleBlock, b: SampleBlock) -> bool:
    return replace(a, values=b.values) == b and np.array_equal(a.values, b.values, equal_nan=True)


BLOCKS = [
    block([1, 2, 3]),
    block([1.5, -2.25, 1e9], "s2", 7, end=True, lead_off=True, crc_errors=3),
    block(np.zeros(0)),
    block([np.nan, 40_000.0, np.inf]),
    block([-32_768, 32_767]),
    replace(
        block(np.ones(4)),
        values=np.ones((2, 2), np.float32),
        channels=("a", "b"),
        units=("uV", "mV"),
        epoch="é\n",
    ),
]


def whole(each: SampleBlock) -> bool:
    v = each.values
    return bool(np.all((v == np.rint(v)) & (v >= -32_768) & (v <= 32_767)))


@pytest.mark.parametrize("each", BLOCKS)
def test_a_block_comes_back_as_it_was(each: SampleBlock):
    with np.errstate(invalid="ignore"):
        data = memoryview(Encoder().block(5, each, aligned=True, origin=-3, arrival=1.8e9))
    kind, number, payload = open_record(data, 0)
    again = Decoder().block(number, payload)
    assert (kind, again.number, again.aligned, again.origin, again.arrival) == (BLOCK, 5, True, -3, 1.8e9)
    assert same(again.block, each)


def test_whole_numbers_take_half_the_room():
    whole, parts = (
        len(Encoder().block(1, block(v), aligned=False, origin=0, arrival=0.0))
        for v in (np.arange(1000), np.arange(1000) + 0.5)
    )
    assert whole < 0.6 * parts


@pytest.mark.parametrize("group", [BLOCKS, [b for b in BLOCKS if whole(b)], [block(np.ones(200_000))] * 2])
def test_blocks_looked_at_together_give_the_same_records(group: list[SampleBlock]):
    told = {"aligned": False, "origin": 0, "arrival": 0.0}
    with np.errstate(invalid="ignore"):
        together = [
            Encoder().block(1, each, **told, whole=small)
            for each, small in zip(group, whole_units(group), strict=True)
        ]
        assert together == [Encoder().block(1, each, **told) for each in group]
    if all(map(whole, group)) and sum(each.values.size for each in group) < 1 << 18:
        assert None not in whole_units(group)


def test_every_cut_and_every_altered_byte_is_found():
    with np.errstate(invalid="ignore"):
        data = Encoder().block(5, BLOCKS[1], aligned=False, origin=0, arrival=0.0)
    for size in range(len(data)):
        with pytest.raises(RecordError):
            open_record(memoryview(data[:size]), 0)
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= 0x41
        with pytest.raises(RecordError):
            open_record(memoryview(altered), 0)


def test_damage_costs_the_records_that_it_hits():
    encoder = Encoder()
    data = [encoder.block(n, block([n]), aligned=False, origin=0, arrival=0.0) for n in range(1, 8)]
    damaged: list[int] = []
    whole = bytearray(b"".join(data))
    whole[len(data[0]) * 3 + 9] ^= 1
    got = [raw.number for raw in read_records(bytes(whole) + b"WWR\x01tail", damaged.append)]
    assert got == [1, 2, 3, 5, 6, 7]
    assert sum(damaged) == len(data[3]) + 8


def test_a_mark_comes_back():
    _, _, payload = open_record(memoryview(Encoder().mark(9, Mark(8, 3))), 0)
    assert read_mark(payload) == Mark(8, 3)
    with pytest.raises(RecordError):
        read_mark(payload[:5])
