"""What the agent itself costs: ``python -m benchmarks.agent --json F``.

Own work for each message and window (beside the model's time), start to ready, and resident memory. Work is
timed in a process that holds all parts of an agent (see own_work); start and memory are those of a real
`edge-agent run` that serves eight streams through mosquitto. A message is one second of signal as binary frames.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import agent_process
from benchmarks.goals import Figure, report
from benchmarks.own_work import OwnWork
from edge.errors import EdgeError

MESSAGE_US, WINDOW_US, READY_S, RESIDENT_MB = 60.0, 400.0, 1.5, 80.0


def own_work(bundle: str, kind: str, messages: int) -> OwnWork:
    """The measurement of own_work, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.own_work", bundle, kind, str(messages)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "own_work failed")
    return OwnWork(**json.loads(done.stdout))


def figures(bundle: str, messages: int, runs: int) -> list[Figure]:
    """Measure everything; medians over runs."""
    binary, text = (own_work(bundle, kind, messages) for kind in ("binary", "json"))
    processes = agent_process.measure(bundle, runs)
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
        Figure("the model, a window", binary.model_us, "µs", None, f"{bundle}, one thread"),
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
