"""A device as the tests of serial sources know it, and a port that it hangs on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edge.bundle import InputSpec
from edge.config import SerialSource
from edge.metrics import Metrics
from edge.sources.serial import SerialDevice
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.messages import Channel, Command, Hello, Samples
from tests.edge.agent.helpers import Collector, FakeTime

SPEC = InputSpec(("ecg",), "uV", 100.0, 64, 16)
HELLO = Hello("dev-1", "fw 1", 100.0, (Channel("ecg", "uV", 0.5, 10.0),), boot=3)


def samples(seq: int, values: list[int], **more) -> Samples:
    return Samples(seq, seq * 10_000 % 2**32, np.asarray(values, np.int16).reshape(-1, 1), **more)


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
