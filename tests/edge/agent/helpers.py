"""What the agent's tests share: blocks, results, clocks and doubles for the things at the rim."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edge.clock import Clock
from edge.errors import EdgeError
from edge.sources.base import Closed
from edge.types import Result, ResultWindow, SampleBlock
from tests.edge.tiny import RATE_HZ


class FakeTime:
    """Both clocks, moved by hand."""

    def __init__(self, monotonic: float = 1000.0, utc: float = 1_800_000_000.0) -> None:
        self.now, self.wall = monotonic, utc

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.wall)

    def pass_s(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


def attempt(call: Callable[[], Any], error: type[EdgeError]) -> Any:
    """The value, or None where it was refused with our error and a reason; any other error is a failure."""
    try:
        return call()
    except error as caught:
        says = str(caught)
    assert says
    return None


def block(
    values: Sequence[float] | np.ndarray, stream: str = "s1", first: int = 0, **changes: Any
) -> SampleBlock:
    made = SampleBlock(
        stream=stream,
        epoch="e",
        first_index=first,
        t0=1.8e9 + first / RATE_HZ,
        rate_hz=RATE_HZ,
        channels=("ecg",),
        units=("uV",),
        values=np.asarray(values, np.float32).reshape(-1, 1),
    )
    return replace(made, **changes)


def signal(n: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 80, n).astype(np.float32)


def result(id: str = "a", stream: str = "s1", **changes: Any) -> Result:
    made = Result(
        id=id,
        t=1.8e9,
        boot_id="b",
        seq=0,
        stream=stream,
        label="normal",
        score=0.9,
        probabilities={"normal": 0.9, "other": 0.1},
        status="ok",
        reason="",
        model="tiny@1.0.0",
        window=ResultWindow(1.8e9, 64, 100.0, 0, 0),
        disagreement=None,
        residual=None,
        latency_ms=1.0,
    )
    return replace(made, **changes)


@dataclass
class Message:
    """What paho hands to a handler."""

    topic: str
    payload: bytes
    qos: int = 1
    mid: int = 1
    dup: bool = False
    retain: bool = False


@dataclass
class Collector:
    """An `emit` that keeps everything; `closed` makes it refuse as a stopping agent does."""

    blocks: list[SampleBlock] = field(default_factory=list)
    accept: bool = True
    closed: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)

    def __call__(self, block: SampleBlock, on_accepted: Callable[[], None] | None = None) -> None:
        if self.closed:
            raise Closed("stopping")
        self.blocks.append(block)
        if on_accepted is None:
            return
        if self.accept:
            on_accepted()
        else:
            self.waiting.append(on_accepted)


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.setblocking(False)

    def told(self) -> list[str]:
        out = []
        while True:
            try:
                out += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return out

    def close(self) -> None:
        self._socket.close()
