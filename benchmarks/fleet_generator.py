"""Many devices in one process of its own: ``python -m benchmarks.fleet_generator PORT PLAN BUNDLE OUT SETTLE SPREAD``.

PLAN is "STREAMS:SECONDS,..." with rising STREAMS: so many devices send one second of signal a second as binary
frames at QoS 1. Each begins at a moment of its own within SPREAD seconds: over a hop, as devices that were switched on
one by one, whose windows end all the time; over a second, as after a restart of the gateway, whose windows end all at
once. Each payload is made once and shared by all devices but for the HELLO, and published by hand (LeanPublisher),
since this process shares its cores with the agent. It also listens to the results and writes to OUT, for
each step of the plan, windows due, answered, left out and lost, and the time from the publishing of a window's last
samples to its verdict's arrival. A line on standard output tells when a step begins.
"""

from __future__ import annotations

import heapq
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho

from benchmarks.lean_publisher import LeanPublisher
from benchmarks.own_work import payloads
from edge.bundle import InputSpec, read_bundle, resolve_bundle
from edge.demo.broker import HOST
from firmware_bridge import codec
from firmware_bridge.messages import Channel, Hello

NODE = "fleet"
GOLDEN = 0.6180339887498949  # multiples of it lie evenly on a circle, however many there are
DRAIN_S, TURN_S = 60.0, 0.005


@dataclass
class Device:
    """One stream: when each of its messages was published, when each of its windows was answered, and how."""

    start_s: float
    sent_s: list[float] = field(default_factory=list)
    answered: dict[int, tuple[float, str]] = field(default_factory=dict)
    repeated: int = 0


@dataclass(frozen=True)
class Step:
    """So many streams from `began_s` to `ended_s` (monotonic)."""

    streams: int
    began_s: float
    ended_s: float


def parse_plan(text: str) -> list[tuple[int, float]]:
    """"125:60,250:60" -> [(125, 60.0), (250, 60.0)]."""
    pairs = [part.split(":") for part in text.split(",")]
    return [(int(streams), float(seconds)) for streams, seconds in pairs]


class Fleet:
    """Publishes with one client and listens with another."""

    def __init__(self, port: int, bundle: str, seconds: float, spread_s: float) -> None:
        loaded = read_bundle(resolve_bundle(bundle))
        self.spec: InputSpec = loaded.manifest.input
        self._channels = tuple(Channel(name, self.spec.units, 1.0) for name in self.spec.channels)
        signal = loaded.vectors.windows.reshape(-1, len(self.spec.channels))
        self._payloads = payloads("binary", self.spec, signal, int(seconds) + 60)
        first_hello = codec.encode(Hello("bench", "bench", self.spec.rate_hz, self._channels, 1))
        self._first = self._payloads[0].removeprefix(first_hello)
        self.rate = round(self.spec.rate_hz)
        self.devices: list[Device] = []
        self.late_s, self._spread_s = 0.0, spread_s
        self.publisher = LeanPublisher(HOST, port, "fleet-devices")
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, "fleet", protocol=paho.MQTTv5)
        self.client.on_message = self._result
        self.client.on_connect = lambda client, *_: client.subscribe(f"wavewall/{NODE}/stream/+/result", 1)
        self.client.connect(HOST, port)
        self.client.loop_start()

    def _result(self, client: Any, userdata: Any, message: Any) -> None:
        now = time.monotonic()
        result = json.loads(message.payload)
        device = self.devices[int(result["stream"][1:])]
        seq = int(result["seq"])
        if seq in device.answered:
            device.repeated += 1
        else:
            device.answered[seq] = now, str(result["reason"])

    def last_message(self, window: int) -> int:
        """The number of the message that holds a window's last sample."""
        return (self.spec.window_samples + window * self.spec.hop_samples - 1) // self.rate

    def send(self, k: int) -> None:
        device, at = self.devices[k], len(self.devices[k].sent_s)
        payload = self._payloads[at]
        if at == 0:
            payload = codec.encode(Hello(f"d{k}", "bench", self.spec.rate_hz, self._channels, 1)) + self._first
        device.sent_s.append(time.monotonic())
        self.publisher.put(b"wavewall/%s/stream/d%d/samples" % (NODE.encode(), k), payload)

    def run(self, plan: list[tuple[int, float]]) -> list[Step]:
        due: list[tuple[float, int]] = []
        steps = []
        for streams, seconds in plan:
            began = time.monotonic()
            for k in range(len(self.devices), streams):
                self.devices.append(Device(began + k * GOLDEN % 1.0 * self._spread_s))
                heapq.heappush(due, (self.devices[k].start_s, k))
            print(json.dumps({"streams": streams, "began_s": began, "seconds": seconds}), flush=True)
            while (now := time.monotonic()) < began + seconds:
                while due and due[0][0] <= now:
                    at, k = heapq.heappop(due)
                    self.late_s = max(self.late_s, now - at)
                    self.send(k)
                    heapq.heappush(due, (at + 1.0, k))
                self.publisher.flush()
                time.sleep(TURN_S)
            steps.append(Step(streams, began, time.monotonic()))
        return steps

    def wait_for_all(self) -> None:
        """Until every window that is due has an answer, or nothing more comes."""
        deadline = time.monotonic() + DRAIN_S
        while self.publisher.acknowledged < self.publisher.sent and time.monotonic() < deadline:
            self.publisher.flush()
            time.sleep(TURN_S)
        while time.monotonic() < deadline and any(len(d.answered) < self.due(d) for d in self.devices):
            time.sleep(0.2)

    def due(self, device: Device) -> int:
        """Windows that a device's messages complete."""
        samples = len(device.sent_s) * self.rate
        return max(0, (samples - self.spec.window_samples) // self.spec.hop_samples + 1)

    def figures(self, step: Step, settle_s: float) -> dict[str, Any]:
        """What became of the windows whose last sample was sent in a step, once it had settled."""
        waits, lost, left_out, messages, due = [], 0, 0, 0, 0
        begin = step.began_s + settle_s
        for device in self.devices[: step.streams]:
            messages += sum(begin <= at < step.ended_s for at in device.sent_s)
            for window in range(self.due(device)):
                at = device.sent_s[self.last_message(window)]
                if not begin <= at < step.ended_s:
                    continue
                due += 1
                came = device.answered.get(window)
                if came is None:
                    lost += 1
                elif came[1] == "overload":
                    left_out += 1
                else:
                    waits.append(came[0] - at)
        ms = np.asarray(waits or [float("inf")]) * 1000.0
        return {
            "streams": step.streams,
            "messages": messages,
            "windows": due,
            "lost": lost,
            "left_out": left_out,
            "repeated": sum(device.repeated for device in self.devices[: step.streams]),
            "p50_ms": round(float(np.percentile(ms, 50)), 1),
            "p99_ms": round(float(np.percentile(ms, 99)), 1),
            "max_ms": round(float(ms.max()), 1),
        }


def main() -> int:
    """Run the plan; the steps' figures and the generator's own lateness as JSON."""
    port, plan_text, bundle, out = int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])
    settle_s, spread_s = float(sys.argv[5]), float(sys.argv[6])
    plan = parse_plan(plan_text)
    fleet = Fleet(port, bundle, sum(seconds for _, seconds in plan), spread_s)
    steps = fleet.run(plan)
    fleet.wait_for_all()
    out.write_text(
        json.dumps({"late_s": round(fleet.late_s, 3), "steps": [fleet.figures(step, settle_s) for step in steps]})
    )
    fleet.publisher.close()
    fleet.client.disconnect()
    fleet.client.loop_stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
