"""Chromium, and a ward: broker, a device on a pseudo-terminal, streams on MQTT, and the agent with its page."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.mosquitto import free_port
from firmware_bridge.recordings import open_recordings
from firmware_bridge.simulated_device import DeviceSettings
from firmware_bridge.simulator import Simulator
from tests.integration.rig import AgentProcess, Broker, Listener, listener, wait_for

DEMO = Path(__file__).resolve().parents[2] / "edge" / "demo" / "data" / "recording.npz"
RATE_HZ = 300.0
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
# A restart of the agent under the page is part of the tests; the browser tells of it in the console.
EXPECTED = re.compile("ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|net::ERR|status of (401|403|404|409|421|429|503)")
expect.set_options(timeout=20_000)  # other tests run beside it


@contextmanager
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "chromium is not installed; run: make deps"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        yield browser
        browser.close()


def watch(page: Page) -> list[str]:
    """Errors of the page, as they come."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda line: errors.append(line.text) if line.type == "error" and not EXPECTED.search(line.text) else None,
    )
    return errors


def axe(page: Page) -> list[str]:
    """What axe-core finds serious or critical, as "rule: element"."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node.get('failureSummary', '')[:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]


def ecg() -> np.ndarray:
    """The demo's recording, in uV: normal, atrial fibrillation, noise, 50 s each."""
    return np.asarray(next(iter(open_recordings(DEMO))).physical[:, 0])


@dataclass
class Ward:
    """A running agent with its page, and what feeds it."""

    broker: Broker
    client: Listener
    agent: AgentProcess
    folder: Path
    words: list[object]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def publish(self, stream: str, values: np.ndarray, first: int, began: float) -> None:
        """A JSON message of samples, number `first` of the stream on."""
        sent = {
            "t0": began + first / RATE_HZ,
            "rate_hz": RATE_HZ,
            "ch": {"ecg_uv": [round(float(v), 1) for v in values]},
        }
        self.client._client.publish(f"wavewall/gw1/stream/{stream}/samples", json.dumps(sent))

    def fill(self, stream: str, seconds: float, offset_s: float = 0.0, gap_s: float = 0.0) -> None:
        """The last `seconds` of a stream at once, with a gap in the middle."""
        values, began = np.roll(ecg(), -round(offset_s * RATE_HZ)), time.time() - seconds
        step = int(RATE_HZ)
        for at in range(0, round(seconds * RATE_HZ), step):
            middle = at / RATE_HZ - seconds / 2
            if not 0 <= middle < gap_s:
                self.publish(stream, np.take(values, range(at, at + step), mode="wrap"), at, began)

    def restart(self) -> None:
        """The agent is killed and started anew."""
        self.agent.kill()
        self.agent = AgentProcess(self.folder, self.words)
        self.agent.ready()


@contextmanager
def ward(folder: Path, *more: object, device: str | None = "simulated-1", speed: float = 10.0) -> Iterator[Ward]:
    """Broker, agent with `more` words, and a simulated device that plays the demo's recording again and again."""
    with ExitStack() as parts:
        broker = Broker(folder)
        broker.start()
        parts.callback(broker.stop)
        words: list[object] = ["--mqtt-host", "127.0.0.1", "--mqtt-port", broker.port, "--node", "gw1"]
        words += ["--source", "mqtt", "--node-state-dir", folder / "state"]
        if device is not None:
            settings = DeviceSettings(device_id=device)
            played = Simulator(open_recordings(DEMO), speed=speed, loop=True, settings=settings)
            parts.callback(played.stop)
            words += ["--source", f"serial:{played.port}"]
            played.start()
        port = free_port()
        words += ["--dashboard", f"127.0.0.1:{port}", *more]
        running = AgentProcess(folder, words)
        client = parts.enter_context(listener(broker.port, "wavewall/gw1/state"))
        made = Ward(broker, client, running, folder, words, port)
        try:
            running.ready()
            yield made
        finally:
            if made.agent.process.poll() is None:
                made.agent.stop()


class Player:
    """Plays many streams in a thread of its own: one message a second of each, `speed` times real time."""

    def __init__(self, place: Ward, streams: Sequence[str], speed: float = 1.0) -> None:
        self._place, self._streams, self._speed = place, streams, speed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Player:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        values, step, began = ecg(), int(RATE_HZ), time.time()
        seconds = len(values) // step
        texts = [json.dumps([round(float(v)) for v in values[k * step : (k + 1) * step]]) for k in range(seconds)]
        second = 0
        while not self._stop.is_set():
            for at, stream in enumerate(self._streams):
                data = texts[(second + 7 * at) % seconds]
                payload = f'{{"t0":{began + second:.3f},"rate_hz":300,"ch":{{"ecg_uv":{data}}}}}'
                self._place.client._client.publish(f"wavewall/gw1/stream/{stream}/samples", payload)
            second += 1
            due = began + second / self._speed
            self._stop.wait(max(0.0, due - time.time()))


def until(page: Page, condition: str, timeout_s: float = 30.0) -> None:
    """Until a JavaScript expression about `page` is true. (Playwright's own wait needs `eval`, which the page's
    policy forbids.)"""
    script = f"() => {{ const page = window.wavewall?.page; return !!(page && ({condition})); }}"
    wait_for(lambda: page.evaluate(script), condition, timeout_s)


def strip_state(page: Page) -> dict[str, Any]:
    """What the strip chart shows now: view, runs, answers."""
    return dict(
        page.evaluate(
            """() => { const p = window.wavewall.page; return {
                 live: p.live, end: p.view.end, shown: p.shown && {seconds: p.shown.seconds, mm: p.shown.mm,
                   speed: p.shown.speed, gain: p.shown.gain, left: p.shown.place.left, signal: p.shown.place.signal,
                   unit: p.shown.unit, baseline: p.shown.baseline, width: p.shown.width},
                 runs: p.timeline.runs.map((r) => [r.t0, r.end, r.n, r.lead]),
                 answers: p.answers.map((a) => [a.seq, a.t0, a.label]), explained: p.explained.map((e) => e.id) }; }"""
        )
    )


__all__ = ["Player", "Ward", "axe", "chromium", "ecg", "strip_state", "until", "wait_for", "ward", "watch"]
