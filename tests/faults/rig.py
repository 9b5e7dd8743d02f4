"""An agent under load that is treated badly, and the count of what it owes: every window of what was sent."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import statistics
import struct
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edge.pipeline.identity import result_id
from edge.types import Result
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording, write_recording
from tests.edge.tiny import HOP, RATE_HZ, WINDOW, tiny_bundle
from tests.integration.rig import AgentProcess, Broker, wait_for

NODE = "gw1"
T0 = 1.8e9
BLOCK = 25  # samples of a message
FAST = ["--durability-sync-s", "0.1", "--durability-commit-s", "0.3"]


def client(name: str, port: int):
    """A session that outlasts the connection, so that nothing is missed while the broker is away."""
    import paho.mqtt.client as paho

    made = paho.Client(paho.CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv311, clean_session=False)
    made.max_queued_messages_set(0)
    # With room for more, paho sends what is published while it connects before what waits from earlier.
    made.max_inflight_messages_set(1)
    made.reconnect_delay_set(0.1, 0.2)
    made.connect_async("127.0.0.1", port)
    return made


class Watch:
    """Every result with the time at which it came, and every health."""

    def __init__(self, port: int) -> None:
        self.came: list[tuple[float, Result]] = []
        self.health: list[dict] = []
        self.last: list[Result] = []
        self.lines: list[str] = []  # results and notes of their chain, as they were published
        there = threading.Event()
        self._client = client("watch", port)
        self._client.on_connect = lambda c, *_: c.subscribe("wavewall/#", qos=1)
        self._client.on_subscribe = lambda *_: there.set()
        self._client.on_message = self._note
        self._client.loop_start()
        assert there.wait(10)

    def _note(self, _, __, message) -> None:
        leaf = message.topic.rpartition("/")[2]
        if leaf in ("result", "chain"):
            self.lines.append(message.payload.decode())
        if leaf == "result":
            self.came.append((time.monotonic(), Result.from_json(message.payload)))
        elif leaf == "last":
            self.last.append(Result.from_json(message.payload))
        elif leaf == "health":
            self.health.append(json.loads(message.payload))

    def results(self) -> list[Result]:
        return [result for _, result in list(self.came)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Load:
    """Streams that send without a pause; what was published stays with paho until the broker has it."""

    def __init__(self, port: int, streams: int = 8, every_s: float = 0.12, start: int = 0) -> None:
        self.sent = {f"s{k}": 0 for k in range(streams)}
        self._values = np.random.default_rng(5).normal(0, 80, 40_000).round().astype(int)
        self._every_s, self._start = every_s, start
        self._client = client("load", port)
        self._client.loop_start()
        self._go, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._go.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._go.wait()
            for stream in self.sent:
                self.send(stream)
            self._stop.wait(self._every_s)

    def send(self, stream: str) -> None:
        at = self.sent[stream]
        payload = json.dumps(
            {
                "t0": T0 + at / RATE_HZ,
                "rate_hz": RATE_HZ,
                "ch": {"ecg_uv": self._values[at : at + BLOCK].tolist()},
            }
        )
        self._client.publish(f"wavewall/{NODE}/stream/{stream}/samples", payload, qos=1)
        self.sent[stream] = at + BLOCK

    def pause(self) -> None:
        self._go.clear()

    def go_on(self) -> None:
        self._go.set()

    def stop(self) -> None:
        self._stop.set()
        self._go.set()
        self._thread.join(10)

    def close(self) -> None:
        self.stop()
        self._client.disconnect()
        self._client.loop_stop()

    def expected(self) -> dict[str, tuple[str, int]]:
        """Ids of all whole windows, with stream and first sample: the first window starts at the first sample."""
        base = round(T0 * RATE_HZ)
        return {
            result_id(NODE, stream, f"unix@{RATE_HZ:g}", base + at): (stream, at)
            for stream, count in self.sent.items()
            for at in range(0, count - WINDOW + 1, HOP)
        }


class Shim:
    """What the disk and the clock of the agent do; see shim.c."""

    def __init__(self, folder: Path, state: Path, *, shadow: bool = False) -> None:
        library, source = folder / "shim.so", Path(__file__).with_name("shim.c")
        subprocess.run(
            ["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True
        )
        control = folder / "control"
        control.write_bytes(b"ok".ljust(4096, b"\0"))
        self._file = control.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 4096)
        self._state, self.shadow = state, folder / "shadow" if shadow else None
        self.env: dict[str, str] = {
            "LD_PRELOAD": str(library),
            "SHIM_CONTROL": str(control),
            "SHIM_PREFIX": str(state),
        }
        if self.shadow is not None:
            self.env["SHIM_SHADOW"] = str(self.shadow)

    def mode(self, name: str) -> None:
        self._map[:16] = name.encode().ljust(16, b"\0")

    def clock(self, seconds: float) -> None:
        self._map[16:24] = struct.pack("d", seconds)

    def power_cut(self) -> int:
        """The agent is dead: leave of its folder what was fsynced, under names that were. How many bytes went."""
        assert self.shadow is not None
        before = sum(p.stat().st_size for p in self._state.rglob("*") if p.is_file())
        shutil.rmtree(self._state)
        kept = 0
        for names in self.shadow.rglob(".names"):
            folder = self._state / names.parent.relative_to(self.shadow)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in names.read_text().split():
                file = names.parent / name
                if file.is_file() and name != ".names":
                    shutil.copy(file, folder / name)
                    kept += file.stat().st_size
        return before - kept

    def close(self) -> None:
        self._map.close()
        self._file.close()


class Field:
    """Broker, agent and load of one test. `settle` counts."""

    def __init__(self, folder: Path, **load) -> None:
        self.folder, self.state = folder, folder / "state"
        self.broker = Broker(folder)
        self.broker.start()
        self.bundle = tiny_bundle(folder / "tiny.bundle")
        self.port = self.broker.port
        self.more: list[object] = []
        self.durable = True
        self.env: Mapping[str, str] = {}
        self.watch = Watch(self.broker.port)
        self.agent: AgentProcess | None = None
        self.live_s: list[float] = []
        self._load = load
        self.load: Load | None = None

    def _run(self) -> AgentProcess:
        words = [
            "--mqtt-host",
            "127.0.0.1",
            "--mqtt-port",
            self.port,
            "--bundle",
            self.bundle,
            "--node",
            NODE,
        ]
        words += ["--mqtt-reconnect-min-s", "0.05", "--mqtt-reconnect-max-s", "0.2", "--health-period-s", "1"]
        words += ["--node-state-dir", self.folder]
        words += ["--durability-folder", self.state, *FAST] if self.durable else []
        self.agent = AgentProcess(self.folder, [*words, *self.more], self.env)
        return self.agent

    def play(self, windows: int, *, speed: float = 0.0, ready: bool = True) -> None:
        """The agent on a recording of so many windows, as stream s9, in place of the load."""
        count = WINDOW + HOP * (windows - 1)
        values = np.random.default_rng(3).normal(0, 80, (count, 1)).astype(np.int16)
        write_recording(
            Recording("r", RATE_HZ, (Channel("ecg", "uV", 1.0),), digital=values), self.folder / "r.hea"
        )
        self.more += ["--source", f"replay:{self.folder / 'r.hea'},stream=s9,speed={speed:g}"]
        agent = self._run()
        if ready:
            agent.ready()

    def start(self, *, ready: bool = True) -> AgentProcess:
        """The agent, and with the first one the load: from then on the broker keeps what is sent."""
        agent = self._run()
        if ready or self.load is None:
            agent.ready()
        if self.load is None:
            self.load = Load(self.broker.port, **self._load)
        return agent

    def kill(self) -> None:
        assert self.agent is not None
        self.agent.kill()

    def live_again(self, since: float, timeout_s: float = 30.0) -> float:
        """Seconds from `since` to the first verdict, by its time of arrival, that is not historical."""

        def first() -> float | None:
            for came, result in reversed(self.watch.came):
                if came < since:
                    return None
                if not result.historical:
                    return came
            return None

        wait_for(first, "a live verdict", timeout_s)
        came = min(at for at, result in list(self.watch.came) if at >= since and not result.historical)
        self.live_s.append(came - since)
        return came - since

    def comes_back(self) -> None:
        """Start the agent; from then on the time to its first live verdict counts."""
        since = time.monotonic()
        self.start()
        self.live_again(since)

    def missing(self) -> set[str]:
        assert self.load is not None
        return set(self.load.expected()) - {r.id for r in self.watch.results()}

    def settle(self, timeout_s: float = 30.0, *, gaps: bool = False) -> dict[str, object]:
        """End the load, wait for what is owed, and count: nothing missing, nothing double, no answer in two ways."""
        assert self.load is not None
        self.load.stop()
        until = time.monotonic() + timeout_s
        while self.missing() and time.monotonic() < until:
            time.sleep(0.1)
        expected, results = self.load.expected(), self.watch.results()
        by_id: dict[str, set[tuple[str, float]]] = {}
        windows: dict[tuple[str, float], set[str]] = {}
        for r in results:
            by_id.setdefault(r.id, set()).add((r.label, r.score))
            windows.setdefault((r.stream, r.window.t0), set()).add(r.id)
        counts: dict[str, object] = {
            "windows": len(expected),
            "missing": len(set(expected) - set(by_id)),
            "double": len(set(by_id) - set(expected)) + sum(len(ids) > 1 for ids in windows.values()),
            "sent again": len(results) - len(by_id),
            "historical": sum(r.historical for r in results),
            "live again, s": _spread(self.live_s),
        }
        assert expected, "nothing was sent"
        assert counts["missing"] == 0, (counts, self.agent and self.agent.said()[-2000:])
        assert counts["double"] == 0, counts
        if not gaps:
            assert not any(r.window.missing for r in results), counts
            assert not [i for i, answers in by_id.items() if len(answers) > 1], counts
        return counts

    def last_health(self) -> dict:
        return wait_for(lambda: self.watch.health, "health")[-1]

    def wait_health(self, what: str, is_so) -> dict:
        """The first health from now on that is so."""
        seen = len(self.watch.health)
        return wait_for(
            lambda: next((h for h in self.watch.health[seen:] if is_so(h)), None), f"health: {what}"
        )

    def close(self) -> None:
        if self.load is not None:
            self.load.close()
        if self.agent is not None and self.agent.process.poll() is None:
            self.agent.kill()
        self.watch.close()
        self.broker.stop()


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return ""
    return f"{statistics.median(seconds):.1f} (most {max(seconds):.1f})"


def mounted(folder: Path, megabytes: int) -> bool:
    """A file system of that size on the folder: a loop file, else a tmpfs; False where mounting is not possible."""
    if os.geteuid() != 0:
        return False
    image = folder.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    for command in (
        ["sh", "-c", f"mkfs.ext4 -q -m 0 {image} && mount -o loop {image} {folder}"],
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)],
    ):
        if subprocess.run(command, capture_output=True).returncode == 0:
            return True
    return False
