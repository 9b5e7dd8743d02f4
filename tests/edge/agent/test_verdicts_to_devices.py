"""What a device is told of its samples."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from edge.sources.answers import to_verdict
from edge.sources.serial import SerialDevice
from edge.types import Result, Window
from firmware_bridge import codec
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.messages import Hello, Verdict
from tests.edge.agent.helpers import result
from tests.edge.agent.serial_rig import HELLO, Port, serial, steps


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
