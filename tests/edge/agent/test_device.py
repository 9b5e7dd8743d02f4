"""A device's messages as blocks."""

from __future__ import annotations

import numpy as np
import pytest

from edge.sources.device import CsvSpec, DeviceTracker
from firmware_bridge.messages import BadFrame, CsvSamples, Hello, Status, Verb
from tests.edge.agent.serial_rig import HELLO, samples


class Told(list[tuple[str, int]]):
    def __call__(self, reason: str, message: str, n: int = 1) -> None:
        assert message
        self.append((reason, n))


def tracker(told: Told | None = None, **more) -> DeviceTracker:
    return DeviceTracker(None, Told() if told is None else told, lambda: 1.8e9, **more)


def test_hello_gives_rate_names_units_and_scale():
    device = tracker()
    assert device.push([HELLO], 0.0) == []
    (block,) = device.push([samples(0, [0, 1, -2])], 1.0)
    assert (block.stream, block.rate_hz, block.channels, block.units) == ("dev-1", 100.0, ("ecg",), ("uV",))
    assert block.values[:, 0].tolist() == [10.0, 10.5, 9.0]
    assert block.values.dtype == np.float32
    assert block.first_index == 0
    assert block.t0 == pytest.approx(1.8e9 + 1.0 - 0.02)


def test_samples_before_hello_are_counted_and_hello_is_asked_for():
    told = Told()
    device = tracker(told)
    assert device.push([samples(0, [1, 2])], 0.0) == []
    assert told == [("no_hello", 2)]
    assert [command.verb for command in device.commands(0.0)] == [Verb.HELLO]
    device.push([HELLO], 0.1)
    assert device.commands(5.0) == []


def test_a_lost_frame_is_a_gap_in_the_count():
    device = tracker()
    device.push([HELLO], 0.0)
    device.push([samples(0, [1, 2])], 0.0)
    (block,) = device.push([samples(7, [3, 4])], 0.0)
    assert block.first_index == 7


def test_the_count_goes_on_over_its_wrap():
    device = tracker()
    device.push([HELLO], 0.0)
    (one,) = device.push([samples(2**32 - 2, [1, 2])], 0.0)
    (other,) = device.push([samples(0, [3, 4])], 0.02)
    assert other.first_index == one.first_index + 2
    assert other.epoch == one.epoch


def test_a_restart_is_another_epoch_and_the_same_boot_the_same_one():
    device = tracker()
    device.push([HELLO], 0.0)
    (one,) = device.push([samples(0, [1, 2])], 0.0)
    other_boot = Hello("dev-1", "fw 1", 100.0, HELLO.channels, boot=4)
    device.push([other_boot], 1.0)
    (two,) = device.push([samples(0, [1, 2])], 1.0)
    assert two.epoch != one.epoch
    again = tracker()
    again.push([HELLO], 50.0)
    (late,) = again.push([samples(400, [1])], 50.0)
    assert (late.epoch, late.first_index) == (one.epoch, 400)


def test_a_restart_told_by_status_alone_waits_for_hello():
    told = Told()
    device = tracker(told)
    device.push([HELLO], 0.0)
    device.push([samples(0, [1])], 0.0)
    device.push([Status(5, boot=9)], 0.1)
    assert device.push([samples(0, [1])], 0.2) == []
    assert told == [("no_hello", 1)]


def test_another_rate_is_another_epoch():
    device = tracker()
    device.push([HELLO], 0.0)
    (one,) = device.push([samples(0, [1, 2])], 0.0)
    device.push([Hello("dev-1", "fw 1", 50.0, HELLO.channels, boot=3)], 0.0)
    (two,) = device.push([samples(2, [1, 2])], 0.0)
    assert (two.rate_hz, two.epoch != one.epoch) == (50.0, True)


def test_crc_errors_travel_with_the_next_block():
    told = Told()
    device = tracker(told)
    device.push([HELLO], 0.0)
    device.push([BadFrame("crc", 40)], 0.0)
    device.push([BadFrame("cobs", 40)], 0.0)
    device.push([BadFrame("malformed", 40)], 0.0)
    (block,) = device.push([samples(0, [1])], 0.0)
    assert block.crc_errors == 2
    assert [reason for reason, _ in told] == ["frame_crc", "frame_cobs", "frame_malformed"]
    (block,) = device.push([samples(1, [1])], 0.0)
    assert block.crc_errors == 0


