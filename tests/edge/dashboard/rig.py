"""A real page on a real port over a real store, filled by hand; and a client that speaks HTTP as a browser does."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import read_bundle
from edge.config import DashboardSettings
from edge.dashboard.server import Dashboard
from edge.dashboard.subject import Subject
from edge.live.store import LiveStore
from edge.types import Result, ResultWindow, SampleBlock, Window
from tests.edge.tiny import HOP, RATE_HZ, WINDOW, tiny_bundle

HOUR = 1_800_000_000.0


@dataclass
class Served:
    """The page, what it shows, and its thread."""

    dashboard: Dashboard
    store: LiveStore
    thread: threading.Thread

    @property
    def port(self) -> int:
        return self.dashboard.port

    def client(self) -> Client:
        return Client(self.port)

    def play(self, stream: str, seconds: float, t0: float | None = None, **changes: Any) -> None:
        """A stream of tiny windows with their verdicts, the last `seconds` of it."""
        n = int(seconds * RATE_HZ)
        t0 = time.time() - seconds if t0 is None else t0
        values = (100 * np.sin(np.arange(n) / 7)).astype(np.float32)[:, None]
        for at in range(0, n, 50):
            self.store.block(block(stream, values[at : at + 50], at, t0, **changes))
        for k, at in enumerate(range(0, n - WINDOW + 1, HOP)):
            window = tiny_window(stream, values[at : at + WINDOW], at, t0)
            self.store.verdict(window, verdict(window, k))


def block(stream: str, values: np.ndarray, first: int, t0: float, **changes: Any) -> SampleBlock:
    facts: dict[str, Any] = {
        "stream": stream,
        "epoch": "e1",
        "first_index": first,
        "t0": t0 + first / RATE_HZ,
        "rate_hz": RATE_HZ,
        "channels": ("ecg",),
        "units": ("uV",),
        "values": np.asarray(values, np.float32).reshape(-1, 1),
    }
    return SampleBlock(**{**facts, **changes})


def tiny_window(stream: str, values: np.ndarray, first: int, t0: float) -> Window:
    valid = np.ones(len(values), bool)
    return Window(stream, "e1", first, t0 + first / RATE_HZ, RATE_HZ, np.asarray(values, np.float32), valid)


def verdict(window: Window, seq: int, **changes: Any) -> Result:
    facts: dict[str, Any] = {
        "id": f"{window.stream}-{window.first_index}",
        "t": window.t0 + WINDOW / RATE_HZ,
        "boot_id": "b",
        "seq": seq,
        "stream": window.stream,
        "label": "normal",
        "score": 0.8,
        "probabilities": {"normal": 0.8, "other": 0.15, "noise": 0.05},
        "status": "ok",
        "reason": "",
        "model": "tiny@1.0.0",
        "window": ResultWindow(window.t0, WINDOW, RATE_HZ, 0, 0),
        "disagreement": None,
        "residual": 12.5,
        "latency_ms": 1.0,
    }
    return Result(**{**facts, **changes})


def event(n: int, stream: str = "bed-1", **changes: object) -> dict[str, object]:
    """A message as the decision stage publishes it."""
    start = f"2027-01-15T08:{n // 60 % 60:02d}:{n % 60:02d}.000Z"
    return {
        "schema": "wavewall.event/1", "id": f"event-{n}", "seq": 0, "type": "end", "kind": "label", "t": start,
        "boot_id": "b", "stream": stream, "model": "tiny@1.0.0", "label": "other", "start": start, "end": start,
        "peak_score": 0.9, "windows": 3, "evidence": [], "reason": "over", "measures": {}, "historical": False,
        **changes,
    }  # fmt: skip


def serve(folder: Path, stop: threading.Event, **settings: object) -> Served:
    path = folder / "page.bundle"
    bundle = read_bundle(path if path.exists() else tiny_bundle(path))
    store = LiveStore(max_streams=2000)
    subject = Subject(
        node="gw1",
        boot_id="b",
        store=store,
        info=lambda: {"node": "gw1", "bundle": {"ref": bundle.manifest.ref}},
        health=lambda: {
            "status": "ok", "reasons": [], "uptime_s": 1.0, "streams": len(store.streams()), "online": 0,
            "sources": [], "sinks": [], "counters": {"windows": 1, "gaps": 2}, "rss_bytes": 1,
        },
        bundle=lambda: bundle,
        events=True,
    )  # fmt: skip
    config = DashboardSettings.model_validate({"listen": "127.0.0.1:0", **settings})
    dashboard = Dashboard(config, subject)
    thread = threading.Thread(target=dashboard.run, args=(stop,), daemon=True)
    thread.start()
    return Served(dashboard, store, thread)


class Client:
    """One browser: keeps its cookie and CSRF token."""

    def __init__(self, port: int) -> None:
        self.port, self.cookie, self.csrf = port, "", ""

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, http.client.HTTPResponse]:
        """(status, JSON or bytes, response)."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"x-wavewall-csrf": self.csrf, **({"cookie": self.cookie} if self.cookie else {}), **(headers or {})}
        link.request(method, path, None if body is None else json.dumps(body), sent)
        response = link.getresponse()
        data = response.read()
        if response.getheader("set-cookie"):
            self.cookie = str(response.getheader("set-cookie")).split(";")[0]
        is_json = response.getheader("content-type", "").startswith("application/json")
        link.close()
        return response.status, json.loads(data) if is_json else data, response

    def enter(self, token: str | None = None, **headers: str) -> tuple[int, Any]:
        status, facts, _ = self.ask("POST", "/api/enter", {"token": token} if token else {}, headers)
        self.csrf = facts.get("csrf", self.csrf)
        return status, facts

    def status(self, path: str) -> int:
        """Of an answer that does not end."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        link.request("GET", path, headers={"cookie": self.cookie})
        try:
            return link.getresponse().status
        finally:
            link.close()

    def feed(self, path: str, seconds: float = 5.0) -> Iterator[tuple[str, Any]]:
        """Events as they come; ends by itself after `seconds`."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        link.request("GET", path, headers={"cookie": self.cookie})
        response = link.getresponse()
        assert response.status == 200, response.read()
        until, name = time.monotonic() + seconds, ""
        try:
            while time.monotonic() < until:
                line = response.readline().decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    yield name, json.loads(line[6:])
        except TimeoutError:
            return
        finally:
            link.close()
