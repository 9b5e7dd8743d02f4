"""A real broker that can be stopped and started, the agent as a process, and a subscriber that keeps everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.mosquitto import Mosquitto as Broker
from edge.events import Event
from edge.types import Result
from tests.edge.tiny import tiny_bundle


def wait_for(ready: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """The first true value of `ready`; fails with `what` after the timeout."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        value = ready()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {timeout_s:g} s in vain for {what}")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Not started yet."""
    made = Broker(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "tiny.bundle")


class AgentProcess:
    """`edge-agent run` with these words; what it says is in `said()`."""

    def __init__(self, folder: Path, words: Sequence[object], env: Mapping[str, str] | None = None) -> None:
        self._err = folder / f"agent-{time.monotonic_ns()}.err"
        clean = {key: value for key, value in os.environ.items() if not key.startswith("WAVEWALL_")}
        with self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge.cli", "run", *map(str, words)],
                stdout=subprocess.DEVNULL,
                stderr=err,
                env={**clean, **(env or {})},
            )

    def said(self) -> str:
        return self._err.read_text(errors="replace")

    def ready(self) -> None:
        def look() -> bool:
            assert self.process.poll() is None, self.said()
            return "ready in" in self.said()

        wait_for(look, "the agent to be ready")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Exit code, and how long it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(20), time.monotonic() - began

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@contextmanager
def agent(
    folder: Path, *words: object, wait: bool = True, env: Mapping[str, str] | None = None
) -> Iterator[AgentProcess]:
    made = AgentProcess(folder, words, env)
    try:
        if wait:
            made.ready()
        yield made
    finally:
        if made.process.poll() is None:
            made.stop()


class Listener:
    """A client that keeps every message of the tree, and publishes."""

    def __init__(self, port: int, topic: str = "wavewall/#", version: str = "5") -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, bytes, bool]] = []
        self._there = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5 if version == "5" else paho.MQTTv311
        )
        self._client.max_queued_messages_set(0)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self._client.on_subscribe = lambda *_: self._there.set()
        self._client.on_message = lambda client, data, message: self.messages.append(
            (message.topic, message.payload, message.retain)
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._there.wait(10)

    def publish(self, topic: str, payload: bytes | str) -> None:
        self._client.publish(topic, payload, qos=1).wait_for_publish(10)

    def publish_all(self, topic: str, payloads: Sequence[bytes | str]) -> None:
        """Without waiting for the broker."""
        for payload in payloads:
            self._client.publish(topic, payload, qos=1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def of(self, leaf: str) -> list[bytes]:
        return [payload for topic, payload, _ in list(self.messages) if topic.endswith(f"/{leaf}")]

    def results(self) -> list[Result]:
        return [Result.from_json(payload) for payload in self.of("result")]

    def events(self) -> list[Event]:
        return [Event.from_json(payload) for payload in self.of("event")]

    def windows(self) -> set[str]:
        """Which windows were answered: QoS 1 may bring an answer twice when a connection dies on its way."""
        return {result.id for result in self.results()}

    def wait_results(self, count: int, timeout_s: float = 30.0) -> list[Result]:
        """All results, once ``count`` different windows have theirs."""
        try:
            wait_for(lambda: len(self.windows()) >= count, f"{count} results", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {len(self.windows())}") from error
        return self.results()


@contextmanager
def listener(port: int, topic: str = "wavewall/#") -> Iterator[Listener]:
    made = Listener(port, topic)
    try:
        yield made
    finally:
        made.close()


def samples_json(
    values: np.ndarray, rate_hz: float, size: int, t0: float = 1.8e9, *, end: bool = True
) -> list[str]:
    """A record as JSON messages of `size` samples."""
    return [
        json.dumps(
            {
                "t0": t0 + at / rate_hz,
                "rate_hz": rate_hz,
                "ch": {"ecg_uv": [float(v) for v in values[at : at + size]]},
                "end": end and at + size >= len(values),
            }
        )
        for at in range(0, len(values), size)
    ]
