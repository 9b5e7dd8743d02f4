"""What the simulated device sends, fault by fault, without a port."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.auth import CounterStore, Guard
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.errors import FirmwareBridgeError
from firmware_bridge.faults import Faults, FaultyLine, parse_faults
from firmware_bridge.recordings import Recording
from firmware_bridge.simulated_device import DeviceSettings, SimulatedDevice

SIGNAL = (np.sin(np.arange(3000) / 9) * 500).astype(np.int16)[:, None]
RECORD = Recording("r", 300.0, (m.Channel("ecg", "uV", 4.8828125),), digital=SIGNAL)
KEY = bytes(range(16))


def play(
    device: SimulatedDevice, recording: Recording = RECORD, guard: Guard | None = None
) -> list[m.Decoded]:
    decoder = FrameDecoder("binary", guard=guard)
    items = [item for frame in device.start(recording) for item in decoder.feed(frame)]
    for _, frames in device.play():
        items += [item for frame in frames for item in decoder.feed(frame)]
    return items


def blocks(items: list[m.Decoded]) -> list[m.Samples]:
    return [item for item in items if isinstance(item, m.Samples)]


@pytest.mark.parametrize("pack", [False, True])
def test_plays_a_recording_whole(pack: bool):
    items = play(SimulatedDevice(DeviceSettings(pack=pack)))
    assert isinstance(items[0], m.Hello)
    assert items[0].channels == RECORD.channels
    samples = blocks(items)
    assert np.array_equal(np.concatenate([s.values for s in samples]), SIGNAL)
    assert [s.seq for s in samples] == list(range(0, 3000, 32))
    assert [s.end for s in samples] == [False] * (len(samples) - 1) + [True]
    assert samples[3].device_time_us == round(96 / 300 * 1e6)
    # 10 s: HELLO every 2, STATUS every 5.
    assert sum(isinstance(item, m.Hello) for item in items) == 5
    assert sum(isinstance(item, m.Status) for item in items) >= 2


def test_frames_are_ready_when_their_last_sample_is():
    device = SimulatedDevice(DeviceSettings(block_samples=30))
    device.start(RECORD)
    assert [due for due, _ in device.play()][:3] == [0.1, 0.2, 0.3]


def test_each_recording_is_an_epoch_of_its_own():
    device = SimulatedDevice(DeviceSettings(boot=5))
    first, second = play(device), play(device)
    assert {x.boot for x in first if isinstance(x, m.Hello)} == {5}
    assert {x.boot for x in second if isinstance(x, m.Hello)} == {6}
    assert blocks(second)[0].seq == 0


def test_many_channels_are_sent_in_shorter_blocks():
    wide = Recording(
        "w", 100.0, tuple(m.Channel(f"c{i}", "1") for i in range(16)), digital=np.ones((200, 16), np.int16)
    )
    samples = blocks(play(SimulatedDevice(DeviceSettings(block_samples=255, key=KEY)), wide))
    assert sum(len(s.values) for s in samples) == 200
    assert max(len(s.values) for s in samples) == 30


def test_empty_recording_is_an_end():
    empty = Recording("e", 300.0, RECORD.channels, digital=np.empty((0, 1), np.int16))
    samples = blocks(play(SimulatedDevice(), empty))
    assert [(len(s.values), s.end) for s in samples] == [(0, True)]


def test_lost_values_are_lead_off():
    physical = SIGNAL.astype(np.float32).repeat(2, axis=1)
    physical[40:44, 1] = np.nan
    record = Recording("r", 300.0, (m.Channel("a", "uV"), m.Channel("b", "uV")), analog=physical)
    samples = blocks(play(SimulatedDevice(), record))
    assert [s.lead_off for s in samples[:3]] == [0, 2, 0]
    assert samples[1].values[8, 1] == 0


def test_tap_alters_what_is_sent():
    seen: list[int] = []

    def tap(values: np.ndarray, first: int) -> np.ndarray:
        seen.append(first)
        return values + 3

    samples = blocks(play(SimulatedDevice(tap=tap)))
    assert np.array_equal(np.concatenate([s.values for s in samples]), SIGNAL + 3)
    assert seen == list(range(0, 3000, 32))


def answer(device: SimulatedDevice, command: m.Command) -> list[m.Decoded]:
    return [x for frame in device.receive(codec.encode(command)) for x in FrameDecoder("binary").feed(frame)]


def test_commands_are_answered():
    device = SimulatedDevice(DeviceSettings(ring_blocks=4))
    play(device)
    assert [type(x) for x in answer(device, m.Command(1, m.Verb.HELLO))] == [m.Ack, m.Hello]
    # 3000 samples: the last blocks start at 2880, 2912, 2944, 2976.
    ack, *resent = answer(device, m.Command(2, m.Verb.RESEND, 2900, 2950))
    assert ack == m.Ack(2, m.Verb.RESEND, m.AckResult.DONE, 2880)
    assert [s.seq for s in blocks(resent)] == [2880, 2912, 2944]
    assert np.array_equal(blocks(resent)[0].values, SIGNAL[2880:2912])
    ack, *resent = answer(device, m.Command(3, m.Verb.RESEND, 2800, 2890))
    assert ack == m.Ack(3, m.Verb.RESEND, m.AckResult.PARTIAL, 2880)
    assert len(resent) == 1
    assert answer(device, m.Command(4, m.Verb.RESEND, 0, 32)) == [m.Ack(4, m.Verb.RESEND, m.AckResult.GONE)]
    assert answer(device, m.Command(5, 77)) == [m.Ack(5, 77, m.AckResult.UNKNOWN_VERB)]
    device.receive(codec.encode(m.Verdict(0, 9000, 0, "N", 0.9, 0)))
    assert device.verdicts[-1].label == "N"
    assert device.receive(b"\x55" * 3000 + b"\x00") == []


def test_stopped_it_goes_on_counting():
    device = SimulatedDevice()
    device.start(RECORD)
    decoder, samples = FrameDecoder("binary"), []
    for number, (_, frames) in enumerate(device.play()):
        samples += blocks([item for frame in frames for item in decoder.feed(frame)])
        if number == 9:
            device.receive(codec.encode(m.Command(1, m.Verb.STOP)))
            break
    for number, (_, frames) in enumerate(device.play()):
        assert number >= 0 and frames  # nothing comes while it is stopped
    assert len(samples) == 10


def test_a_device_that_only_sends_answers_nothing():
    device = SimulatedDevice(DeviceSettings(ring_blocks=0))
    items = play(device)
    assert not items[0].obeys_commands
    assert device.receive(codec.encode(m.Command(1, m.Verb.HELLO))) == []


def test_tagged_frames_pass_a_guard_and_forged_ones_do_not():
    guard = Guard({"sim-1": KEY}, CounterStore())
    items = play(SimulatedDevice(DeviceSettings(key=KEY)), guard=guard)
    assert not [x for x in items if isinstance(x, m.BadFrame)]
    guard = Guard({"sim-1": KEY}, CounterStore())
    items = play(SimulatedDevice(DeviceSettings(key=KEY), Faults(wrong_key=0.2, seed=2)), guard=guard)
    reasons = {x.reason for x in items if isinstance(x, m.BadFrame)}
    assert "tag_wrong" in reasons
    assert reasons <= {"tag_wrong", "unidentified"}


def test_reset_starts_again_under_a_new_number():
    items = play(SimulatedDevice(faults=Faults(reset=0.05, seed=4)))
    boots = {x.boot for x in items if isinstance(x, m.Hello)}
    assert len(boots) >= 2
    assert [s.seq for s in blocks(items)].count(0) == len(boots)
    assert np.array_equal(np.concatenate([s.values for s in blocks(items)]), SIGNAL)


def test_stuck_and_lead_off_last_a_second():
    items = play(SimulatedDevice(faults=Faults(stuck=0.03, lead_off=0.03, seed=1)))
    samples = blocks(items)
    railed = [s for s in samples if s.lead_off & 1]
    assert 5 <= len(railed) < len(samples)
    assert all((s.values == 32767).all() for s in railed)
    stuck = [s for s in samples if not s.lead_off and (s.values == s.values[0]).all()]
    assert len(stuck) >= 5


def test_drift_is_in_the_device_time():
    samples = blocks(play(SimulatedDevice(faults=Faults(drift_ppm=50))))
    last = samples[-1]
    assert last.device_time_us == pytest.approx(last.seq / 300 * 1e6 * (1 + 50e-6), abs=1)


def test_faults_are_repeatable_and_independent():
    def sent(faults: Faults) -> list[bytes]:
        line = FaultyLine(faults, b"\x00")
        out = [part for n in range(400) for part in line.send(bytes([1 + n % 200, 7, 0]))]
        return out + line.flush()

    base = sent(Faults(drop=0.1, seed=5))
    assert sent(Faults(drop=0.1, seed=5)) == base
    assert sent(Faults(drop=0.1, seed=6)) != base
    assert sent(Faults(drop=0.1, seed=6, seeds={"drop": 5})) == base
    # Corrupting too does not change which frames are dropped.
    assert len(sent(Faults(drop=0.1, corrupt=0.3, seed=5))) == len(base)
    assert 300 < len(base) < 395


def test_each_fault_of_the_line_does_what_it_says():
    frames = [bytes([n, 9, 0]) for n in range(1, 201)]

    def sent(faults: Faults) -> list[bytes]:
        line = FaultyLine(faults, b"\x00")
        return [part for frame in frames for part in line.send(frame)] + line.flush()

    assert sent(Faults()) == frames
    assert sent(Faults(drop=1.0)) == []
    assert sent(Faults(duplicate=1.0)) == [f for frame in frames for f in (frame, frame)]
    reordered = sent(Faults(reorder=0.3, seed=1))
    assert reordered != frames
    assert sorted(reordered) == frames
    corrupted = sent(Faults(corrupt=1.0, seed=1))
    assert all(a != b and a[-1] == 0 for a, b in zip(corrupted, frames, strict=True))


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["foo=1"], "unknown fault 'foo'"),
        (["drop"], "NAME=NUMBER"),
        (["drop=x"], "NAME=NUMBER"),
        (["drop=0.1@x"], "NAME=NUMBER"),
        (["drop=2"], "probability"),
        (["drop=nan"], "probability"),
        (["jitter_ms=-1"], "jitter_ms"),
    ],
)
def test_bad_fault_texts(texts: list[str], says: str):
    with pytest.raises(FirmwareBridgeError, match=says):
        parse_faults(texts)


def test_fault_texts():
    faults = parse_faults(["drop=0.1@7", "wrong-key=0.5", "drift_ppm=-20"], seed=3)
    assert (faults.drop, faults.wrong_key, faults.drift_ppm) == (0.1, 0.5, -20.0)
    assert (faults.seed, faults.seeds) == (3, {"drop": 7})