def test_end_and_lead_off_are_handed_on():
    device = tracker()
    device.push([HELLO], 0.0)
    (block,) = device.push([samples(0, [1], end=True, lead_off=1)], 0.0)
    assert block.end
    assert block.lead_off
    (block,) = device.push([samples(1, [], end=True)], 0.0)
    assert block.values.shape == (0, 1)


def test_on_mqtt_repeats_are_dropped_and_do_not_look_like_a_restart():
    told = Told()
    device = tracker(told, resend=False)
    device.push([HELLO], 0.0)
    for seq in range(0, 50, 10):
        assert len(device.push([samples(seq, list(range(10)))], 0.0)) == 1
    for seq in range(0, 50, 10):
        assert device.push([samples(seq, list(range(10)))], 0.0) == []
    assert told == [("repeated", 10)] * 5
    (block,) = device.push([samples(50, [1])], 0.0)
    assert block.first_index == 50


def test_on_mqtt_frames_are_joined_only_behind_what_was_taken():
    told = Told()
    device = tracker(told, resend=False)
    device.push([HELLO, samples(0, [1, 2])], 0.0)
    frames = [samples(0, [1, 2]), samples(2, [3]), samples(3, [4, 5]), samples(9, [6])]
    blocks = device.push(frames, 0.0)
    assert told == [("repeated", 2)]
    assert [(b.first_index, len(b.values)) for b in blocks] == [(2, 3), (9, 1)]


@pytest.mark.parametrize("resend", [True, False])
def test_frames_that_came_together_become_one_block(resend: bool):
    device = tracker(resend=resend)
    frames = [HELLO, *(samples(seq, [seq, seq + 1]) for seq in range(0, 10, 2)), samples(10, [10], end=True)]
    (block,) = device.push(frames, 1.0)
    assert block.values[:, 0].tolist() == [10.0 + 0.5 * i for i in range(11)]
    assert (block.first_index, block.end) == (0, True)
    assert block.t0 == pytest.approx(1.8e9 + 1.0 - 0.1)


@pytest.mark.parametrize("resend", [True, False])
def test_frames_that_differ_stay_apart(resend: bool):
    device = tracker(resend=resend)
    other_boot = Hello("dev-1", "fw 1", 100.0, HELLO.channels, boot=4)
    frames = [
        HELLO,
        samples(0, [1, 2]),
        samples(2, [3], lead_off=1),
        samples(9, [4]),
        samples(10, [5], end=True),
        samples(11, [6]),
        other_boot,
        samples(0, [7]),
    ]
    blocks = device.push(frames, 1.0)
    assert [(b.first_index, len(b.values), b.lead_off, b.end) for b in blocks] == [
        (0, 2, False, False),
        (2, 1, True, False),
        (9, 2, False, True),
        (11, 1, False, False),
        (0, 1, False, False),
    ]
    assert blocks[4].epoch != blocks[3].epoch
    # Each is dated by the clock of its own epoch.
    assert [round(b.t0 - 1.8e9, 2) for b in blocks] == [0.89, 0.91, 0.98, 1.0, 1.0]


def test_lines_of_numbers():
    device = tracker(csv=CsvSpec("ttyUSB0", 100.0, (), "mV"))
    rows = CsvSamples(np.asarray([[1.0], [np.nan]]), ("ecg",))
    (one,) = device.push([rows], 5.0)
    (two,) = device.push([rows], 5.02)
    assert (one.stream, one.channels, one.units, one.rate_hz) == ("ttyUSB0", ("ecg",), ("mV",), 100.0)
    assert (one.first_index, two.first_index) == (0, 2)
    assert np.isnan(one.values[1, 0])
    assert device.commands(10.0) == []
    device.lost_connection()
    (three,) = device.push([rows], 9.0)
    assert three.first_index == 0
    assert three.epoch != one.epoch


def test_lines_without_a_rate_are_dropped_with_the_setting_to_make():
    told = Told()
    device = tracker(told, csv=CsvSpec("x", None, (), "mV"))
    assert device.push([CsvSamples(np.zeros((4, 1)), ("a",))], 0.0) == []
    assert told == [("no_rate", 4)]
    told.clear()
    device = tracker(told, csv=CsvSpec("x", 10.0, ("a", "b"), "mV"))
    assert device.push([CsvSamples(np.zeros((4, 1)), ("a",))], 0.0) == []
    assert told == [("bad_channels", 4)]
