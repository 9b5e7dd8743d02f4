"""The agent: wires sources, pipeline and sinks, and is the only place that owns threads, queues and shutdown.

Threads: one for each source, one for the pipeline, one for each sink, one for the outgoing connection. The caller's
thread runs `run`, which announces health and waits. Between sources and pipeline lies a BlockQueue (full: sources
wait), between pipeline and each sink a spool (full: oldest or newest result goes, by config).
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

from edge import config, health
from edge.announce import Announcer
from edge.blockqueue import BlockQueue
from edge.build import make_chain, make_durability, make_runner, make_sources
from edge.chain import Chain, ChainNote
from edge.clock import SYSTEM_CLOCK, Clock
from edge.decisions import Decisions, hour_json
from edge.delivery.runner import SinkRunner
from edge.delivery.sinks.base import Sink
from edge.engine import Engine
from edge.events import Event
from edge.memory import HighWater, give_back
from edge.metrics import Histogram, Metrics
from edge.models import service as model_service
from edge.models.updater import Updater
from edge.overload import Overload, Priority
from edge.owners import Owners
from edge.pipeline.classify import Classifier
from edge.pipeline.runtime import runtime_name
from edge.presence import Presence
from edge.quarantine import Quarantine
from edge.rescue import Rescue
from edge.settings import ConfigError, suggestion
from edge.sources.answers import Answering
from edge.sources.base import Emit, Source
from edge.sources.trust import SerialShared, state_dir
from edge.supervise import Supervisor
from edge.topics import STATE_OFFLINE, Topics
from edge.types import Result, SampleBlock, Window, rfc3339
from edge.watchdog import Notifier, Progress, Watchdog

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from edge.dashboard.server import Dashboard
    from edge.durability import Durability
    from edge.live.store import LiveStore
    from edge.mqtt_link import MqttLink
    from edge.recorder.record import Recorded
    from edge.requests.service import Publish, RequestService

log = logging.getLogger("edge.agent")

TICK_S = 0.2
LOOK_S = 1.0
BATCH_BLOCKS, FEW_BLOCKS = 64, 4
LATER = float("inf")  # the arrival of what has no hurry
REPLACE_S = 2.0  # how long a source that is replaced may take to end
# A stop ends within 5 s whatever hangs; when each stage must be done, in seconds after the stop.
SOURCES_BY_S, PIPELINE_BY_S, SINKS_BY_S, STOPPED_BY_S, END_BY_S = 1.0, 2.2, 3.6, 4.1, 4.6


# Block, aligned, when it came (monotonic), its number in the recorder.
Queued = tuple[SampleBlock, bool, float, int]


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
        self.settings = settings
        self.metrics = Metrics()
        self.boot_id = uuid.uuid4().hex
        self._clock = clock
        self._on_result = on_result
        self._began, self._started = clock.monotonic(), clock.utc()
        self._overload = Overload(settings.overload, clock.monotonic, self._tell_overload)
        folder = model_service.model_folder(settings)
        begun = model_service.begin(settings, folder, clock)
        self.engine = Engine(
            begun.bundle,
            begun.classifier,
            node=settings.node.id,
            boot_id=self.boot_id,
            metrics=self.metrics,
            max_streams=settings.pipeline.max_streams,
            idle_s=settings.pipeline.stream_idle_s,
            clock=clock,
            on_verdict=self._answer,
            overload=self._overload,
            rescue=Rescue(
                Quarantine(state_dir(settings.node) / f"quarantine-{settings.node.id}"),
                self.metrics,
                lambda bundle: Classifier(bundle, settings.bundle.threads),
                clock,
            ),
        )
        self.topics = Topics(settings.node.base, settings.node.id)
        self.serial = SerialShared()
        spec = begun.bundle.manifest.input
        self.sources: list[Source] = make_sources(settings, spec, self.metrics, clock, self.serial)
        self._queue: BlockQueue[Queued] = BlockQueue(settings.pipeline.queue_blocks)
        self._supervisor = Supervisor(self.metrics, clock.monotonic)
        self._progress = Progress(
            lambda: self._queue.unfinished,
            lambda: self._queue.finished + self.metrics.count("windows"),
            clock.monotonic,
        )
        self._notifier = Notifier()
        self._watchdog = Watchdog(self._notifier, self._stuck, clock.monotonic)
        self._owners = Owners(settings.pipeline.silent_s, self.metrics, clock.monotonic)
        self._presence = Presence(settings.pipeline.silent_s, clock.monotonic)
        self._announcer = Announcer(self.topics)
        self._decisions = Decisions(
            settings.events,
            begun.bundle.manifest.labels,
            max_streams=settings.pipeline.max_streams,
            idle_s=settings.pipeline.stream_idle_s,
            metrics=self.metrics,
            clock=clock,
            on_hour=lambda hour: self._announcer.attack_rate(hour.stream, hour_json(hour)),
        )
        self._stops: dict[threading.Thread, threading.Event] = {}  # of each source's thread
        self._stop_pipeline = threading.Event()
        self._stop_sinks = threading.Event()
        self._stop_link = threading.Event()
        self._stop_at: float | None = None
        self._ready = False
        # The first look comes when connections have had their time.
        self._look_at = self._tell_at = clock.monotonic() + LOOK_S
        self._told_reasons: object = None
        self._link: MqttLink | None = None
        self._link_thread: threading.Thread | None = None
        self._requests: RequestService | None = None
        self.updater = Updater(
            settings, folder, self.engine, begun, clock=clock, event=self.event, spawn=self._thread
        )
        self.config_refused = ""
        self._dashboard_thread: threading.Thread | None = None
        self.durability = make_durability(settings, spec, self.metrics, clock)
        self._stop_durability = threading.Event()
        self._skipped = False
        self.runners = self._make_sinks()
        last = any(isinstance(part, config.MqttSink) and part.last for part in settings.sink)
        if settings.homeassistant.discovery and not last:
            raise ConfigError(
                "Home Assistant reads the topic `last`: add a sink of kind mqtt with last = true",
                key="homeassistant.discovery",
            )
        self._chain = make_chain(settings, self.durability, self.boot_id, self._note, clock)
        if settings.requests.enabled and self._link is None:
            raise ConfigError("requests come over a sink of kind mqtt; add one", key="requests.enabled")
        self._result_runners = [r for r in self.runners if "result" in r.holds]
        self._deciding = self._decisions.wanted
        self._latency: Histogram | None = None
        self._exporter = self._make_exporter() if settings.metrics.enabled else None
        self._event_runners = [r for r in self.runners if "event" in r.holds]
        self.metrics.gauge("queue_blocks", lambda: len(self._queue))
        self.live: LiveStore | None = None
        self.dashboard: Dashboard | None = None
        if watched or settings.dashboard.listen is not None:
            self._make_live()

    def run(self, should_stop: Callable[[], bool], tick: Callable[[], object] = lambda: None) -> None:
        """Work until `should_stop()`, asked several times a second, or until every source has come to its end.
        `tick` is called as often, from the same thread: the place to ask for a reload (edge.reload).

        Returns with all threads ended, or abandoned where something outside hangs.
        """
        self._start()
        try:
            while not should_stop() and not self._done():
                self._tell_ready()
                self._watchdog.tick()
                self.updater.tick()
                tick()
                self._tell_health()
                if self._chain is not None:
                    self._tell_given_up(self._chain)
                if self.durability is not None:
                    self.durability.tick()
                for stream in self._presence.silent():
                    self._announcer.availability(stream, False)
                time.sleep(TICK_S if self._ready else TICK_S / 10)
        finally:
            self._stop()

    def health(self) -> dict[str, object]:
        """Facts for the `health` topic."""
        if not self._queue.unfinished:
            self._overload.note(0.0)
        return health.health(
            now=self._clock.utc(),
            boot_id=self.boot_id,
            uptime_s=self._clock.monotonic() - self._began,
            streams=self.engine.streams,
            online=len(self._presence.online()),
            sources=[source.status() for source in self.sources],
            sinks=[
                {
                    "name": r.sink.name,
                    "kind": r.sink.kind,
                    "waiting": len(r.spool),
                    "given_up": r.spool.drops.by_stream(),
                    "error": r.last_error,
                }
                for r in self.runners
            ],
            disk=[] if self.durability is None else self.durability.status(),
            problems=self._problems(),
            counters=self.metrics.snapshot(),
            model=self.updater.facts(),
            config_refused=self.config_refused,
            overload=self._overload,
        )

    def info(self) -> dict[str, object]:
        """Facts for the `info` topic."""
        return health.info(
            self.settings,
            self.engine.bundle,
            boot_id=self.boot_id,
            started=self._started,
            runtime=runtime_name(),
        )

    @property
    def clock(self) -> Clock:
        return self._clock

    def event(self, facts: dict[str, object]) -> None:
        """Tell on the node's `event` topic what happened to the agent itself; any thread."""
        self._announcer.event({"t": rfc3339(self._clock.utc()), "boot_id": self.boot_id, **facts})
        if facts.get("kind") == "model":
            self._announcer.info(self.info())

    def online(self) -> list[str]:
        """Streams that are heard now."""
        return sorted(self._presence.online())

    def _make_live(self) -> None:
        from edge.live.store import LiveStore

        settings = self.settings.dashboard
        self.live = LiveStore(
            max_streams=self.settings.pipeline.max_streams,
            keep_s=settings.history_s,
            keep_windows=settings.listen is not None,
        )
        if settings.listen is not None:
            from edge.dashboard.recorded import RecordedSamples
            from edge.dashboard.server import Dashboard
            from edge.dashboard.subject import Subject

            durability = self.settings.durability
            folder = durability.folder if durability.record else None
            subject = Subject(
                node=self.settings.node.id,
                boot_id=self.boot_id,
                store=self.live,
                info=self.info,
                health=self.health,
                bundle=lambda: self.engine.bundle,
                silent_s=self.settings.pipeline.silent_s,
                events=self._deciding,
                update=self.updater.facts,
                chain=lambda: None if self._chain is None else self._chain.facts(),
                recorded=None if folder is None else RecordedSamples(folder / "samples"),
            )
            self.dashboard = Dashboard(settings, subject)

    def _tell_health(self) -> None:
        """Every `health.period_s`, and within a second of a change for better or worse."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        facts = self.health()
        if now >= self._tell_at or facts["reasons"] != self._told_reasons:
            self._tell_at = now + self.settings.health.period_s
            self._told_reasons = facts["reasons"]
            self._announcer.health(facts)
            if not self._queue.unfinished:
                self._high_water.look()

    def _make_exporter(self) -> WSGIServer:
        try:
            from edge.prometheus import AgentCollector, make_exporter
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"metrics.enabled needs {error.name}: pip install 'wavewall[metrics]'", key="metrics.enabled"
            ) from error
        self._latency = Histogram()
        collector = AgentCollector(
            self.metrics, self._latency, self.health, lambda: self.engine.bundle.manifest.ref
        )
        return make_exporter(self.settings.metrics.host, self.settings.metrics.port, collector)

    def _make_sinks(self) -> list[SinkRunner]:
        kinds = [part.kind for part in self.settings.sink]
        if kinds.count("mqtt") > 1:
            raise ConfigError("two sinks of kind mqtt would publish each result twice; keep one", key="sink")
        return [
            make_runner(
                self._make_sink(part),
                self.settings.delivery,
                self.metrics,
                self._clock,
                getattr(part, "holds", "all"),
                None if self.durability is None else self.durability.spool(at),
            )
            for at, part in enumerate(self.settings.sink)
        ]

    def _make_sink(self, part: config.SinkSettings) -> Sink:
        if isinstance(part, config.MqttSink):
            return self._make_mqtt_sink(part)
        from edge.delivery.sinks.lines import FileSink, StdoutSink

        if isinstance(part, config.StdoutSink):
            return StdoutSink()
        durable = self.settings.durability.folder is not None
        return FileSink(part.path, sync=durable, max_bytes=part.max_mb << 20, keep_s=part.keep_days * 86_400.0)

    def _make_mqtt_sink(self, part: config.MqttSink) -> Sink:
        from edge.delivery.sinks.mqtt import MqttSink
        from edge.mqtt_link import MqttLink
        from edge.mqtt_tls import tells_secret_in_plain

        if tells_secret_in_plain(self.settings.mqtt):
            log.warning("the broker's password goes over the network unencrypted; set mqtt.tls")

        def on_published(mid: int, code: int) -> None:
            sink.on_published(mid, code)
            self._announcer.on_published(mid, code)

        def on_connected() -> None:
            if requests is not None:
                link.subscribe(requests.filters)
            self._announcer.connected()

        requests = self._requests = self._make_requests(
            lambda topic, payload, correlation: link.publish(topic, payload, qos=1, correlation=correlation)
        )
        link = MqttLink(
            self.settings.mqtt,
            f"{self.topics.base}-{self.topics.node}-out",
            will=(self.topics.state, STATE_OFFLINE),
            on_connected=on_connected,
            on_message=None if requests is None else requests.on_message,
            on_published=on_published,
        )
        sink = MqttSink(
            link,
            self.topics,
            last=part.last,
            ack_timeout_s=self.settings.mqtt.ack_timeout_s,
            clock=self._clock.monotonic,
        )
        self._link = link
        self._announcer.attach(link)
        return sink

    def _make_requests(self, publish: Publish) -> RequestService | None:
        wanted = self.settings.requests
        if not wanted.enabled:
            return None
        from edge.requests.registry import Registry
        from edge.requests.service import RequestService
        from edge.requests.verbs import agent_verbs

        registry = Registry(agent_verbs(self), wanted.verbs)
        for verb in wanted.verbs:
            if verb not in registry.names:
                says = f"requests.verbs: no verb {verb!r}{suggestion(verb, registry.names)}"
                raise ConfigError(says, key="requests.verbs")
        return RequestService(registry, wanted, self.topics, publish, clock=self._clock)

    def _start(self) -> None:
        self._announcer.info(self.info())
        if self._requests is not None:
            self._part("requests", self._requests.run, self._stop_sinks, watched=False)
        if self.dashboard is not None:
            self._dashboard_thread = self._part("dashboard", self.dashboard.run, self._stop_link, watched=False)
        if self._link is not None:
            self._link_thread = self._part("link", self._link.run, self._stop_link)
        self._sink_threads = [
            self._part(f"sink-{r.sink.kind}", partial(r.run, grace_s=self._sinks_grace), self._stop_sinks)
            for r in self.runners
        ]
        if self._exporter is not None:
            serve = partial(_no_stop, self._exporter.serve_forever)
            self._exporter_thread = self._part("metrics", serve, self._stop_link, watched=False)
        self._durable_threads = [
            self._part(name, partial(_no_stop, body), self._stop_durability, watched=False)
            for name, body in ([] if self.durability is None else self.durability.parts())
        ]
        self._pipeline_thread = self._part("pipeline", self._run_pipeline, self._stop_pipeline, watched=False)
        self._source_threads = [self._start_source(source) for source in self.sources]
        log.info(
            "started: %s, node %s, %s -> %s",
            self.engine.bundle.manifest.ref,
            self.settings.node.id,
            "+".join(s.name for s in self.sources),
            "+".join(r.sink.name for r in self.runners),
        )
        give_back()
        self._high_water = HighWater()
        # Not once the broker is there: an agent that waits for one has started.
        self._notifier.tell("READY=1")

    def _start_source(self, source: Source) -> threading.Thread:
        stop = threading.Event()
        thread = self._part(f"source-{source.name}", partial(self._run_source, source), stop)
        self._stops[thread] = stop
        return thread

    def replace_sources(self, sources: list[Source]) -> None:
        """From now on these: those that are in it already go on untouched, what is new starts after what it may take
        the place of has ended. Streams keep their windows.
        """
        old = list(zip(self.sources, self._source_threads, strict=True))
        gone = [(source, thread) for source, thread in old if source not in sources]
        for _, thread in gone:
            self._stops.pop(thread).set()
        for _, thread in gone:
            thread.join(REPLACE_S)
        running = {id(source): thread for source, thread in old}
        self._source_threads = [running.get(id(s)) or self._start_source(s) for s in sources]
        self.sources = sources

    def _tell_ready(self) -> None:
        """`online` means that nothing sent from now on is missed, not that the process runs."""
        if not self._ready and all(source.is_ready for source in self.sources):
            self._ready = True
            self._announcer.online()
            self.updater.started()
            log.info("ready in %.2f s", self._clock.monotonic() - self._began)

    def _part(
        self, name: str, body: Callable[[threading.Event], object], stop: threading.Event, *, watched: bool = True
    ) -> threading.Thread:
        """A thread that is started again where it fails; watched: it looks at its stop several times a minute."""
        name = self._supervisor.name(name)
        seen = self._supervisor.pulse(name, stop, lambda: self._queue.full) if watched else stop
        return self._thread(name, lambda: self._supervisor.keep(name, partial(body, seen), stop))

    def _stuck(self) -> dict[str, str]:
        """Parts that do not move; the pipeline only while samples wait, as nothing need move where nothing is due."""
        limit_s = self.settings.health.stuck_s
        stuck = self._supervisor.stuck(limit_s)
        if self._progress.still_s() > limit_s:
            stuck["pipeline"] = f"samples wait, and none was worked off for {limit_s:g} s"
        return stuck

    def _problems(self) -> dict[str, str]:
        return {**self._stuck(), **self._supervisor.down}

    def _thread(self, name: str, target: Callable[[], object]) -> threading.Thread:
        # Daemons, so that a hanging driver or name server cannot keep a stopped agent alive.
        thread = threading.Thread(target=target, name=f"edge-{name}", daemon=True)
        thread.start()
        return thread

    def _done(self) -> bool:
        """Every source has ended and what they gave is delivered; or nobody wants results any more."""
        if all(runner.gone for runner in self.runners):
            return True
        return (
            not any(thread.is_alive() for thread in self._source_threads)
            and not self._queue.unfinished
            and not any(len(runner.spool) for runner in self.runners if not runner.gone)
        )

    def _run_source(self, source: Source, stop: threading.Event) -> None:
        source.run(self.emitter(source), stop)

    def emitter(self, source: Source) -> Emit:
        """What a source hands its blocks to."""
        live, status, durability, queue = self.live, source.status, self.durability, self._queue
        # A recording that is played as fast as it goes is late by nobody's measure.
        hurried, monotonic = source.name != "replay", self._clock.monotonic
        prefers = bool(self.settings.overload.high)

        def put(block: SampleBlock, number: int = 0) -> None:
            if live is not None:
                live.came_from(block.stream, status)
            first = prefers and self._overload.priority(block.stream) is Priority.HIGH
            queue.put((block, source.aligned, monotonic() if hurried else LATER, number), first=first)

        def is_ours(block: SampleBlock, on_accepted: Callable[[], None] | None) -> bool:
            # With one source there is nobody to mix it up with.
            if len(self.sources) <= 1 or self._owners.takes(block.stream, source, self.sources, end=block.end):
                return True
            if on_accepted is not None:
                on_accepted()
            return False

        def emit(block: SampleBlock, on_accepted: Callable[[], None] | None = None) -> None:
            if is_ours(block, on_accepted):
                put(block)
                if on_accepted is not None:
                    on_accepted()

        def record(block: SampleBlock, on_accepted: Callable[[], None] | None = None) -> None:
            assert durability is not None
            if is_ours(block, on_accepted):
                durability.accept(block, source.aligned, on_accepted, lambda number: put(block, number))

        return emit if durability is None else record

    def _run_pipeline(self, stop: threading.Event) -> None:
        if self.durability is not None:
            self._recover(self.durability)
        # A high-priority block waits for the batch before it at most.
        batch = FEW_BLOCKS if self.settings.overload.high else BATCH_BLOCKS
        while items := self._queue.get_many(batch):
            try:
                self.work_off(items)
            finally:
                self._queue.done(len(items))
        self._tell(self._decisions.stop())
        if self._chain is not None:
            self._chain.stop()

    def work_off(self, items: Sequence[Queued]) -> None:
        """Blocks as they came from the queue: windows, verdicts, results offered to the sinks."""
        self._overload.note(max(0.0, self._clock.monotonic() - min(item[2] for item in items)))
        for block, aligned, _, number in items:
            if self._left(PIPELINE_BY_S) <= 0:
                # Recorded ones are answered at the next start.
                self._skipped = True
                self.metrics.add_by("left" if number else "dropped", "stopping")
                continue
            self._process(block, aligned)
            if number and self.durability is not None and not self._skipped:
                self.durability.done(number, block)

    def _recover(self, durability: Durability) -> None:
        """Bring the streams back to where an earlier run left them, and answer what it owed."""
        before = self.metrics.count("windows")
        try:
            for recorded, is_owed, is_old in durability.owed():
                if self._left(PIPELINE_BY_S) <= 0:
                    self._skipped = True
                    return
                self._take_recorded(recorded, is_owed, is_old)
                durability.done(recorded.number, recorded.block)
        except OSError as error:
            log.error("the recorder cannot be read (%s); going on with what comes", error)
        if answered := self.metrics.count("windows") - before:
            self.metrics.add("recovered_windows", answered)
            log.info("%d windows of an earlier run answered from the recorder", answered)

    def _take_recorded(self, recorded: Recorded, is_owed: bool, is_old: bool) -> None:
        block, aligned, origin = recorded.block, recorded.aligned, recorded.origin
        try:
            if not is_owed:
                self.engine.warm(block, aligned=aligned, origin=origin)
                return
            results = self.engine.push(block, aligned=aligned, origin=origin)
            if is_old:
                results = [replace(result, historical=True) for result in results]
            for result in results:
                self._offer(result)
            if self._deciding and (results or block.end):
                self._decide(block, results)
        except Exception:
            self._give_up(block)

    def _process(self, block: SampleBlock, aligned: bool) -> None:
        try:
            self._work(block, aligned)
        except Exception:
            self._give_up(block)

    def _give_up(self, block: SampleBlock) -> None:
        # One stream's poison must not end the others; its state may be what is wrong.
        self.metrics.add_by("dropped", "failed_block")
        log.exception("stream %s: block dropped, stream starts anew", block.stream)
        self.engine.drop(block.stream)

    def _work(self, block: SampleBlock, aligned: bool) -> None:
        results = self.engine.push(block, aligned=aligned)
        if self.live is not None:
            self.live.block(block)
        if self._presence.heard(block.stream, block.values.shape[0] / block.rate_hz):
            self._announcer.availability(block.stream, True)
            if self.settings.homeassistant.discovery:
                self._announcer.retained(*self._discovery(block.stream))
        for result in results:
            self._offer(result)
        if self._deciding and (results or block.end):
            self._decide(block, results)
        if block.end and self._presence.ended(block.stream):
            self._announcer.availability(block.stream, False)

    def _decide(self, block: SampleBlock, results: list[Result]) -> None:
        try:
            for result in results:
                self._tell(self._decisions.push(result))
            if block.end:
                self._tell(self._decisions.end(block.stream))
        except Exception:
            # Results are out already and windows go on; only this stream's events start anew.
            self.metrics.add_by("dropped", "failed_decision")
            log.exception("stream %s: events start anew", block.stream)
            self._decisions.drop(block.stream)

    def _discovery(self, stream: str) -> tuple[str, str]:
        from edge.homeassistant import discovery

        return discovery(self.topics, stream, self.engine.bundle.manifest, self.settings.homeassistant.prefix)

    def _note(self, note: ChainNote) -> None:
        for runner in self._result_runners:
            runner.offer(note)

    def _tell_given_up(self, chain: Chain) -> None:
        """Tombstones for what spools had to give up, once there is room for them."""
        for runner in self._result_runners:
            if runner.spool.has_room:
                for boot_id, stream, given_up in runner.spool.drops.take_chained():
                    runner.offer(chain.note("tombstone", stream, boot_id, asdict(given_up)))

    def _offer(self, result: Result) -> None:
        if self._chain is not None:
            result = self._chain.link(result)
        for runner in self._result_runners:
            runner.offer(result)
        if self._chain is not None:
            self._chain.after(result)
        if self._latency is not None:
            self._latency.observe(result.latency_ms / 1000.0)
        if self._on_result is not None:
            self._on_result(result)

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            if self.live is not None:
                self.live.event(event.to_dict())
            for runner in self._event_runners:
                runner.offer(event)

    def _answer(self, window: Window, result: Result) -> None:
        if self.live is not None:
            self.live.verdict(window, result)
        for source in self.sources:
            if isinstance(source, Answering):
                source.answer(window, result)
        self.updater.saw(window, result)

    def _tell_overload(self, level: int, lag_s: float) -> None:
        mode = self.settings.overload.mode
        self.event({"kind": "overload", "mode": mode, "step": level, "lag_s": round(lag_s, 2)})

    def _left(self, by_s: float) -> float:
        """Seconds until a stage of the stop must be done; plenty while nobody stops."""
        return by_s if self._stop_at is None else self._stop_at + by_s - self._clock.monotonic()

    def _sinks_grace(self) -> float:
        return self._left(SINKS_BY_S)

    def _stop(self) -> None:
        """In the order of the samples: stop reading, classify what was taken, deliver it, say `stopped`."""
        self._stop_at = self._clock.monotonic()
        self._notifier.tell("STOPPING=1")
        self.updater.stopped()
        self._stop_pipeline.set()
        for stop in self._stops.values():
            stop.set()
        self._queue.close()
        self._join(self._source_threads, SOURCES_BY_S)
        if self.durability is not None:
            self.durability.stop_recorder()
        self._join([self._pipeline_thread], PIPELINE_BY_S)
        self._stop_sinks.set()
        for runner in self.runners:
            runner.spool.wake()
        self._join(self._sink_threads, SINKS_BY_S)
        self._end_durability()
        for stream in self._presence.online():
            self._announcer.availability(stream, False)
        self._announcer.stopped(max(0.0, self._left(STOPPED_BY_S)))
        if self._exporter is not None:
            self._exporter.shutdown()
            self._exporter.server_close()
            self._join([self._exporter_thread], END_BY_S)
        self._stop_link.set()
        self._join([t for t in (self._link_thread, self._dashboard_thread) if t is not None], END_BY_S)
        log.info("stopped; %d windows answered", self.metrics.count("windows"))

    def _end_durability(self) -> None:
        """After the sinks: what they delivered need not be kept."""
        if self.durability is None:
            return
        self._stop_durability.set()
        self.durability.store.stop()
        self._join(self._durable_threads, STOPPED_BY_S)
        if not any(thread.is_alive() for thread in self._durable_threads):
            self.durability.close()

    def _join(self, threads: list[threading.Thread], by_s: float) -> None:
        for thread in threads:
            thread.join(max(0.0, self._left(by_s)))
            if thread.is_alive():
                log.warning("%s does not end; left behind", thread.name)


def _no_stop(body: Callable[[], object], stop: threading.Event) -> None:
    """For parts that are ended by a call of their own, as they wait for more than a stop."""
    body()
