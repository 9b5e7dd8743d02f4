"""Forty senders in real time, and a subscriber that counts what comes back."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import paho.mqtt.client as paho

from benchmarks.mosquitto import HOST
from edge.bundle import InputSpec
from edge.pipeline.identity import result_id

STEP_S = 1.0


class Senders:
    """One message a second and stream, QoS 1, kept until the broker has it. Sample numbers are Unix time × rate."""

    def __init__(self, port: int, node: str, streams: int, spec: InputSpec, signal: np.ndarray) -> None:
        self._node, self._spec = node, spec
        self._size = round(spec.rate_hz * STEP_S)
        self._signal = np.rint(np.resize(signal, 600 * self._size)).astype(int)
        base = int(time.time())
        # Spread over the hop, so that windows do not all end at once.
        shift = spec.hop_samples / streams
        self._first = {f"s{k:02}": round(base * spec.rate_hz) - round(k * shift) for k in range(streams)}
        self.sent = dict.fromkeys(self._first, 0)
        self._stop = threading.Event()
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, "soak-senders", protocol=paho.MQTTv311, clean_session=False
        )
        self._client.max_queued_messages_set(0)
        # With room for more, paho sends what is published while it connects before what waits from earlier.
        self._client.max_inflight_messages_set(1)
        self._client.connect(HOST, port)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._run, name="senders", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic()
        pause = STEP_S / len(self.sent)
        while not self._stop.is_set():
            for stream in self.sent:
                self._send(stream)
                due += pause
                if self._stop.wait(max(0.0, due - time.monotonic())):
                    return

    def _send(self, stream: str) -> None:
        at = self.sent[stream] * self._size
        wrap = at % (len(self._signal) - self._size)
        t0 = (self._first[stream] + at) / self._spec.rate_hz
        values = self._signal[wrap : wrap + self._size].tolist()
        key = f"{self._spec.channels[0]}_{self._spec.units.lower()}"
        payload = json.dumps(
            {"t0": t0, "rate_hz": self._spec.rate_hz, "ch": {key: values}}, separators=(",", ":")
        )
        self._client.publish(f"wavewall/{self._node}/stream/{stream}/samples", payload, qos=1)
        self.sent[stream] += 1

    def stop(self) -> None:
        """Send nothing more, and wait until the broker has everything."""
        self._stop.set()
        self._thread.join(10)
        until = time.monotonic() + 60
        while self._client.want_write() and time.monotonic() < until:
            time.sleep(0.2)
        time.sleep(2.0)
        self._client.disconnect()
        self._client.loop_stop()

    def expected(self) -> set[str]:
        """The ids of all windows that were sent whole: aligned ones start at multiples of the hop."""
        hop, size = self._spec.hop_samples, self._spec.window_samples
        out = set()
        for stream, first in self._first.items():
            end = first + self.sent[stream] * self._size
            start = -(-first // hop) * hop
            while start + size <= end:
                out.add(result_id(self._node, stream, f"unix@{self._spec.rate_hz:g}", start))
                start += hop
        return out


class Subscriber:
    """Everything that is published on `result` and `health`, counted; a lasting session, so nothing is missed."""

    def __init__(self, port: int, node: str) -> None:
        self._lock = threading.Lock()
        self.ids: Counter[str] = Counter()
        self.historical = self.with_gaps = 0
        self.answers: dict[str, str] = {}
        self._windows: dict[tuple[str, str], str] = {}
        self.doubles = 0  # windows that came under two ids
        self.different = 0
        self.heard = 0.0
        self.health: dict[str, Any] = {}
        self.degraded: Counter[str] = Counter()
        self._topics = [(f"wavewall/{node}/stream/+/result", 1), (f"wavewall/{node}/health", 1)]
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, "soak-subscriber", protocol=paho.MQTTv311, clean_session=False
        )
        self._client.on_connect = lambda client, *_: client.subscribe(self._topics)
        self._client.on_message = self._message
        self._client.connect(HOST, port)
        self._client.loop_start()

    def _message(self, client: Any, userdata: Any, message: Any) -> None:
        data = json.loads(message.payload)
        if message.topic.endswith("/health"):
            self.health = data
            for reason in data["reasons"]:
                self.degraded[reason.partition(":")[0]] += 1
            return
        with self._lock:
            self.ids[data["id"]] += 1
            window = (data["stream"], data["window"]["t0"])
            self.doubles += self._windows.setdefault(window, data["id"]) != data["id"]
            self.historical += data["historical"]
            self.with_gaps += data["window"]["missing"] > 0
            answer = f"{data['label']} {data['score']}"
            self.different += self.answers.setdefault(data["id"], answer) != answer
            if not data["historical"]:
                self.heard = time.monotonic()

    def seen(self) -> set[str]:
        with self._lock:
            return set(self.ids)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
