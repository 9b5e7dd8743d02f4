"""Run it: load, faults at their times, a sample every ten seconds, and at the end what was lost (nothing)."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.goals import machine
from benchmarks.mosquitto import HOST, Mosquitto
from benchmarks.proxy import Proxy
from benchmarks.soak.load import Senders, Subscriber
from benchmarks.soak.report import judge, write
from benchmarks.soak.rig import Agent, Disk
from edge.bundle import read_bundle, resolve_bundle

NODE, SAMPLE_S, DISK_MB, RECORDER_MB = "soak", 10.0, 128, 48


@dataclass
class Event:
    """A fault that was done. `back_s`: from its end to the next live verdict."""

    at_s: float
    fault: str
    lasted_s: float
    back_s: float | None


class Soak:
    """One run."""

    def __init__(self, folder: Path, hours: float, streams: int, bundle: str) -> None:
        self.seconds = hours * 3600.0
        spec = read_bundle(resolve_bundle(bundle)).manifest.input
        vectors = read_bundle(resolve_bundle(bundle)).vectors.windows
        # Outages last as long as they last: no limit on what waits.
        self.broker, self.disk = Mosquitto(folder, queued=0), Disk(folder, DISK_MB)
        self.broker.start()
        self.proxy = Proxy(self.broker.port)
        self.agent = Agent(
            folder,
            [
                "--mqtt-host",
                HOST,
                "--mqtt-port",
                str(self.proxy.port),
                "--node",
                NODE,
                "--bundle",
                bundle,
                "--source",
                "mqtt:,aligned=true",
                "--durability-folder",
                str(self.disk.path / "state"),
                "--durability-recorder-mb",
                str(RECORDER_MB),
                "--durability-spool-mb",
                "16",
                "--health-period-s",
                "10",
                "--mqtt-keepalive-s",
                "10",
                "--mqtt-reconnect-max-s",
                "5",
            ],
        )
        self.subscriber = Subscriber(self.broker.port, NODE)
        self.agent.start()
        self.senders = Senders(self.broker.port, NODE, streams, spec, vectors.ravel().astype(np.float32))
        self.samples: list[dict[str, float]] = []
        self.events: list[Event] = []
        self._began = time.monotonic()
        self._over = threading.Event()

    def now(self) -> float:
        return time.monotonic() - self._began

    def run(self) -> None:
        self.senders.start()
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        # A fault every two minutes and a half (less in short runs). In the second half the agent is left alive, so
        # that its memory can be seen over an hour.
        faults = self._faults()
        period = min(150.0, self.seconds / 24.0)
        at, count = period, 0
        while at < self.seconds - 2 * period:
            time.sleep(max(0.0, at - self.now()))
            alive = at >= self.seconds / 2
            kinds = [f for f in faults if not (alive and f[0].startswith("agent"))]
            name, fault = kinds[count % len(kinds)]
            self._do(name, fault)
            count += 1
            at = max(at + period, self.now() + period / 3)
        time.sleep(max(0.0, self.seconds - self.now()))
        self.senders.stop()
        self._drain()
        self._over.set()
        watcher.join(30)

    def _drain(self) -> None:
        expected, until = self.senders.expected(), time.monotonic() + 120
        while expected - self.subscriber.seen() and time.monotonic() < until:
            time.sleep(1.0)

    def _faults(self) -> list[tuple[str, Callable[[float], None]]]:
        """Each lasts `s` seconds."""

        def killed(s: float) -> None:
            self.agent.kill()
            time.sleep(min(s, 2.0))
            self.agent.start()

        def restarted(s: float) -> None:
            self.agent.stop()
            self.agent.start()

        def broker(s: float) -> None:
            self.broker.stop()
            time.sleep(s)
            self.broker.start()

        def proxy(mode: str) -> Callable[[float], None]:
            def fault(s: float) -> None:
                self.proxy.mode = mode
                time.sleep(s)
                self.proxy.mode = "pass"

            return fault

        def disk_full(s: float) -> None:
            self.disk.fill()
            time.sleep(s)
            self.disk.free()

        faults = [
            ("agent killed (-9)", killed),
            ("broker restarted", broker),
            ("network cut", proxy("cut")),
            ("disk full", disk_full),
            ("agent restarted", restarted),
            ("connection half-open", proxy("stall")),
            ("broker frozen", self.broker.freeze),
        ]
        return [fault for fault in faults if fault[0] != "disk full" or self.disk.can_fill]

    def _do(self, name: str, fault: Callable[[float], None]) -> None:
        began, length = self.now(), min(30.0, self.seconds / 120.0)
        fault(length)
        ended = time.monotonic()
        while self.subscriber.heard < ended and time.monotonic() < ended + 90:
            time.sleep(0.1)
        back = self.subscriber.heard - ended if self.subscriber.heard >= ended else None
        self.events.append(Event(round(began, 1), name, round(self.now() - began - (back or 0.0), 1), back))
        print(
            f"{self.now():7.0f} s  {name}: live again after {back if back is None else round(back, 1)} s",
            flush=True,
        )

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            sample = self.agent.sample()
            if sample is not None:
                sample |= {
                    "at_s": round(self.now(), 1),
                    "life": self.agent.starts,
                    "disk_mb": self.disk.used_bytes() / 1e6,
                }
                self.samples.append(sample)

    def facts(self) -> dict[str, object]:
        expected, ids = self.senders.expected(), self.subscriber.ids
        return {
            "streams": len(self.senders.sent),
            "messages": sum(self.senders.sent.values()),
            "disk": self.disk.kind,
            "windows_expected": len(expected),
            "windows_answered": len(expected & set(ids)),
            "missing": len(expected - set(ids)),
            "not_expected": len(set(ids) - expected),
            "doubles": self.subscriber.doubles,
            "sent_again": sum(ids.values()) - len(ids),
            "answered_differently": self.subscriber.different,
            "with_missing_samples": self.subscriber.with_gaps,
            "historical": self.subscriber.historical,
            "degraded_reports": dict(self.subscriber.degraded),
            "agent_starts": self.agent.starts,
            "last_counters": self.subscriber.health.get("counters", {}),
        }

    def close(self) -> None:
        if self.agent.alive:
            self.agent.stop()
        self.subscriber.close()
        self.proxy.close()
        self.broker.stop()
        self.disk.close()


def main() -> int:
    """0 when nothing was lost and memory was flat."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--streams", type=int, default=40)
    parser.add_argument("--bundle", default="ecg-rhythm")
    parser.add_argument("--out", type=Path, default=Path("out/soak"), metavar="FOLDER")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        soak = Soak(Path(name), arguments.hours, arguments.streams, arguments.bundle)
        try:
            soak.run()
            facts = soak.facts()
        finally:
            soak.close()
            log = (Path(name) / "agent.log").read_text(errors="replace")
            (arguments.out / "agent.log").write_text(log[-200_000:])  # for a look; not among the results
    result = {
        "benchmark": "soak",
        "hours": arguments.hours,
        "bundle": arguments.bundle,
        **machine(),
        **facts,
        **judge(soak.samples, soak.seconds),
        "events": [asdict(event) for event in soak.events],
        "samples": soak.samples,
    }
    write(result, arguments.out)
    shown = {key: value for key, value in result.items() if key not in ("samples", "events", "last_counters")}
    print(json.dumps(shown, indent=1))
    return int(bool(result["missing"] or result["missed"]))


if __name__ == "__main__":
    sys.exit(main())
