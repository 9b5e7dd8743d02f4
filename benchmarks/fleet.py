"""Many streams on one agent: ``python -m benchmarks.fleet --streams 1000 --minutes 3 --json F [--cluster]``.

A real mosquitto, a real `edge-agent run`, and all devices in a process of their own (fleet_generator). The number
of streams rises in steps up to --streams (the curve of cost over streams), stays there for --minutes, and with
--search goes on rising until it no longer holds. A step holds when no window is lost or left out and 99 % of the
verdicts arrive within a second of the publishing of the window's last samples. Processor time of agent, broker and
generator is told apart: on a machine that all three share, the agent's own says what it needs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.agent_process import cpu_s
from benchmarks.fleet_generator import NODE, parse_plan
from benchmarks.goals import Figure, report
from edge.bundle import read_bundle, resolve_bundle
from edge.demo.broker import Broker, broker
from edge.demo.stage import DemoError
from edge.errors import EdgeError

P99_MS, MEMORY_MB, LOST = 1000.0, 250.0, 0.0
SHARES = (0.125, 0.25, 0.5, 0.75)
MEASURED_S = 20.0  # of each step below --streams, after it has settled
SEARCH_STEPS, SEARCH_GROWTH = 6, 1.2
GENERATOR_LATE_S = 0.5  # a generator that is later than this measures itself


@dataclass
class Used:
    """Processor seconds of each process at two moments, and the agent's memory at the second."""

    began: dict[str, float]
    ended: dict[str, float]
    seconds: float
    memory_mb: float

    def cores(self, name: str) -> float:
        return (self.ended[name] - self.began[name]) / self.seconds


class Watch:
    """Reads the processes' times at the right moments of each step, while the generator tells of them."""

    def __init__(self, pids: dict[str, int], settle_s: float) -> None:
        self._pids, self._settle_s = pids, settle_s
        self.used: list[Used] = []

    def times(self) -> dict[str, float]:
        return {name: cpu_s(pid) for name, pid in self._pids.items()}

    def step(self, began_s: float, seconds: float) -> None:
        time.sleep(max(0.0, began_s + self._settle_s - time.monotonic()))
        before, at = self.times(), time.monotonic()
        time.sleep(max(0.0, began_s + seconds - 0.5 - time.monotonic()))
        after, end = self.times(), time.monotonic()
        self.used.append(Used(before, after, end - at, peak_mb(self._pids["agent"])))


def peak_mb(pid: int) -> float:
    """Largest resident memory of a process so far, in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def plan(streams: int, minutes: float, settle_s: float, curve: bool, search: bool) -> str:
    """Steps as text, see fleet_generator."""
    steps = [(max(1, round(streams * share)), settle_s + MEASURED_S) for share in SHARES if curve]
    steps.append((streams, settle_s + 60.0 * minutes))
    if search:
        steps += [(round(streams * SEARCH_GROWTH**k), settle_s + MEASURED_S) for k in range(1, SEARCH_STEPS + 1)]
    return ",".join(f"{count}:{seconds:g}" for count, seconds in steps)


def run(
    place: Broker, steps: str, bundle: str, settle_s: float, spread_s: float, words: Sequence[str], folder: Path
) -> dict[str, Any]:
    """One fleet through one agent: the generator's figures with processor time and memory of each step."""
    most = max(streams for streams, _ in parse_plan(steps))
    command = [sys.executable, "-m", "edge.cli", "run", "--node", NODE, "--mqtt-port", str(place.port)]
    command += ["--bundle", bundle, "--pipeline-max-streams", str(most), "--node-state-dir", str(folder / "state")]
    log = (folder / "agent.log").open("wb")
    agent = subprocess.Popen([*command, *words], stdout=log, stderr=log)
    out = folder / "generator.json"
    try:
        wait_ready(folder / "agent.log", agent)
        arguments = [str(place.port), steps, bundle, str(out), str(settle_s), str(spread_s)]
        generator = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fleet_generator", *arguments], stdout=subprocess.PIPE, text=True
        )
        watch = Watch({"agent": agent.pid, "generator": generator.pid, "broker": broker_pid(place)}, settle_s)
        assert generator.stdout is not None
        for line in generator.stdout:
            told = json.loads(line)
            print(f"{told['streams']} streams for {told['seconds']:g} s", file=sys.stderr, flush=True)
            threading.Thread(target=watch.step, args=(told["began_s"], told["seconds"])).start()
        if generator.wait() or agent.poll() is not None:
            raise RuntimeError(f"it broke off: {(folder / 'agent.log').read_text()[-400:]}")
    finally:
        agent.terminate()
        agent.wait(20.0)
        log.close()
    found: dict[str, Any] = json.loads(out.read_text())
    for step, used in zip(found["steps"], watch.used, strict=True):
        step["agent_cores"] = round(used.cores("agent"), 4)
        step["broker_cores"] = round(used.cores("broker"), 4)
        step["generator_cores"] = round(used.cores("generator"), 4)
        step["agent_peak_mb"] = round(used.memory_mb, 1)
        step["agent_us_a_message"] = round(used.cores("agent") * 1e6 / step["streams"], 1)
    return found


