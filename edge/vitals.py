"""How the agent is: gathered from its parts, told on `info` and `health`, and to systemd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge import health
from edge.pipeline.runtime import runtime_name
from edge.watchdog import Notifier, Progress, Watchdog

if TYPE_CHECKING:
    from edge.agent import Agent

LOOK_S = 1.0


class Vitals:
    """`tick` from the agent's thread, the others from any."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._monotonic = agent, agent.clock.monotonic
        self._began, self._started = self._monotonic(), agent.clock.utc()
        self._progress = Progress(
            lambda: agent.queue.unfinished,
            lambda: agent.queue.finished + agent.metrics.count("windows"),
            self._monotonic,
        )
        self._notifier = Notifier()
        self._watchdog = Watchdog(self._notifier, self._stuck, self._monotonic)
        # The first look comes when connections have had their time.
        self._look_at = self._tell_at = self._monotonic() + LOOK_S
        self._told_reasons: object = None

    @property
    def uptime_s(self) -> float:
        return self._monotonic() - self._began

    def info(self) -> dict[str, object]:
        """Facts for the `info` topic."""
        agent = self._agent
        return health.info(
            agent.settings,
            agent.engine.bundle,
            boot_id=agent.boot_id,
            started=self._started,
            runtime=runtime_name(),
        )

    def health(self) -> dict[str, object]:
        """Facts for the `health` topic."""
        agent = self._agent
        if not agent.queue.unfinished:
            agent.overload.note(0.0)
        return health.health(
            now=agent.clock.utc(),
            boot_id=agent.boot_id,
            uptime_s=self.uptime_s,
            streams=agent.engine.streams,
            online=len(agent.online()),
            sources=[source.status() for source in agent.sources],
            sinks=[
                {
                    "name": r.sink.name,
                    "kind": r.sink.kind,
                    "waiting": len(r.spool),
                    "given_up": r.spool.drops.by_stream(),
                    "error": r.last_error,
                }
                for r in agent.runners
            ],
            disk=[] if agent.durability is None else agent.durability.status(),
            problems={**self._stuck(), **agent.supervisor.down},
            counters=agent.metrics.snapshot(),
            model=agent.updater.facts(),
            config_refused=agent.config_refused,
            overload=agent.overload,
        )

    def started(self) -> None:
        # Not once the broker is there: an agent that waits for one has started.
        self._notifier.tell("READY=1")

    def stopping(self) -> None:
        self._notifier.tell("STOPPING=1")

    def tick(self) -> Mapping[str, object] | None:
        """Feeds systemd's watchdog; facts to be told now: every `health.period_s`, and within a second of a change
        for better or worse.
        """
        self._watchdog.tick()
        now = self._monotonic()
        if now < self._look_at:
            return None
        self._look_at = now + LOOK_S
        facts = self.health()
        if now < self._tell_at and facts["reasons"] == self._told_reasons:
            return None
        self._tell_at = now + self._agent.settings.health.period_s
        self._told_reasons = facts["reasons"]
        return facts

    def _stuck(self) -> dict[str, str]:
        """Parts that do not move; the pipeline only while samples wait, as nothing need move where nothing is due."""
        limit_s = self._agent.settings.health.stuck_s
        stuck = self._agent.supervisor.stuck(limit_s)
        if self._progress.still_s() > limit_s:
            stuck["pipeline"] = f"samples wait, and none was worked off for {limit_s:g} s"
        return stuck
