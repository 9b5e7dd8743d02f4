"""A device's messages as blocks, and the serial source around them."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import InputSpec
from edge.config import NodeSettings, SerialSource
from edge.metrics import Metrics
from edge.names import is_name
from edge.sources.answers import to_verdict
from edge.sources.device import CsvSpec, DeviceTracker
from edge.sources.serial import SerialDevice
from edge.sources.trust import DeviceIds, SerialShared, TrustError, state_dir
from edge.types import Result, Window
from firmware_bridge import codec
from firmware_bridge.auth import write_key
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.messages import (
    BadFrame,
    Channel,
    Command,
    CsvSamples,
    Hello,
    Samples,
    Status,
    Verb,
    Verdict,
)
from tests.edge.agent.helpers import Collector, FakeTime, result

SPEC = InputSpec(("ecg",), "uV", 100.0, 64, 16)
HELLO = Hello("dev-1", "fw 1", 100.0, (Channel("ecg", "uV", 0.5, 10.0),), boot=3)


def samples(seq: int, values: list[int], **more) -> Samples:
    return Samples(seq, seq * 10_000 % 2**32, np.asarray(values, np.int16).reshape(-1, 1), **more)


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


@dataclass
class Port:
    """A port that gives what it is told to and keeps what is written."""

    script: list[bytes | str] = field(default_factory=list)
    time: FakeTime = field(default_factory=FakeTime)
    device: str = "/dev/ttyX"
    connections: int = 1
    problem: str = ""
    written: bytes = b""
    closed: int = 0

    def read(self, timeout_s: float) -> bytes:
        self.time.pass_s(timeout_s)
        item = self.script.pop(0) if self.script else b""
        if item == "replug":
            self.connections += 1
            return b""
        assert isinstance(item, bytes)
        return item

    def write(self, data: bytes) -> bool:
        self.written += data
        return True

    def close(self) -> None:
        self.closed += 1

    def asked(self) -> list[int]:
        return [m.verb for m in FrameDecoder("binary").feed(self.written) if isinstance(m, Command)]


def serial(port: Port, metrics: Metrics | None = None, **settings) -> SerialDevice:
    made = SerialDevice(
        SerialSource(port="/dev/ttyX", **settings),
        SPEC,
        metrics or Metrics(),
        clock=port.time.clock,
        open_stream=lambda name, baud: port,
    )
    made._open()
    return made


def steps(source: SerialDevice, count: int) -> Collector:
    collector = Collector()
    for _ in range(count):
        source.step(collector)
    return collector


def test_serial_frames_become_blocks():
    frames = codec.encode(HELLO) + codec.encode(samples(0, [1, 2])) + codec.encode(samples(2, [3]))
    port = Port([b"\x00" + frames[:11], frames[11:-5], frames[-5:]])
    got = steps(serial(port), 3).blocks
    assert [(b.first_index, len(b.values)) for b in got] == [(0, 2), (2, 1)]


def test_serial_asks_for_hello_until_it_comes_and_starts_a_device_that_obeys():
    port = Port([b"\x00"])
    source = serial(port)
    steps(source, 10)
    asked = port.asked().count(Verb.HELLO)
    assert 2 <= asked <= 4  # 2.5 s, once a second
    obeys = Hello("dev-1", "", 100.0, HELLO.channels, boot=1, obeys_commands=True)
    port.script = [codec.encode(obeys), codec.encode(obeys)]
    steps(source, 8)
    assert port.asked().count(Verb.HELLO) == asked
    assert port.asked().count(Verb.START) == 1


def test_serial_hello_never_sent_is_counted_and_said_once(caplog: pytest.LogCaptureFixture):
    metrics = Metrics()
    port = Port([b"\x00" + codec.encode(samples(0, [1, 2])), codec.encode(samples(2, [3, 4]))])
    with caplog.at_level(logging.WARNING):
        got = steps(serial(port, metrics, dialect="binary"), 4)
    assert got.blocks == []
    assert metrics.by("dropped") == {"no_hello": 4}
    assert len([r for r in caplog.records if "no_hello" in r.message]) == 1


def test_serial_after_unplugging_the_gap_shows():
    head = b"\x00" + codec.encode(HELLO)
    port = Port(
        [
            head + codec.encode(samples(0, [1, 2])) + b"\x05half",
            "replug",
            head + codec.encode(samples(9, [3])),
        ]
    )
    got = steps(serial(port), 3).blocks
    assert [b.first_index for b in got] == [0, 9]
    assert got[0].epoch == got[1].epoch


def test_serial_silence_is_reported_and_the_port_opened_again(caplog: pytest.LogCaptureFixture):
    port = Port()
    source = serial(port, silence_s=1.0)
    with caplog.at_level(logging.WARNING):
        steps(source, 5)
        assert port.closed >= 1
        assert "check baud rate and wiring" in str(source.status()["error"])
        port.script = [b"\x00" + codec.encode(HELLO)]
        steps(source, 1)
    assert source.status()["error"] == ""
    assert [r.message for r in caplog.records if "sends again" in r.message]


def test_serial_silence_after_end_is_none():
    port = Port([b"\x00" + codec.encode(HELLO) + codec.encode(samples(0, [1], end=True))])
    steps(serial(port, silence_s=1.0), 20)
    assert port.closed == 0


def test_serial_slow_sensors_are_not_silent():
    slow = Hello("dev-1", "", 1.0, HELLO.channels, boot=1)
    port = Port([b"\x00" + codec.encode(slow)])
    steps(serial(port, silence_s=1.0), 20)  # five seconds
    assert port.closed == 0


def test_serial_port_that_is_absent_is_in_the_status():
    port = Port(problem="/dev/ttyX is busy: another program has it open; close that first", connections=0)
    source = serial(port)
    steps(source, 20)
    assert "busy" in str(source.status()["error"])
    assert port.written == b""
    assert port.closed == 0


def test_serial_lines_with_a_rate():
    port = Port([b"ecg\n1\n2\n3\n", b"4\n5\n"])
    got = steps(serial(port, rate_hz=100.0), 2).blocks
    assert np.concatenate([b.values[:, 0] for b in got]).tolist() == [1, 2, 3, 4, 5]
    assert {(b.stream, b.units) for b in got} == {("ttyX", ("uV",))}


def judged(first: int, label: str = "normal", epoch: str = "dev-1.00000003@100") -> tuple[Window, Result]:
    valid = np.ones(64, bool)
    window = Window("dev-1", epoch, first, 1.8e9, 100.0, np.zeros((64, 1), np.float32), valid, 0, 0, 0)
    return window, result(stream="dev-1", label=label)


def verdicts(port: Port) -> list[tuple[int, str]]:
    return [(v.seq, v.label) for v in FrameDecoder("binary").feed(port.written) if isinstance(v, Verdict)]


def obeying(port: Port, **settings) -> SerialDevice:
    port.script.append(b"\x00" + codec.encode(replace(HELLO, obeys_commands=True)))
    source = serial(port, **settings)
    steps(source, 1)
    return source


def test_verdicts_are_rate_limited_and_a_change_is_told_at_once():
    port = Port()
    source = obeying(port)
    for at in range(12):  # a look each 0.25 s
        source.answer(*judged(at, "other" if at == 6 else "normal"))
        steps(source, 1)
    assert verdicts(port) == [(0, "normal"), (4, "normal"), (6, "other"), (7, "normal"), (11, "normal")]


def test_only_the_newest_verdict_waits():
    port = Port()
    source = obeying(port)
    for at in range(10_000):
        source.answer(*judged(at))
    steps(source, 20)
    assert verdicts(port) == [(9999, "normal")]


def test_a_port_that_takes_nothing_holds_up_nobody_but_its_reader():
    port, stuck, free = Port(), threading.Event(), threading.Event()

    def write(data: bytes) -> bool:
        stuck.set()
        return free.wait(30)

    source = obeying(port)
    port.write = write  # type: ignore[method-assign]
    source.answer(*judged(0))
    reader = threading.Thread(target=steps, args=(source, 1))
    reader.start()
    try:
        assert stuck.wait(10)
        for at in range(1000):
            source.answer(*judged(at))
        assert reader.is_alive()  # it still waits for the port, and we have not
    finally:
        free.set()
        reader.join(10)


@pytest.mark.parametrize(
    ("hello", "settings", "window"),
    [
        (replace(HELLO, obeys_commands=False), {}, {}),
        (replace(HELLO, obeys_commands=True), {"verdicts": False}, {}),
        (replace(HELLO, obeys_commands=True), {"stream": "bed-1"}, {}),
        (replace(HELLO, obeys_commands=True), {}, {"epoch": "dev-1.00000002@100"}),
    ],
    ids=["one-way device", "switched off", "of another stream", "of another epoch"],
)
def test_verdicts_that_are_not_sent(hello: Hello, settings: dict, window: dict):
    port = Port([b"\x00" + codec.encode(hello)])
    source = serial(port, **settings)
    steps(source, 1)
    source.answer(*judged(0, **window))
    steps(source, 3)
    assert verdicts(port) == []


def test_verdict_counts_in_the_devices_samples():
    window, answer = judged(32)
    hello = replace(HELLO, rate_hz=250.0)
    told = to_verdict(replace(window, padded=4), replace(answer, label="é" * 20), hello)
    assert (told.seq, told.count) == (80, 150)
    assert told.label == "é" * 16  # 32 bytes, and no half letter
    assert told.label_index is None
    assert to_verdict(window, answer, hello).label_index == 0


def test_a_device_that_left_gives_its_id_to_the_other_port():
    ids = DeviceIds()
    assert [ids.claim("a", port) for port in ("p1", "p2", "p1")] == ["p1"] * 3
    ids.release("p1")
    assert ids.claim("a", "p2") == "p2"


def test_keys_and_counters_that_cannot_be_used_are_named(tmp_path: Path):
    node = NodeSettings(id="gw1", state_dir=tmp_path / "state")
    with pytest.raises(TrustError, match="holds no file DEVICE_ID"):
        SerialShared().trust(SerialSource(key_folder=tmp_path), node)
    with pytest.raises(TrustError, match="No such file"):
        SerialShared().trust(SerialSource(key_file=tmp_path / "none.key"), node)
    write_key(tmp_path / "dev-1.key")
    (tmp_path / "dev-1.key").chmod(0o644)
    with pytest.raises(TrustError, match="chmod 600"):
        SerialShared().trust(SerialSource(key_folder=tmp_path), node)
    (tmp_path / "dev-1.key").chmod(0o600)
    assert SerialShared().trust(SerialSource(key_folder=tmp_path), node) is not None
    (tmp_path / "state" / "replay-counters-gw1.json").write_text("{}")
    with pytest.raises(TrustError, match="restore or delete"):
        SerialShared().trust(SerialSource(key_folder=tmp_path), node)
    assert SerialShared().trust(SerialSource(), node) is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"key_file": "a", "key_folder": "b"}, "keep one"),
        ({"require_tag": True}, "needs a key"),
        ({"key_file": "a", "dialect": "csv"}, "carry no tag"),
    ],
)
def test_settings_of_keys_that_contradict_each_other(settings: dict, says: str):
    with pytest.raises(ValueError, match=says):
        SerialSource(**settings)


def test_counters_are_kept_in_systemds_folder_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_dir(NodeSettings(id="gw1")) == tmp_path / "wavewall"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/wavewall:/var/lib/other")
    assert state_dir(NodeSettings(id="gw1")) == Path("/var/lib/wavewall")


def test_serial_noise_is_counted_and_raises_nothing():
    metrics = Metrics()
    noise = np.random.default_rng(1).integers(0, 256, 20_000, dtype=np.uint8).tobytes()
    port = Port([noise[at : at + 997] for at in range(0, len(noise), 997)])
    assert steps(serial(port, metrics), 30).blocks == []
    assert metrics.count("dropped") > 0


def test_serial_stream_names_are_names():
    port = Port([b"1\n2\n3\n4\n"])
    source = SerialDevice(
        SerialSource(port="socket://host:7/x y", rate_hz=10.0),
        SPEC,
        Metrics(),
        clock=port.time.clock,
        open_stream=lambda name, baud: port,
    )
    source._open()
    (block, *_) = steps(source, 2).blocks
    assert is_name(block.stream)
