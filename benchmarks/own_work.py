"""The agent's own work, measured inside one process: every part of a real Agent, without the network.

A message goes the way it goes in the agent (payload -> block -> queue -> window state), a window through verdict,
spools and the JSON that is published; the interpreter's own time is taken apart. Times are medians, in µs.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from edge.agent import Agent
from edge.build import load_bundle
from edge.clock import Clock
from edge.config import BundleSettings, MqttSettings, MqttSource, NodeSettings, Settings
from edge.types import rfc3339
from firmware_bridge import codec
from firmware_bridge.messages import Channel, Hello, Samples


@dataclass(frozen=True)
class OwnWork:
    """Medians over many messages and windows."""

    message_us: float
    window_us: float
    model_us: float
    messages: int
    windows: int


class Arrivals:
    """The agent's clock: a message a second, late by some milliseconds, as a network delivers them.

    Fed as fast as it goes, a device's clock would look wildly wrong, and following it would cost what it never does.
    """

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._count, self.now_s = 0, 1000.0

    def next(self) -> None:
        self._count += 1
        self.now_s = 1000.0 + self._count + float(self._rng.exponential(0.005))


class TimedInterpreter:
    """Passes everything on and keeps the seconds spent in `invoke`, by `clock`."""

    def __init__(self, interpreter: Any, clock: Callable[[], float] = time.perf_counter) -> None:
        self._interpreter, self._clock, self.spent_s = interpreter, clock, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._interpreter, name)

    def invoke(self) -> None:
        began = self._clock()
        self._interpreter.invoke()
        self.spent_s += self._clock() - began


def payloads(kind: str, spec: Any, signal: np.ndarray, count: int, seconds: float = 1.0) -> list[bytes]:
    """`count` messages of `seconds` each: "binary" frames (the first with a HELLO) or "json"."""
    size = max(1, round(spec.rate_hz * seconds))
    values = np.resize(np.rint(signal).astype(np.int16), (count * size, signal.shape[1]))
    channels = tuple(Channel(name, spec.units, 1.0) for name in spec.channels)
    out = []
    for k in range(count):
        part = values[k * size : (k + 1) * size]
        if kind == "binary":
            # frames hold at most 255 samples: a second is sent in two or more
            halves = np.array_split(part, -(-size // 255))
            firsts = k * size + np.cumsum([0, *map(len, halves)])
            frames = [
                codec.encode(Samples(int(first), int(first * 1e6 / spec.rate_hz) & 0xFFFFFFFF, half))
                for first, half in zip(firsts, halves, strict=False)
            ]
            hello = codec.encode(Hello("bench", "bench", spec.rate_hz, channels, 1)) if k == 0 else b""
            out.append(hello + b"".join(frames))
        else:
            columns = ",".join(
                f'"{name}_{spec.units.lower()}":{part[:, i].tolist()}' for i, name in enumerate(spec.channels)
            )
            t0 = rfc3339(1.8e9 + k * size / spec.rate_hz)
            out.append(f'{{"t0":"{t0}","rate_hz":{spec.rate_hz:g},"ch":{{{columns}}}}}'.encode())
    return out


def measure(
    bundle: BundleSettings, kind: str = "binary", messages: int = 2000, seconds: float = 1.0
) -> OwnWork:
    """Run `messages` of `seconds` each through an agent that is not connected to anything."""
    settings = Settings(
        node=NodeSettings(id="bench"), mqtt=MqttSettings(), bundle=bundle, source=(MqttSource(),)
    )
    arrivals = Arrivals()
    agent = Agent(settings, clock=Clock(monotonic=lambda: arrivals.now_s, utc=lambda: 1.8e9 + arrivals.now_s))
    classifier = agent.engine.classifier
    timed = classifier._interpreter = TimedInterpreter(classifier._interpreter)
    source: Any = agent.sources[0]
    source._emit = agent.intake.emitter(source)
    vectors = load_bundle(bundle)[0].vectors.windows
    signal = vectors.reshape(-1, vectors.shape[-1])
    topic = agent.topics.stream("bench", "samples")
    message_us: list[float] = []
    window_us: list[float] = []
    model_us: list[float] = []
    windows = 0
    for payload in payloads(kind, agent.engine.bundle.manifest.input, signal, messages, seconds):
        message = SimpleNamespace(topic=topic, payload=payload, qos=0, mid=0, dup=False, retain=False)
        arrivals.next()
        timed.spent_s = 0.0
        began = time.perf_counter()
        source.on_message(message)
        items = agent.queue.get_many(64)
        agent.flow.work_off(items)
        done = 0
        for runner in agent.runners:
            if not len(runner.spool):
                continue  # in an agent its thread sleeps
            entries = runner.spool.peek(64, 0.0)
            for entry in entries:
                entry.result.to_json()  # the same text goes to `result` and `last`
            runner.spool.remove([entry.key for entry in entries])
            done += len(entries)
        took_us = (time.perf_counter() - began) * 1e6
        agent.queue.done(len(items))
        if done:
            windows += done
            model_us.append(timed.spent_s * 1e6 / done)
            window_us.append((took_us - timed.spent_s * 1e6) / done)
        else:
            message_us.append(took_us)
    per_message = statistics.median(message_us)
    # What a message costs anyway is not the window's.
    own = statistics.median(window_us) - per_message
    return OwnWork(per_message, own, statistics.median(model_us), len(message_us), windows)


def resident_mb() -> float:
    """Resident memory of this process in MB (10^6 bytes)."""
    from edge.health import rss_bytes

    return rss_bytes() / 1e6


def main() -> int:
    """Print the measurement as JSON, for benchmarks.agent: ``python -m benchmarks.own_work BUNDLE KIND MESSAGES``."""
    import json
    from dataclasses import asdict

    name, kind, messages = sys.argv[1], sys.argv[2], int(sys.argv[3])
    print(json.dumps(asdict(measure(BundleSettings(name=name), kind, messages))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
