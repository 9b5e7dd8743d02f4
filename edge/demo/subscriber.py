"""The demo's subscriber: results from the broker, known by the window they are about."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from edge.bundle import InputSpec
from edge.config import MqttSettings
from edge.demo.broker import HOST, Broker
from edge.demo.stage import DemoError, Stage
from edge.errors import ResultError
from edge.mqtt_link import MqttLink
from edge.pipeline.identity import result_id
from edge.sources.device import DeviceTracker
from edge.topics import results_filter
from edge.types import Result, SampleBlock
from firmware_bridge.messages import Hello, Samples
from firmware_bridge.simulated_device import DeviceSettings

CONNECT_S = 10.0
CAP = 10_000  # results; a demo of an hour at ten times real time makes 7,200


class WindowIds:
    """Which window a result is about: ids are a function of node, device, boot and first sample."""

    def __init__(self, nodes: Sequence[str], device: DeviceSettings, stage: Stage, spec: InputSpec) -> None:
        block = first_block(device, stage)
        per_source = stage.recording.rate_hz / spec.rate_hz
        last = round(len(stage.recording) / per_source) - spec.window_samples
        self._known = {
            result_id(node, block.stream, block.epoch, first): (node, round(first * per_source))
            for node in nodes
            for first in range(0, last + 1, spec.hop_samples)
        }

    def find(self, result: Result) -> tuple[str, int] | None:
        """(node, first sample) or None where the result is about something else."""
        return self._known.get(result.id)

    def complete(self, seen: Collection[tuple[str, int]]) -> bool:
        """Whether every window of every node is among those seen."""
        return all(key in seen for key in self._known.values())


def first_block(device: DeviceSettings, stage: Stage) -> SampleBlock:
    """The block that an agent makes of the device's first samples: it says how stream and epoch are named."""
    channels = stage.recording.channels
    hello = Hello(device.device_id, device.firmware, stage.recording.rate_hz, channels, device.boot)
    tracker = DeviceTracker(None, lambda *_: None, lambda: 0.0)
    return tracker.push([hello, Samples(0, 0, np.zeros((1, len(channels)), np.int16))], 0.0)[0]


@contextmanager
def subscriber(broker: Broker) -> Iterator[queue.Queue[Result]]:
    """A queue that fills with results. Raises DemoError where the broker does not answer."""
    results: queue.Queue[Result] = queue.Queue(CAP)
    settings = MqttSettings(host=HOST, port=broker.port, version="5" if broker.version == "5" else "3.1.1")
    stop, ready = threading.Event(), threading.Event()

    def take(message: Any) -> None:
        try:
            results.put_nowait(Result.from_json(message.payload))
        except (ResultError, queue.Full):
            pass  # then the window is missing on the screen, and counted as such

    def subscribe() -> None:
        link.subscribe([results_filter("wavewall", None)])
        ready.set()

    link = MqttLink(settings, f"demo-{uuid.uuid4().hex[:8]}", on_connected=subscribe, on_message=take)
    thread = threading.Thread(target=link.run, args=(stop,), name="demo-subscriber", daemon=True)
    thread.start()
    try:
        if not ready.wait(CONNECT_S):
            raise DemoError(f"{broker.name} on port {broker.port} does not answer: {link.last_error}")
        yield results
    finally:
        stop.set()
        thread.join(3.0)