def wait_ready(log: Path, agent: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30.0
    while "ready in" not in log.read_text(errors="replace"):
        if agent.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the agent did not start: {log.read_text()[-300:]}")
        time.sleep(0.05)


def broker_pid(place: Broker) -> int:
    """The process that listens on the broker's port: of our own children, the one called mosquitto."""
    import os

    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = path.read_text().rsplit(")", 1)
        except OSError:
            continue
        if name.endswith("(mosquitto") and int(rest.split()[1]) == os.getpid():
            return int(path.parent.name)
    raise RuntimeError(f"no mosquitto among our own processes; is {place.name} mosquitto?")


def holds(step: dict[str, Any]) -> bool:
    """No window lost or left out, none answered twice, and verdicts in time."""
    return not (step["lost"] or step["left_out"] or step["repeated"]) and step["p99_ms"] < P99_MS


def slopes(steps: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Straight lines through the steps: what a stream adds in processor and memory."""
    if len(steps) < 2:
        return {}
    x = [step["streams"] for step in steps]
    cores, base = np.polyfit(x, [step["agent_cores"] for step in steps], 1)
    memory, empty = np.polyfit(x, [step["agent_peak_mb"] for step in steps], 1)
    return {
        "cores_for_1000_streams": round(float(cores) * 1000, 4),
        "cores_without_streams": round(float(base), 4),
        "kb_a_stream": round(float(memory) * 1000, 1),
        "mb_without_streams": round(float(empty), 1),
    }


def figures(found: dict[str, Any], asked: int) -> tuple[list[Figure], dict[str, Any]]:
    """Goals beside figures; the largest number of streams that held, and everything up to it, count."""
    steps = found["steps"]
    held = [step for step in steps if holds(step)]
    at = next((step for step in reversed(held) if step["streams"] <= asked), None)
    largest = max((step["streams"] for step in held), default=0)
    late = found["late_s"] > GENERATOR_LATE_S
    note = "the generator was late, which is counted as the agent's" if late else ""
    rows = [Figure("streams that held", largest, "", None, f"of {asked} asked for; {note}".rstrip("; "))]
    main = next(step for step in steps if step["streams"] == asked)
    # Too slow even for the fewest, or losing windows: the goals are judged there.
    judged = at or steps[0]
    of = f"at {judged['streams']} streams" + ("" if at else ", and no step held")
    rows += [
        Figure("windows lost", float(judged["lost"]), "", LOST, f"of {judged['windows']}, {of}"),
        Figure("last sample to verdict, p99", judged["p99_ms"], "ms", P99_MS, f"p50 {judged['p50_ms']:g} ms, {of}"),
        Figure("resident memory, peak", judged["agent_peak_mb"], "MB", MEMORY_MB, of),
        Figure("agent", judged["agent_cores"], "cores", None, f"{judged['agent_us_a_message']:g} µs a message, {of}"),
        Figure("broker", judged["broker_cores"], "cores", None, of),
        Figure("generator", judged["generator_cores"], "cores", None, f"latest {found['late_s']:g} s, {of}"),
    ]
    if at is not None and at["streams"] != asked:
        rows.append(Figure(f"p99 at {asked} streams", main["p99_ms"], "ms", None, f"{main['lost']} windows lost"))
    line = slopes([step for step in steps if holds(step)])
    if line:
        rows += [
            Figure("1,000 streams more", line["cores_for_1000_streams"], "cores", None, "slope of the steps that held"),
            Figure("a stream more", line["kb_a_stream"], "kB", None, "slope of peak memory"),
        ]
    return rows, {"asked": asked, "held": largest, "generator_late_s": found["late_s"], "curve": steps, "slope": line}


def main() -> int:
    """Measure, print beside the goals, write JSON; 1 when a goal is missed, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--streams", type=int, default=1000, help="devices at 300 Hz, or the bundle's rate")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long with all of them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    parser.add_argument("--bundle", default="ecg-rhythm", help="shipped bundle or file")
    parser.add_argument("--no-curve", action="store_true", help="begin with all streams at once")
    parser.add_argument("--search", action="store_true", help="go on with more streams until it no longer holds")
    parser.add_argument("--together", action="store_true", help="all windows end within the same second of a hop")
    parser.add_argument("--cluster", action="store_true", help="windows a second over 1, 2 and 4 workers instead")
    parser.add_argument("agent", nargs="*", metavar="-- FLAG", help="further words for `edge-agent run`")
    arguments = parser.parse_args()
    try:
        if arguments.cluster:
            from benchmarks.fleet_cluster import measure

            return measure(arguments.bundle, arguments.minutes, arguments.json)
        spec = read_bundle(resolve_bundle(arguments.bundle)).manifest.input
        # A stream's first window takes a window, and its place in time up to a hop.
        settle_s = (spec.window_samples + spec.hop_samples) / spec.rate_hz + 2.0
        steps = plan(arguments.streams, arguments.minutes, settle_s, not arguments.no_curve, arguments.search)
        with tempfile.TemporaryDirectory() as name, broker(Path(name)) as place:
            spread_s = 1.0 if arguments.together else spec.hop_samples / spec.rate_hz
            found = run(place, steps, arguments.bundle, settle_s, spread_s, arguments.agent, Path(name))
    except (RuntimeError, EdgeError, DemoError) as error:
        print(f"benchmarks.fleet: {error}", file=sys.stderr)
        return 2
    rows, facts = figures(found, arguments.streams)
    context = {"benchmark": "fleet", "bundle": arguments.bundle, "agent_flags": arguments.agent, "spread_s": spread_s}
    return report(rows, {**context, **facts}, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
