"""What the agent itself costs: ``python -m benchmarks.agent --json F``.

Own work for each message and window (beside the model's time), messages a second beside a bare paho loop's, start
to ready, and resident memory. Work is timed in a process that holds all parts of an agent (see own_work), messages a
second with sessions that waited (see throughput); start and memory are those of a real `edge-agent run` that serves
eight streams through mosquitto. A message is one second of signal as binary frames.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import agent_process, throughput
from benchmarks.durable_work import DurableWork
from benchmarks.goals import Figure, report
from benchmarks.own_work import OwnWork
from edge.errors import EdgeError

DURABLE_PERCENT = 15.0
BARE_SHARE, BARE_AIM = 50.0, 80.0
MESSAGE_US, WINDOW_US, READY_S, RESIDENT_MB = 60.0, 400.0, 1.5, 80.0


def own_work(bundle: str, kind: str, messages: int) -> OwnWork:
    """The measurement of own_work, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.own_work", bundle, kind, str(messages)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "own_work failed")
    return OwnWork(**json.loads(done.stdout))


def durable_work(bundle: str, messages: int) -> DurableWork:
    """The measurement of durable_work, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.durable_work", bundle, str(messages)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "durable_work failed")
    return DurableWork(**json.loads(done.stdout))


def figures(bundle: str, messages: int, runs: int) -> list[Figure]:
    """Measure everything; medians over runs."""
    binary, text = (own_work(bundle, kind, messages) for kind in ("binary", "json"))
    durable = durable_work(bundle, messages)
    processes = agent_process.measure(bundle, runs)
    rates = throughput.measure(bundle, runs)
    used = {name: statistics.median(getattr(rate, name) for rate in rates) for name in ("bare_us", "agent_us")}
    bare, agents = (statistics.median(getattr(rate, name) for rate in rates) for name in ("bare", "agent"))
    count = f"median of {binary.messages}"
    return [
        Figure(
            "own work, a message",
            binary.message_us,
            "µs",
            MESSAGE_US,
            f"{count}, one second of binary frames",
        ),
        Figure("own work, a JSON message", text.message_us, "µs", None, "the same second as JSON"),
        Figure("own work, a window", binary.window_us, "µs", WINDOW_US, f"median of {binary.windows}"),
        Figure("100 windows a second", durable.plain_ms, "ms/s", None, "own work, in memory alone"),
        Figure("the same, nothing lost", durable.durable_ms, "ms/s", None, "with recorder and spool file"),
        Figure(
            "recorder and spool file",
            100.0 * durable.share,
            "%",
            DURABLE_PERCENT,
            "what they add to the agent's own work",
        ),
        Figure("fsyncs", durable.fsyncs, "1/s", None, "at 100 windows a second; 3 where little comes"),
        Figure("the model, a window", binary.model_us, "µs", None, f"{bundle}, one thread"),
        Figure(
            "of a bare interpreter",
            100.0 * binary.model_us / (binary.model_us + binary.window_us),
            "%",
            None,
            f"windows a second; {1e6 / binary.model_us:,.0f} are the interpreter's alone",
        ),
        Figure("messages, a bare paho loop", bare, "/s", None, f"counted, {used['bare_us']:.0f} µs of cpu each"),
        Figure("messages, the agent", agents, "/s", None, f"windowed, {used['agent_us']:.0f} µs of cpu each"),
        Figure(
            "of a bare paho loop",
            100.0 * statistics.median(rate.agent / rate.bare for rate in rates),
            "%",
            BARE_SHARE,
            f"messages a second, aim {BARE_AIM:g} %, median of {runs}",
            at_least=True,
        ),
        Figure(
            "start to ready", statistics.median(r.ready_s for r in processes), "s", READY_S, f"{runs} starts"
        ),
        Figure(
            "resident memory",
            max(r.resident_mb for r in processes),
            "MB",
            RESIDENT_MB,
            "largest, after 8 streams",
        ),
        Figure(
            "all processor time, a message",
            statistics.median(r.cpu_us for r in processes),
            "µs",
            None,
            f"paho and the model included, {processes[0].messages} messages, {processes[0].windows} windows",
        ),
    ]


def main() -> int:
    """Measure, print beside the goals, write JSON; 1 when a goal is missed, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agent", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    parser.add_argument("--bundle", default="ecg-rhythm", help="shipped bundle or file")
    parser.add_argument("--messages", type=int, default=3000, help="messages timed in-process")
    parser.add_argument("--runs", type=int, default=3, help="starts of a real agent")
    arguments = parser.parse_args()
    try:
        measured = figures(arguments.bundle, arguments.messages, arguments.runs)
    except (RuntimeError, EdgeError) as error:
        print(f"benchmarks.agent: {error}", file=sys.stderr)
        return 2
    return report(measured, {"benchmark": "agent", "bundle": arguments.bundle}, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
