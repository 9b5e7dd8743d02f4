"""Order, gaps, asking again, restarts: against a device that is simulated without a wire."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.faults import Faults, FaultyLine
from firmware_bridge.receiver import ASK_EVERY_S, ASK_TIMES, MAX_HELD_BLOCKS, Block, Receiver
from firmware_bridge.recordings import Recording
from firmware_bridge.simulated_device import DeviceSettings, SimulatedDevice

ECG = (m.Channel("ecg", "uV"),)
HELLO = m.Hello("d", "f", 300.0, ECG, 7, True, 640)
ONE_WAY = m.Hello("d", "f", 300.0, ECG, 7)
SIGNAL = (np.arange(3200) % 701 - 350).astype(np.int16)[:, None]


def block(seq: int, count: int = 32, *, end: bool = False) -> m.Samples:
    first = seq % len(SIGNAL)
    return m.Samples(seq % (1 << 32), 0, np.resize(np.roll(SIGNAL, -first, axis=0), (count, 1)), end)


def places(blocks: list[Block]) -> list[tuple[int, int]]:
    return [(b.first_index, b.first_index + len(b.samples.values)) for b in blocks]


def started(hello: m.Hello = HELLO) -> Receiver:
    receiver = Receiver()
    receiver.push(hello, 0.0)
    assert places(receiver.push(block(0), 0.0)) == [(0, 32)]
    return receiver


def test_in_order_passes_at_once():
    receiver = started()
    for seq in range(32, 3200, 32):
        assert places(receiver.push(block(seq), 0.0)) == [(seq, seq + 32)]
    assert receiver.commands(0.0) == []
    assert receiver.counters.gaps == 0
    assert receiver.epoch == "00000007"


def test_before_hello_samples_are_not_understood_and_hello_is_asked_for():
    receiver = Receiver()
    assert receiver.push(block(0), 0.0) == []
    assert receiver.counters.before_hello == 1
    assert [c.verb for c in receiver.commands(0.0)] == [m.Verb.HELLO]
    assert receiver.commands(0.5) == []
    assert [c.verb for c in receiver.commands(1.0)] == [m.Verb.HELLO]


def test_a_gap_is_asked_for_and_filled_in_order():
    receiver = started()
    assert receiver.push(block(96), 1.0) == []
    commands = receiver.commands(1.0)
    assert [(c.verb, c.first_seq, c.end_seq) for c in commands] == [(m.Verb.RESEND, 32, 96)]
    receiver.push(m.Ack(commands[0].id, m.Verb.RESEND, m.AckResult.DONE, 32), 1.1)
    assert places(receiver.push(block(32), 1.1)) == [(32, 64)]
    assert places(receiver.push(block(64), 1.1)) == [(64, 96), (96, 128)]
    assert receiver.counters.missing_samples == 0
    assert receiver.counters.filled_samples == 64
    assert receiver.commands(9.0) == []


def test_it_is_asked_three_times_and_then_given_up():
    receiver = started()
    receiver.push(block(64), 0.0)
    asked = sum(len(receiver.commands(t / 10)) for t in range(30) if receiver.poll(t / 10) == [])
    assert asked == ASK_TIMES
    receiver = started()
    receiver.push(block(64), 0.0)
    assert receiver.poll(ASK_EVERY_S * ASK_TIMES - 0.01) == []
    assert places(receiver.poll(ASK_EVERY_S * ASK_TIMES)) == [(64, 96)]
    assert receiver.counters.missing_samples == 32
    # Too late now: it would go backwards.
    assert receiver.push(block(32), 3.0) == []
    assert receiver.counters.repeats == 1


@pytest.mark.parametrize("result", [m.AckResult.GONE, m.AckResult.UNKNOWN_VERB, m.AckResult.BAD_ARGUMENT])
def test_what_is_gone_is_not_waited_for(result: m.AckResult):
    receiver = started()
    receiver.push(block(64), 0.0)
    command = receiver.commands(0.0)[0]
    assert places(receiver.push(m.Ack(command.id, command.verb, result), 0.1)) == [(64, 96)]


def test_a_part_that_is_gone_is_not_waited_for():
    receiver = started()
    receiver.push(block(128), 0.0)
    command = receiver.commands(0.0)[0]
    assert receiver.push(m.Ack(command.id, command.verb, m.AckResult.PARTIAL, 96), 0.1) == []
    assert places(receiver.push(block(96), 0.1)) == [(96, 128), (128, 160)]
    assert receiver.counters.missing_samples == 64


def test_busy_is_asked_again():
    receiver = started()
    receiver.push(block(64), 0.0)
    command = receiver.commands(0.0)[0]
    assert receiver.push(m.Ack(command.id, command.verb, m.AckResult.BUSY), 0.1) == []
    assert len(receiver.commands(0.5)) == 1


def test_only_what_the_device_holds_is_asked_for():
    receiver = started()
    receiver.push(block(3200), 0.0)
    command = receiver.commands(0.0)[0]
    assert (command.first_seq, command.end_seq) == (3200 - 640, 3200)
    assert receiver.counters.missing_samples == 3168


def test_one_way_link_passes_the_gap_on():
    receiver = started(ONE_WAY)
    assert places(receiver.push(block(96), 0.0)) == [(96, 128)]
    assert receiver.commands(5.0) == []
    assert (receiver.counters.gaps, receiver.counters.missing_samples) == (1, 64)


def test_without_resend_nothing_is_asked():
    receiver = Receiver(resend=False)
    receiver.push(HELLO, 0.0)
    receiver.push(block(0), 0.0)
    assert places(receiver.push(block(96), 0.0)) == [(96, 128)]
    assert receiver.commands(1.0) == []


def test_sequence_wraps():
    receiver = Receiver()
    receiver.push(HELLO, 0.0)
    start = (1 << 32) - 48
    assert places(receiver.push(block(start), 0.0)) == [(start, start + 32)]
    assert places(receiver.push(block(start + 32), 0.0)) == [(start + 32, start + 64)]
    receiver.push(block(start + 96), 0.0)
    command = receiver.commands(0.0)[0]
    assert (command.first_seq, command.end_seq) == (16, 48)
    assert places(receiver.push(block(start + 64), 0.0)) == [
        (start + 64, start + 96),
        (start + 96, start + 128),
    ]


def test_a_late_joiner_gets_the_beginning_if_it_is_still_held():
    receiver = Receiver()
    receiver.push(HELLO, 0.0)
    assert receiver.push(block(64), 0.0) == []
    assert (receiver.commands(0.0)[0].first_seq, receiver.counters.gaps) == (0, 1)
    receiver = Receiver()
    receiver.push(HELLO, 0.0)
    assert places(receiver.push(block(6400), 0.0)) == [(6400, 6432)]


def test_new_boot_starts_a_new_epoch_and_gives_out_what_was_held():
    receiver = started()
    receiver.push(block(64), 0.0)
    out = receiver.push(m.Hello("d", "f", 300.0, ECG, 8, True, 640), 0.1)
    assert [(b.epoch, b.first_index) for b in out] == [("00000007", 64)]
    out = receiver.push(block(0), 0.1)
    assert [(b.epoch, b.first_index) for b in out] == [("00000008", 0)]
    assert receiver.counters.restarts == 1


def test_status_tells_of_a_restart_whose_hello_was_lost():
    receiver = started()
    receiver.push(m.Status(0, 8), 0.0)
    assert receiver.epoch == ""
    assert [c.verb for c in receiver.commands(0.0)] == [m.Verb.HELLO]
    receiver.push(m.Status(0, 8), 0.0)
    receiver.push(m.Hello("d", "f", 300.0, ECG, 8), 0.1)
    assert [b.epoch for b in receiver.push(block(0), 0.1)] == ["00000008"]


@pytest.mark.parametrize("seq", [1 << 21, (1 << 32) - (1 << 21)])
def test_a_jump_is_a_restart(seq: int):
    receiver = started()
    assert receiver.push(block(seq), 0.0) == []
    assert receiver.hello is None
    # A device whose boot number does not rise still gets an epoch of its own.
    receiver.push(HELLO, 0.1)
    assert receiver.epoch == "00000007.1"


def test_a_device_that_restarted_unheard_is_noticed_by_its_repeats():
    receiver = started()
    for seq in range(32, 320, 32):
        receiver.push(block(seq), 0.0)
    for seq in (0, 32, 64):
        assert receiver.push(block(seq), 0.1) == []
    assert receiver.hello is None
    assert [c.verb for c in receiver.commands(0.1)] == [m.Verb.HELLO]


def test_another_number_of_channels_needs_a_new_hello():
    receiver = started()
    assert receiver.push(m.Samples(32, 0, np.zeros((4, 2), np.int16)), 0.0) == []
    assert receiver.hello is None


def test_another_rate_or_other_channels_are_another_epoch():
    receiver = started()
    receiver.push(block(64), 0.0)
    out = receiver.push(m.Hello("d", "f", 250.0, ECG, 7, True, 640), 0.0)
    assert [(b.epoch, b.first_index) for b in out] == [("00000007", 64)]
    out = receiver.push(block(6400), 0.0)
    assert [(b.epoch, b.hello.rate_hz) for b in out] == [("00000007.1", 250.0)]
    # The same said again changes nothing, nor does another scale.
    louder = m.Hello("d", "f", 250.0, (m.Channel("ecg", "uV", 2.0),), 7, True, 640)
    assert receiver.push(louder, 0.0) == []
    assert receiver.push(block(6432), 0.0)[0].hello == louder


def test_reconnecting_is_a_gap_of_the_same_epoch():
    receiver = started()
    receiver.push(block(96), 0.0)
    assert places(receiver.lost_connection()) == [(96, 128)]
    assert [c.verb for c in receiver.commands(0.0)] == [m.Verb.HELLO]
    receiver.push(HELLO, 5.0)
    assert receiver.epoch == "00000007"
    assert receiver.push(block(256), 5.0) == []
    assert (receiver.commands(5.0)[0].first_seq, receiver.commands(5.6)[0].end_seq) == (128, 256)


def test_end_passes_through():
    receiver = started()
    assert [b.samples.end for b in receiver.push(block(32, 8, end=True), 0.0)] == [True]
    assert [b.samples.end for b in receiver.push(block(40, 0, end=True), 0.0)] == [True]


def test_partly_missing_block_fills_only_its_gap():
    receiver = started()
    receiver.push(block(48), 0.0)
    late = receiver.push(block(16), 0.0)
    assert places(late) == [(32, 48), (48, 80)]
    assert np.array_equal(late[0].samples.values, SIGNAL[32:48])
    assert late[0].samples.seq == 32


def test_held_blocks_are_bounded():
    receiver = started()
    out: list[Block] = []
    for i in range(MAX_HELD_BLOCKS + 10):
        out += receiver.push(block(64 + 32 * i), 0.0)
        assert len(receiver._held) <= MAX_HELD_BLOCKS
    assert places(out)[0] == (64, 96)


def run(faults: Faults, *, resend: bool, ring: int = 64) -> tuple[list[Block], Receiver]:
    """A recording over a faulty line, with answers coming back at once."""
    device = SimulatedDevice(DeviceSettings(ring_blocks=ring), faults)
    recording = Recording("r", 300.0, ECG, digital=SIGNAL)
    up, decoder, receiver = FaultyLine(faults, b"\x00"), FrameDecoder("binary"), Receiver(resend=resend)
    out: list[Block] = []

    def send(frames: list[bytes], now_s: float) -> None:
        waiting = list(frames)
        while waiting:
            for part in up.send(waiting.pop(0)):
                for item in decoder.feed(part):
                    out.extend(receiver.push(item, now_s))
            for command in receiver.commands(now_s):
                waiting += device.receive(codec.encode(command))

    send(device.start(recording), 0.0)
    now_s = 0.0
    for now_s, frames in device.play():
        send(frames, now_s)
        out += receiver.poll(now_s)
    for step in range(30):
        send([], now_s + step / 10)
        out += receiver.poll(now_s + step / 10)
    return out, receiver


@pytest.mark.parametrize("seed", range(5))
def test_one_percent_loss_with_resend_is_complete(seed: int):
    out, receiver = run(Faults(drop=0.02, corrupt=0.01, reorder=0.02, duplicate=0.02, seed=seed), resend=True)
    assert places(out) == sorted(places(out))
    got = np.concatenate([b.samples.values for b in out])
    # Loss of the very last frames cannot be noticed by a later one.
    assert len(got) >= 3200 - 96
    assert np.array_equal(got, SIGNAL[: len(got)])
    assert receiver.counters.missing_samples == 0


def test_loss_without_resend_leaves_marked_gaps():
    out, receiver = run(Faults(drop=0.1, seed=1), resend=False)
    got = sum(len(b.samples.values) for b in out)
    first, last = places(out)[0][0], places(out)[-1][1]
    assert receiver.counters.gaps > 2
    assert last - first - got == receiver.counters.missing_samples
    for b in out:
        assert np.array_equal(b.samples.values, SIGNAL[b.first_index : b.first_index + len(b.samples.values)])


@settings(deadline=None, max_examples=60)
@example([HELLO, block(0, 1), m.Hello("d", "f", 300.0, ECG, 8, True, 64), HELLO, block(0, 1)])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 40), st.integers(0, 32)).map(lambda x: block(16 * x[0], x[1])),
            st.builds(m.Status, st.just(0), st.sampled_from([7, 8])),
            st.sampled_from([HELLO, ONE_WAY, m.Hello("d", "f", 300.0, ECG, 8, True, 64)]),
            st.builds(m.Ack, st.integers(1, 5), st.just(2), st.integers(0, 6), st.integers(0, 700)),
            st.just(block(1 << 24)),
        ),
        max_size=60,
    )
)
def test_whatever_comes_indices_rise_within_an_epoch(items: list):
    receiver = Receiver()
    running, after = "", 0
    for step, item in enumerate(items):
        now_s = step / 8
        for b in [*receiver.push(item, now_s), *receiver.poll(now_s)]:
            if b.epoch == running and len(b.samples.values):
                assert b.first_index >= after
            running, after = b.epoch, b.first_index + len(b.samples.values)
        receiver.commands(now_s)
        assert receiver.counters.missing_samples >= 0
