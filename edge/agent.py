"""The agent: wires sources, pipeline and sinks, and is the only place that owns threads, queues and shutdown.

Threads: one for each source, one for the pipeline, one for each sink, one for the outgoing connection. The caller's
thread runs `run`, which announces health and waits. Between sources and pipeline lies a BlockQueue (full: sources
wait), between pipeline and each sink a spool (full: oldest or newest result goes, by config).

What a source hands over goes through edge.intake into the queue, from there through edge.flow and edge.outlet.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial

from edge import config
from edge.announce import Announcer
from edge.blockqueue import BlockQueue
from edge.build import make_chain, make_decisions, make_durability, make_engine, make_sources
from edge.clock import SYSTEM_CLOCK, Clock
from edge.decisions import hour_json
from edge.flow import Flow
from edge.intake import Intake, Queued
from edge.memory import HighWater, give_back
from edge.metrics import Histogram, Metrics
from edge.models import service as model_service
from edge.models.updater import Updater
from edge.onlookers import make_dashboard, make_exporter, make_live
from edge.outgoing import make_outgoing
from edge.outlet import Outlet
from edge.overload import Overload
from edge.owners import Owners
from edge.presence import Presence
from edge.shutdown import END_BY_S, PIPELINE_BY_S, SINKS_BY_S, SOURCES_BY_S, STOPPED_BY_S, Shutdown
from edge.sources.base import Source
from edge.sources.trust import SerialShared
from edge.supervise import Supervisor, spawn
from edge.topics import Topics
from edge.types import Result, Window, rfc3339
from edge.vitals import Vitals

log = logging.getLogger("edge.agent")

TICK_S = 0.2


class Agent:
    """One run of the agent. `on_result` sees every result as it is made (for the demo and for tests).

    `watched`: keep the last minutes of every stream in `live`, for somebody who looks on.
    """

    def __init__(
        self,
        settings: config.Settings,
        *,
        clock: Clock = SYSTEM_CLOCK,
        on_result: Callable[[Result], None] | None = None,
        watched: bool = False,
    ) -> None:
        self.settings, self.clock = settings, clock
        self.metrics = Metrics()
        self.boot_id = uuid.uuid4().hex
        self.queue: BlockQueue[Queued] = BlockQueue(settings.pipeline.queue_blocks)
        self.metrics.gauge("queue_blocks", lambda: len(self.queue))
        self.supervisor = Supervisor(self.metrics, clock.monotonic)
        # Whoever waits for room in the queue is not stuck.
        self._part = partial(self.supervisor.start, excused=lambda: self.queue.full)
        self._shutdown = Shutdown(clock.monotonic)
        self._vitals = Vitals(self)
        self.config_refused = ""
        self.topics = Topics(settings.node.base, settings.node.id)
        self.announcer = Announcer(self.topics)
        self.overload = Overload(settings.overload, clock.monotonic, self._tell_overload)
        self._presence = Presence(settings.pipeline.silent_s, clock.monotonic)
        folder = model_service.model_folder(settings)
        begun = model_service.begin(settings, folder, clock)
        self.engine = make_engine(
            settings,
            begun.bundle,
            begun.classifier,
            boot_id=self.boot_id,
            metrics=self.metrics,
            clock=clock,
            on_verdict=self._answer,
            overload=self.overload,
        )
        self.updater = Updater(
            settings, folder, self.engine, begun, clock=clock, event=self.event, spawn=spawn
        )
        decisions = make_decisions(
            settings,
            begun.bundle.manifest.labels,
            self.metrics,
            clock,
            lambda hour: self.announcer.attack_rate(hour.stream, hour_json(hour)),
        )
        spec = begun.bundle.manifest.input
        self.serial = SerialShared()
        sources = make_sources(settings, spec, self.metrics, clock, self.serial)
        self.live = make_live(settings, watched=watched)
        self.durability = make_durability(settings, spec, self.metrics, clock)
        self.intake = Intake(
            sources,
            self.queue,
            Owners(settings.pipeline.silent_s, self.metrics, clock.monotonic),
            clock.monotonic,
            self._part,
            overload=self.overload if settings.overload.high else None,
            durability=self.durability,
            live=self.live,
        )
        outgoing = make_outgoing(self)
        self.runners, self._link, self._requests = outgoing.runners, outgoing.link, outgoing.requests
        latency = Histogram() if settings.metrics.enabled else None
        self.outlet = Outlet(self.runners, live=self.live, latency=latency, on_result=on_result)
        self.outlet.chain = make_chain(settings, self.durability, self.boot_id, self.outlet.note, clock)
        self.flow = Flow(
            self.queue,
            self.engine,
            decisions,
            self.outlet,
            presence=self._presence,
            announcer=self.announcer,
            overload=self.overload,
            metrics=self.metrics,
            shutdown=self._shutdown,
            clock=clock,
            in_a_hurry=bool(settings.overload.high),
            durability=self.durability,
            live=self.live,
            discovery=self._discovery if settings.homeassistant.discovery else None,
        )
        self._exporter = make_exporter(self, latency)
        self.dashboard = make_dashboard(self, self.live, events=decisions.wanted)
        self._ready = False

    @property
    def sources(self) -> list[Source]:
        """Those that run now; see `Intake.replace`."""
        return self.intake.sources

    def run(self, should_stop: Callable[[], bool], tick: Callable[[], object] = lambda: None) -> None:
        """Work until `should_stop()`, asked several times a second, or until every source has come to its end.
        `tick` is called as often, from the same thread: the place to ask for a reload (edge.reload).

        Returns with all threads ended, or abandoned where something outside hangs.
        """
        self._start()
        try:
            self._tell_ready()  # a short recording is over before the first look
            while not should_stop() and not self._done():
                self._tell_ready()
                self.updater.tick()
                tick()
                if (facts := self._vitals.tick()) is not None:
                    self.announcer.health(facts)
                    if not self.queue.unfinished:
                        self._high_water.look()
                self.outlet.tell_given_up()
                if self.durability is not None:
                    self.durability.tick()
                for stream in self._presence.silent():
                    self.announcer.availability(stream, False)
                time.sleep(TICK_S if self._ready else TICK_S / 10)
        finally:
            self._stop()

    def health(self) -> dict[str, object]:
        """Facts for the `health` topic."""
        return self._vitals.health()

    def info(self) -> dict[str, object]:
        """Facts for the `info` topic."""
        return self._vitals.info()

    def event(self, facts: dict[str, object]) -> None:
        """Tell on the node's `event` topic what happened to the agent itself; any thread."""
        self.announcer.event({"t": rfc3339(self.clock.utc()), "boot_id": self.boot_id, **facts})
        if facts.get("kind") == "model":
            self.announcer.info(self.info())

    def online(self) -> list[str]:
        """Streams that are heard now."""
        return sorted(self._presence.online())

    def _start(self) -> None:
        self.announcer.info(self.info())
        shutdown = self._shutdown
        if self._requests is not None:
            self._part("requests", self._requests.run, shutdown.sinks, watched=False)
        self._link_threads = []
        if self.dashboard is not None:
            self._link_threads.append(self._part("dashboard", self.dashboard.run, shutdown.link, watched=False))
        if self._link is not None:
            self._link_threads.append(self._part("link", self._link.run, shutdown.link))
        self._sink_threads = [
            self._part(f"sink-{r.sink.kind}", partial(r.run, grace_s=shutdown.sinks_left_s), shutdown.sinks)
            for r in self.runners
        ]
        if self._exporter is not None:
            serve = partial(_no_stop, self._exporter.serve_forever)
            self._link_threads.append(self._part("metrics", serve, shutdown.link, watched=False))
        self._durable_threads = [
            self._part(name, partial(_no_stop, body), shutdown.durability, watched=False)
            for name, body in ([] if self.durability is None else self.durability.parts())
        ]
        self._pipeline_thread = self._part("pipeline", self.flow.run, shutdown.pipeline, watched=False)
        self.intake.start()
        log.info(
            "started: %s, node %s, %s -> %s",
            self.engine.bundle.manifest.ref,
            self.settings.node.id,
            "+".join(s.name for s in self.sources),
            "+".join(r.sink.name for r in self.runners),
        )
        give_back()
        self._high_water = HighWater()
        self._vitals.started()

    def _tell_ready(self) -> None:
        """`online` means that nothing sent from now on is missed, not that the process runs."""
        if not self._ready and all(source.is_ready for source in self.sources):
            self._ready = True
            self.announcer.online()
            self.updater.started()
            log.info("ready in %.2f s", self._vitals.uptime_s)

    def _done(self) -> bool:
        """Every source has ended and what they gave is delivered; or nobody wants results any more."""
        if all(runner.gone for runner in self.runners):
            return True
        return (
            not self.intake.is_alive
            and not self.queue.unfinished
            and not any(len(runner.spool) for runner in self.runners if not runner.gone)
        )

    def _answer(self, window: Window, result: Result) -> None:
        if self.live is not None:
            self.live.verdict(window, result)
        for source in self.intake.answering:
            source.answer(window, result)
        self.updater.saw(window, result)

    def _discovery(self, stream: str) -> tuple[str, str]:
        from edge.homeassistant import discovery

        return discovery(self.topics, stream, self.engine.bundle.manifest, self.settings.homeassistant.prefix)

    def _tell_overload(self, level: int, lag_s: float) -> None:
        mode = self.settings.overload.mode
        self.event({"kind": "overload", "mode": mode, "step": level, "lag_s": round(lag_s, 2)})

    def _stop(self) -> None:
        """In the order of the samples: stop reading, classify what was taken, deliver it, say `stopped`."""
        shutdown = self._shutdown
        shutdown.begin()
        self._vitals.stopping()
        self.updater.stopped()
        self.intake.stop()
        self.queue.close()
        shutdown.join(self.intake.threads, SOURCES_BY_S)
        if self.durability is not None:
            self.durability.stop_recorder()
        shutdown.join([self._pipeline_thread], PIPELINE_BY_S)
        shutdown.sinks.set()
        for runner in self.runners:
            runner.spool.wake()
        shutdown.join(self._sink_threads, SINKS_BY_S)
        self._end_durability()
        for stream in self._presence.online():
            self.announcer.availability(stream, False)
        self.announcer.stopped(max(0.0, shutdown.left_s(STOPPED_BY_S)))
        shutdown.link.set()
        if self._exporter is not None:
            self._exporter.shutdown()
            self._exporter.server_close()
        shutdown.join(self._link_threads, END_BY_S)
        log.info("stopped; %d windows answered", self.metrics.count("windows"))

    def _end_durability(self) -> None:
        """After the sinks: what they delivered need not be kept."""
        if self.durability is None:
            return
        self._shutdown.durability.set()
        self.durability.store.stop()
        self._shutdown.join(self._durable_threads, STOPPED_BY_S)
        if not any(thread.is_alive() for thread in self._durable_threads):
            self.durability.close()


def _no_stop(body: Callable[[], object], stop: threading.Event) -> None:
    """For parts that are ended by a call of their own, as they wait for more than a stop."""
    body()
