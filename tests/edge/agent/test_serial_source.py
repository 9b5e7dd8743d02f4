"""The serial source around a device: asking it, silence, plugs pulled, lines, noise."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from edge.config import SerialSource
from edge.metrics import Metrics
from edge.names import is_name
from edge.sources.serial import SerialDevice
from firmware_bridge import codec
from firmware_bridge.messages import Hello, Verb
from tests.edge.agent.serial_rig import HELLO, SPEC, Port, samples, serial, steps


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
