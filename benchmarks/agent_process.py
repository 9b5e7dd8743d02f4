"""A real `edge-agent run` beside a real mosquitto, seen from outside: time to ready, memory, CPU."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho

from benchmarks.own_work import payloads
from edge.bundle import InputSpec, read_bundle, resolve_bundle
from edge.demo.broker import HOST, Broker, broker
from edge.types import Result

NODE = "bench"
PROBE_S = 0.01


@dataclass(frozen=True)
class Run:
    """One agent's life. `cpu_us` is all of its processor time for each message, the model's and paho's included."""

    ready_s: float
    resident_mb: float
    messages: int
    windows: int
    cpu_us: float


class Listener:
    """A client that publishes samples and counts results by stream."""

    def __init__(self, port: int) -> None:
        self.results: dict[str, list[Result]] = {}
        self.online = threading.Event()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, "bench-listener", protocol=paho.MQTTv5)
        self.client.max_inflight_messages_set(100)
        self.client.on_message = self._message
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.connect(HOST, port)
        self.client.loop_start()
        self.client.subscribe([(f"wavewall/{NODE}/stream/+/result", 1), (f"wavewall/{NODE}/state", 1)])
        if not subscribed.wait(10.0):
            raise RuntimeError("mosquitto does not answer")

    def _message(self, client: Any, userdata: Any, message: Any) -> None:
        if message.topic.endswith("/state"):
            if message.payload == b"online":
                self.online.set()
            return
        result = Result.from_json(message.payload)
        self.results.setdefault(result.stream, []).append(result)

    def send(self, stream: str, payload: bytes, qos: int = 1) -> Any:
        return self.client.publish(f"wavewall/{NODE}/stream/{stream}/samples", payload, qos)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def agent(port: int, bundle: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`edge-agent run` with its defaults: samples from and results to the broker."""
    command = [
        sys.executable,
        "-m",
        "edge.cli",
        "run",
        "--node",
        NODE,
        "--mqtt-port",
        str(port),
        "--bundle",
        bundle,
    ]
    with (folder / "agent.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process
        if process.poll() is not None:
            raise RuntimeError(f"the agent ended: {(folder / 'agent.log').read_text()[-300:]}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10.0)


def time_to_ready(listener: Listener, spec: InputSpec, began: float) -> float:
    """Seconds from `began` to the first sample message that got an answer: short records, one after the other."""
    sent: dict[str, float] = {}
    values = np.rint(100 * np.sin(np.arange(max(2, spec.window_samples // 4)))).astype(int).tolist()
    columns = ",".join(f'"{name}_{spec.units.lower()}":{values}' for name in spec.channels)
    deadline = began + 30.0
    while time.monotonic() < deadline:
        answered = [sent[stream] for stream in sent if stream in listener.results]
        if answered and listener.online.is_set():
            return min(answered) - began
        stream = f"probe-{len(sent)}"
        sent[stream] = time.monotonic()
        t0 = 1.8e9 + len(sent)
        body = f'{{"t0":{t0},"rate_hz":{spec.rate_hz:g},"ch":{{{columns}}},"end":true}}'
        listener.send(stream, body.encode(), qos=0)
        time.sleep(PROBE_S)
    raise RuntimeError("the agent answered nothing within 30 s")


def cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB (10^6 bytes)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def one_run(place: Broker, bundle: str, folder: Path, streams: int, seconds: int) -> Run:
    """Start an agent, feed it `seconds` of signal on each of `streams`, wait for every window."""
    loaded = read_bundle(resolve_bundle(bundle))
    spec = loaded.manifest.input
    signal_uv = loaded.vectors.windows.reshape(-1, len(spec.channels))
    messages = payloads("binary", spec, signal_uv, seconds)
    total = seconds * max(1, round(spec.rate_hz))
    windows = max(0, (total - spec.window_samples) // spec.hop_samples + 1)
    listener = Listener(place.port)
    try:
        began = time.monotonic()
        with agent(place.port, bundle, folder) as process:
            ready_s = time_to_ready(listener, spec, began)
            time.sleep(0.5)  # answers to the probes that are still on their way
            before_s = cpu_s(process.pid)
            for payload in messages:
                for k in range(streams):
                    listener.send(f"s{k}", payload)
            deadline = time.monotonic() + 120.0
            while sum(len(listener.results.get(f"s{k}", ())) for k in range(streams)) < windows * streams:
                if time.monotonic() > deadline:
                    raise RuntimeError("not every window was answered within two minutes")
                time.sleep(0.05)
            used_s, memory = cpu_s(process.pid) - before_s, resident_mb(process.pid)
    finally:
        listener.close()
    count = streams * len(messages)
    return Run(ready_s, memory, count, windows * streams, used_s / count * 1e6)


def measure(bundle: str, runs: int = 3, streams: int = 8, seconds: int = 60) -> list[Run]:
    """Several runs, each with a broker and an agent of its own."""
    if shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
        raise RuntimeError("mosquitto is not installed; run: make deps")
    out = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as name, broker(Path(name)) as place:
            out.append(one_run(place, bundle, Path(name), streams, seconds))
    return out
