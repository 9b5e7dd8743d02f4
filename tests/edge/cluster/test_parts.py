"""A window as bytes and back, and the outbox: what is kept, sent again and given up."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cluster.outbox import IN_FLIGHT, Outbox
from edge.cluster.window import Cut, WindowError, decode, encode
from edge.sources.base import Closed
from edge.types import Window
from tests.edge.agent.helpers import FakeTime

pytestmark = pytest.mark.cluster


def cut(values: np.ndarray, valid: np.ndarray | None = None, **more: Any) -> Cut:
    valid = np.ones(len(values), bool) if valid is None else valid
    made = Window("s1", "e", 16, 1.8e9, 100.0, values.astype(np.float32), valid, missing=int((~valid).sum()), **more)
    return Cut(made, 5, "boot")


def same(a: Cut, b: Cut) -> bool:
    x, y = a.window, b.window
    plain = [(w.stream, w.epoch, w.first_index, w.t0, w.rate_hz, w.missing, w.padded, w.crc_errors) for w in (x, y)]
    arrays = np.array_equal(x.values, y.values) and np.array_equal(x.valid, y.valid)
    return arrays and plain[0] == plain[1] and (a.seq, a.boot_id) == (b.seq, b.boot_id)


@given(st.lists(st.floats(-4e4, 4e4, width=32), min_size=1, max_size=70), st.booleans(), st.integers(0, 2**31))
def test_a_window_comes_back_as_it_was(values: list[float], whole: bool, seed: int):
    array = np.array(values, np.float32)[:, None]
    array = np.rint(array) if whole else array
    valid = np.random.default_rng(seed).random(len(array)) > 0.2
    made = cut(array, valid, crc_errors=3)
    assert same(decode(encode(made)), made)


def test_whole_numbers_take_half_the_room():
    rng = np.random.default_rng(0)
    whole, real = np.rint(rng.normal(0, 100, (9000, 1))), rng.normal(0, 100, (9000, 1))
    assert len(encode(cut(whole))) < 18_500
    assert len(encode(cut(real))) > 36_000
    assert len(encode(cut(np.full((4, 1), 4e4)))) > len(encode(cut(np.full((4, 1), 3e4))))


@given(st.binary(max_size=400))
def test_any_bytes_are_a_window_or_our_error(data: bytes):
    with pytest.raises(WindowError):
        decode(data)


@given(st.integers(0, 400), st.integers(0, 255), st.integers(0, 400))
def test_damage_is_a_window_or_our_error(at: int, byte: int, end: int):
    data = bytearray(encode(cut(np.arange(64.0)[:, None])))
    data[at % len(data)] = byte
    try:
        decoded = decode(bytes(data[: len(data) - end]))
    except WindowError:
        return
    assert decoded.window.values.shape[0] >= 1
    assert same(decode(encode(decoded)), decoded)


@pytest.mark.parametrize(
    "change",
    [
        (b'"shape":[64,1]', b'"shape":[1048577,64]'),
        (b'"shape":[64,1]', b'"shape":[true,1]'),
        (b'"type":"i2"', b'"type":"f8"'),
        (b'"t0":1800000000.0', b'"t0":NaN'),
        (b'"t0":1800000000.0', b'"t0":1e400'),
        (b'"stream":"s1"', b'"stream":"a/b"'),
        (b'"seq":5', b'"seq":-5'),
    ],
)
def test_a_head_that_lies_is_refused(change: tuple[bytes, bytes]):
    data = encode(cut(np.arange(64.0)[:, None]))
    assert change[0] in data
    with pytest.raises(WindowError):
        decode(data.replace(*change))


def outbox(cap: int = 4) -> tuple[Outbox, FakeTime]:
    time_ = FakeTime()
    return Outbox(cap, 10.0, time_.clock.monotonic), time_


def test_a_window_goes_again_until_its_result_comes_ever_more_seldom():
    box, time_ = outbox()
    box.put("a", "t", b"x")
    sent_at = []
    for _ in range(100):
        for parcel in box.due(0.0):
            sent_at.append(time_.now - 1000.0)
            box.sent(parcel, len(sent_at))
            box.acked(len(sent_at))
        time_.pass_s(1.0)
    assert sent_at == [0.0, 10.0, 30.0, 70.0]
    box.answered("a")
    time_.pass_s(1000.0)
    assert box.due(0.0) == []
    assert (len(box), box.answered_count, box.repeated) == (0, 1, 3)


def test_full_it_lets_go_of_what_the_broker_has_and_waits_for_what_it_has_not():
    box, _ = outbox(cap=2)
    box.put("a", "t", b"x")
    box.put("b", "t", b"x")
    for mid, parcel in enumerate(box.due(0.0)):
        box.sent(parcel, mid)
    box.acked(0)
    box.put("c", "t", b"x")
    assert (len(box), box.given_up) == (2, 1)
    raised: list[bool] = []

    def blocked() -> None:
        try:
            box.put("d", "t", b"x")
        except Closed:
            raised.append(True)

    thread = threading.Thread(target=blocked)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive(), "a window that nobody has taken was thrown away"
    box.close()
    thread.join(5)
    assert raised == [True]


def test_only_so_many_are_on_their_way_and_a_new_connection_starts_anew():
    box, time_ = outbox(cap=500)
    for at in range(200):
        box.put(str(at), "t", b"x")
    first = box.due(0.0)
    assert len(first) == IN_FLIGHT
    for mid, parcel in enumerate(first):
        box.sent(parcel, mid)
    assert box.due(0.0) == []
    box.reconnected()
    assert len(box.due(0.0)) == IN_FLIGHT
    assert box.unsent == 200
    time_.pass_s(10.0)
    assert box.due(0.0)[0].id == "0"
