"""Sample messages a second: a bare paho loop and a real agent on the same messages, from sessions that waited for them.

The broker keeps the messages for both before either starts, so that the publisher takes no part in the time. A bare
loop counts and acknowledges; the agent decodes, places and windows them (no window is complete, so no model runs).
``python -m benchmarks.throughput PORT CLIENT FILTER COUNT`` is the bare loop.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.agent_process import NODE, Listener, agent, cpu_s
from benchmarks.own_work import payloads
from edge.bundle import read_bundle, resolve_bundle
from edge.demo.broker import HOST, broker
from edge.topics import Topics

STREAMS, WAIT_S = 250, 120.0
FIRST, LAST = "first", "last"


@dataclass(frozen=True)
class Rates:
    """Messages a second of one run, and processor time of each message in µs, which a busy machine changes less."""

    bare: float
    agent: float
    bare_us: float
    agent_us: float
    messages: int


def session(client_id: str) -> tuple[paho.Client, Properties]:
    """A client whose session outlasts its connection, as the agent's does."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, manual_ack=True)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = 200
    return client, properties


def reserve(port: int, client_id: str, topic: str) -> None:
    """Make the broker keep messages for a client that comes later."""
    client, properties = session(client_id)
    there = threading.Event()
    client.on_subscribe = lambda *_: there.set()
    client.connect(HOST, port, clean_start=False, properties=properties)
    client.loop_start()
    client.subscribe(topic, 1)
    if not there.wait(10.0):
        raise RuntimeError("mosquitto does not answer")
    client.disconnect()
    client.loop_stop()


def bare_loop(port: int, client_id: str, topic: str, count: int) -> tuple[float, float]:
    """Messages a second and µs of processor time each, of a loop that only counts and acknowledges."""
    client, properties = session(client_id)
    seen, began, ended, used = 0, 0.0, 0.0, 0.0

    def on_message(client: Any, userdata: Any, message: Any) -> None:
        nonlocal seen, began, ended, used
        seen += 1
        client.ack(message.mid, message.qos)
        if seen == 1:
            began, used = time.perf_counter(), -time.process_time()
        if seen == count:
            ended, used = time.perf_counter(), used + time.process_time()

    client.on_message = on_message
    client.connect(HOST, port, clean_start=False, properties=properties)
    client.subscribe(topic, 1)
    deadline = time.monotonic() + WAIT_S
    while not ended and time.monotonic() < deadline:
        client.loop(0.25)
    client.disconnect()
    return ((count - 1) / (ended - began), used / (count - 1) * 1e6) if ended else (0.0, 0.0)


def short_record(rate_hz: float, name: str) -> bytes:
    """A second that ends its record: it is answered, and so tells that all before it was worked off."""
    values = [round(100 * ((k * 7) % 13 - 6)) for k in range(max(2, round(rate_hz)))]
    return json.dumps({"t0": 1.8e9, "rate_hz": rate_hz, "ch": {name: values}, "end": True}).encode()


def publish(port: int, messages: list[tuple[str, bytes]]) -> None:
    """All messages, in order, until the broker has acknowledged the last one."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "bench-publisher", protocol=paho.MQTTv5)
    client.max_inflight_messages_set(500)
    client.connect(HOST, port)
    client.loop_start()
    for info in [client.publish(topic, payload, 1) for topic, payload in messages]:
        info.wait_for_publish(WAIT_S)
    client.disconnect()
    client.loop_stop()


def one_run(bundle: str, folder: Path) -> Rates:
    """Both on the same messages, with a broker of their own."""
    spec = read_bundle(resolve_bundle(bundle)).manifest.input
    topics = Topics("wavewall", NODE)
    # One second short of a window, so that no model runs.
    each = max(1, int(spec.window_samples / spec.rate_hz) - 1)
    signal = read_bundle(resolve_bundle(bundle)).vectors.windows.reshape(-1, len(spec.channels))
    seconds = payloads("binary", spec, signal, each)
    mark = short_record(spec.rate_hz, f"{spec.channels[0]}_{spec.units.lower()}")
    messages = [(topics.stream(FIRST, "samples"), mark)]
    messages += [(topics.stream(f"s{k}", "samples"), payload) for payload in seconds for k in range(STREAMS)]
    messages += [(topics.stream(LAST, "samples"), mark)]
    wanted = topics.samples_filters()[0]
    with broker(folder) as place:
        reserve(place.port, "bench-bare", wanted)
        reserve(place.port, f"wavewall-{NODE}-in", wanted)
        publish(place.port, messages)
        command = [sys.executable, "-m", "benchmarks.throughput", str(place.port), "bench-bare", wanted]
        done = subprocess.run([*command, str(len(messages))], capture_output=True, text=True, timeout=200, check=False)
        if done.returncode:
            raise RuntimeError(f"the bare loop: {done.stderr.strip()[-300:]}")
        listener = Listener(place.port)
        came: dict[str, float] = {}
        used: dict[str, float] = {}
        try:
            with agent(place.port, bundle, folder) as process:
                deadline = time.monotonic() + WAIT_S
                while LAST not in came and time.monotonic() < deadline:
                    for stream in (FIRST, LAST):
                        if stream in listener.results and stream not in came:
                            came[stream] = time.perf_counter()
                            used[stream] = cpu_s(process.pid)
                    time.sleep(0.002)
        finally:
            listener.close()
    if LAST not in came:
        raise RuntimeError("the agent did not work off the messages that waited for it")
    bare, bare_us = map(float, done.stdout.split())
    steps = len(messages) - 1
    agent_us = (used[LAST] - used[FIRST]) / steps * 1e6
    return Rates(bare, steps / (came[LAST] - came[FIRST]), bare_us, agent_us, len(messages))


def measure(bundle: str, runs: int) -> list[Rates]:
    """Several runs."""
    out = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as name:
            out.append(one_run(bundle, Path(name)))
    return out


if __name__ == "__main__":
    rate, rate_us = bare_loop(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
    print(rate, rate_us)
    sys.exit(0 if rate else 1)
