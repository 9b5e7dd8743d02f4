"""What recorder and spool file add to the agent's own work, at 100 windows a second.

The same messages go through two agents that are not connected to anything, one of them with `durability.folder`: groups
of 128 are recorded and fsynced, as they are where the broker lets so many wait (deploy/mosquitto: 200; mosquitto's own
20 makes it 50 fsyncs a second), and the spool file is committed once for every 100 windows. Processor time of all
but the model, with the kernel's part of writing; the waiting for the disk is not work.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.own_work import Arrivals, TimedInterpreter, payloads
from edge.agent import Agent
from edge.build import load_bundle
from edge.clock import Clock
from edge.config import BundleSettings, DurabilitySettings, MqttSource, NodeSettings, Settings
from edge.recorder.writer import ACK_MOST

WINDOWS_S = 100.0


@dataclass(frozen=True)
class DurableWork:
    """Processor time for a second in which 100 windows fall due, in ms, and fsyncs a second."""

    plain_ms: float
    durable_ms: float
    fsyncs: float
    messages: int
    windows: int

    @property
    def share(self) -> float:
        """What durability adds, as a share of the work without it."""
        return self.durable_ms / self.plain_ms - 1.0


class _Bench:
    """One agent, fed by hand."""

    def __init__(self, bundle: BundleSettings, folder: Path | None) -> None:
        self.arrivals = Arrivals()
        settings = Settings(
            node=NodeSettings(id="bench"),
            bundle=bundle,
            source=(MqttSource(),),
            durability=DurabilitySettings(folder=folder),
        )
        now = self.arrivals
        self.agent = Agent(settings, clock=Clock(monotonic=lambda: now.now_s, utc=lambda: 1.8e9 + now.now_s))
        classifier = self.agent.engine.classifier
        self.model = classifier._interpreter = TimedInterpreter(classifier._interpreter, time.thread_time)
        self.source: Any = self.agent.sources[0]
        self.source._emit = self.agent.intake.emitter(self.source)
        self.topic = self.agent.topics.stream("bench", "samples")
        self.windows = self._since = 0

    def feed(self, part: list[bytes]) -> float:
        """Processor seconds of a group of messages, without the model's."""
        agent, model = self.agent, self.model
        messages = [
            SimpleNamespace(topic=self.topic, payload=p, qos=1, mid=k + 1, dup=False, retain=False)
            for k, p in enumerate(part)
        ]
        model.spent_s = 0.0
        began = time.process_time()
        for message in messages:
            self.arrivals.next()
            self.source.on_message(message)
            items = agent.queue.get_many(64)
            agent.flow.work_off(items)
            agent.queue.done(len(items))
            for runner in agent.runners:
                if not len(runner.spool):
                    continue  # in an agent its thread sleeps
                entries = runner.spool.peek(64, 0.0)
                for entry in entries:
                    entry.result.to_json()
                runner.spool.remove([entry.key for entry in entries])
                self.windows += len(entries)
                self._since += len(entries)
        if agent.durability is not None:
            assert agent.durability.recorder is not None
            agent.durability.recorder.flush()
        return time.process_time() - began - model.spent_s

    def commit(self) -> float | None:
        """Processor seconds of the spool file's commit, where one is due."""
        if self.agent.durability is None or self._since < WINDOWS_S:
            return None
        self._since = 0
        began = time.process_time()
        self.agent.durability.store.commit()
        return time.process_time() - began

    def fsyncs(self) -> int:
        durability = self.agent.durability
        return (
            0
            if durability is None or durability.recorder is None
            else durability.recorder.syncs + durability.store.commits
        )


def measure(bundle: BundleSettings, messages: int = 3000, kind: str = "binary") -> DurableWork:
    """Both agents in turn, group by group, so that a busy machine is busy for both."""
    with tempfile.TemporaryDirectory(prefix="durable-") as name:
        benches = [_Bench(bundle, None), _Bench(bundle, Path(name) / "state")]
        vectors = load_bundle(bundle)[0].vectors.windows
        spec = benches[0].agent.engine.bundle.manifest.input
        made = payloads(kind, spec, vectors.reshape(-1, vectors.shape[-1]), messages)
        plain, durable = benches
        groups: tuple[list[float], list[float]] = [], []
        commits: list[float] = []
        for at in range(0, messages, ACK_MOST):
            part = made[at : at + ACK_MOST]
            for spent, bench in zip(groups, benches, strict=True):
                spent.append(bench.feed(part) / len(part))
            if (took := durable.commit()) is not None:
                commits.append(took)
        assert durable.agent.durability is not None
        durable.agent.durability.close()
        seconds = plain.windows / WINDOWS_S
        return DurableWork(
            # Medians: what else the machine does in one group must not count.
            plain_ms=statistics.median(groups[0]) * messages * 1e3 / seconds,
            durable_ms=statistics.median(groups[1]) * messages * 1e3 / seconds
            + statistics.median(commits or [0.0]) * 1e3,
            fsyncs=durable.fsyncs() / seconds,
            messages=messages,
            windows=plain.windows,
        )


def main() -> int:
    """Print the measurement as JSON: ``python -m benchmarks.durable_work BUNDLE MESSAGES``."""
    measured = measure(BundleSettings(name=sys.argv[1]), int(sys.argv[2]))
    print(json.dumps(asdict(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
