"""`edge-agent run --role cutter`: samples in, complete windows out, by MQTT. Order within a stream is kept here.

Threads: one for each source, one that cuts, one that publishes, one for the connection. No model is run; the bundle
says how windows are cut.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from edge.announce import Announcer
from edge.blockqueue import BlockQueue
from edge.build import bundle_path, make_sources, trusted_key
from edge.bundle import read_bundle
from edge.clock import SYSTEM_CLOCK, Clock
from edge.cluster.outbox import Outbox
from edge.cluster.window import Cut, encode
from edge.config import Settings
from edge.errors import BlockError
from edge.health import rss_bytes
from edge.metrics import Metrics
from edge.mqtt_link import BrokerError, MqttLink
from edge.pipeline.identity import result_id
from edge.pipeline.windows import Windower
from edge.settings import ConfigError
from edge.sources.base import Closed, Source
from edge.streamtable import StreamTable
from edge.supervise import Supervisor
from edge.topics import STATE_OFFLINE, Topics
from edge.types import SampleBlock, Window, rfc3339
from edge.warnings_once import WarnOnce

log = logging.getLogger("edge.cluster")

BATCH_BLOCKS = 64
TICK_S = 0.2
STOP_S = 4.0
HEAL_S = 5.0


@dataclass
class _Stream:
    windower: Windower
    seq: int = 0


class Cutter:
    """One run."""

    def __init__(self, settings: Settings, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.settings, self._clock = settings, clock
        self.metrics = Metrics()
        self.boot_id = uuid.uuid4().hex
        self.topics = Topics(settings.node.base, settings.node.id)
        self._spec = read_bundle(bundle_path(settings.bundle), trusted_key=trusted_key(settings.bundle)).manifest.input
        self.sources: list[Source] = make_sources(settings, self._spec, self.metrics, clock)
        self._queue: BlockQueue[tuple[SampleBlock, bool]] = BlockQueue(settings.pipeline.queue_blocks)
        self._supervisor = Supervisor(self.metrics, clock.monotonic)
        self._aligned = False
        self._streams: StreamTable[_Stream] = StreamTable(
            lambda _: _Stream(Windower(self._spec, aligned=self._aligned)),
            settings.pipeline.max_streams,
            settings.pipeline.stream_idle_s,
            clock.monotonic,
        )
        self.outbox = Outbox(settings.cluster.outbox_windows, settings.cluster.retry_s, clock.monotonic)
        self._announcer = Announcer(self.topics)
        self._warn = WarnOnce(log)
        self._link = MqttLink(
            settings.mqtt,
            f"{self.topics.base}-{self.topics.node}-cut",
            will=(self.topics.state, STATE_OFFLINE),
            on_connected=self._connected,
            on_message=self._on_result,
            on_published=self._on_published,
        )
        self._announcer.attach(self._link)
        self._stop_sources, self._stop_link = threading.Event(), threading.Event()
        self._tell_at = self._heal_at = clock.monotonic()

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Until `should_stop()`, or until every source has come to its end and every window has its result."""
        link = self._thread("link", self._link.run, self._stop_link)
        cutting = self._thread("cutter", lambda _: self._cut_all(), self._stop_sources)
        publishing = self._thread("publisher", self._publish_all, self._stop_link)
        sources = [self._thread(f"source-{s.name}", partial(self._read, s), self._stop_sources) for s in self.sources]
        told = False
        log.info("cutter of %s: windows to %s", self.topics.node, self._link.place)
        while not should_stop():
            if not told and all(source.is_ready for source in self.sources) and self._link.connected:
                told = True
                self._announcer.online()
                log.info("ready")
            if not any(t.is_alive() for t in sources) and not self._queue.unfinished and not len(self.outbox):
                break
            self._heal()
            self._tell_health()
            time.sleep(TICK_S)
        self._stop([*sources, cutting], [publishing, link])

    def _read(self, source: Source, stop: threading.Event) -> None:
        def emit(block: SampleBlock, on_accepted: Callable[[], None] | None = None) -> None:
            self._queue.put((block, source.aligned))
            if on_accepted is not None:
                on_accepted()

        source.run(emit, stop)

    def _cut_all(self) -> None:
        while items := self._queue.get_many(BATCH_BLOCKS):
            try:
                for block, aligned in items:
                    self._cut(block, aligned)
            finally:
                self._queue.done(len(items))

    def _cut(self, block: SampleBlock, aligned: bool) -> None:
        self._aligned = aligned
        stream = self._streams.get(block.stream)
        if stream is None:
            self.metrics.add_by("dropped", "too_many_streams")
            self._warn.warn("cap", "stream %s dropped: too many are active; raise pipeline.max_streams", block.stream)
            return
        try:
            windows = stream.windower.push(block)
        except BlockError as error:
            self.metrics.add_by("dropped", "bad_block")
            self._warn.warn(f"block {block.stream}", "block dropped: %s", error)
            return
        if block.end:
            self._streams.done(block.stream)
        for window in windows:
            self._send(stream, window)

    def _send(self, stream: _Stream, window: Window) -> None:
        payload = encode(Cut(window, stream.seq, self.boot_id))
        stream.seq += 1
        self.metrics.add("windows")
        id = result_id(self.topics.node, window.stream, window.epoch, window.first_index)
        self.outbox.put(id, self.topics.stream(window.stream, "windows"), payload)

    def _publish_all(self, stop: threading.Event) -> None:
        while not stop.is_set():
            if not self._link.wait_connected(TICK_S):
                continue
            for parcel in self.outbox.due(TICK_S):
                try:
                    self.outbox.sent(parcel, self._link.publish(parcel.topic, parcel.payload, qos=1))
                except BrokerError as error:
                    self._warn.warn("publish", "%s; trying again", error)
                    time.sleep(TICK_S)
                    break

    def _connected(self) -> None:
        self.outbox.reconnected()
        # QoS 1 would need a consumer of its own on the servers, which they refuse while a leader is being elected. A
        # result that is missed only makes its window go again.
        self._link.subscribe([self.topics.stream("+", "result")], qos=0)
        self._announcer.connected()

    def _heal(self) -> None:
        """Without its results a cutter would send for ever: a refused subscription is asked for on a new connection."""
        now = self._clock.monotonic()
        if self._link.connected and self._link.refused_filters and now >= self._heal_at:
            self._heal_at = now + HEAL_S
            self._link.refused_filters = []
            self._link.renew()

    def _on_published(self, mid: int, code: int) -> None:
        if code < 0x80:
            self.outbox.acked(mid)
        self._announcer.on_published(mid, code)

    def _on_result(self, message: Any) -> None:
        try:
            self.outbox.answered(str(json.loads(message.payload)["id"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            self._warn.warn("result", "something on a result topic is no result")

    def health(self) -> dict[str, object]:
        """Facts for the `health` topic."""
        problems = [f"{name}: {why}" for name, why in self._supervisor.down.items()]
        problems += [str(s["error"]) for s in (source.status() for source in self.sources) if s.get("error")]
        return {
            "schema": "wavewall.health/1",
            "t": rfc3339(self._clock.utc()),
            "boot_id": self.boot_id,
            "role": "cutter",
            "status": "degraded" if problems or not self._link.connected else "ok",
            "reasons": problems,
            "streams": len(self._streams),
            "waiting": len(self.outbox),
            "answered": self.outbox.answered_count,
            "sent_again": self.outbox.repeated,
            "given_up": self.outbox.given_up,
            "counters": self.metrics.snapshot(),
            "rss_bytes": rss_bytes(),
        }

    def _tell_health(self) -> None:
        now = self._clock.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + self.settings.health.period_s
            self._announcer.health(self.health())

    def _thread(
        self, name: str, body: Callable[[threading.Event], object], stop: threading.Event
    ) -> threading.Thread:
        def keep() -> None:
            try:
                self._supervisor.keep(self._supervisor.name(name), partial(body, stop), stop)
            except Closed:
                return

        thread = threading.Thread(target=keep, name=f"edge-{name}", daemon=True)
        thread.start()
        return thread

    def _stop(self, first: list[threading.Thread], last: list[threading.Thread]) -> None:
        """What was read is cut and handed to the broker; results of it may come when nobody waits any more."""
        until = time.monotonic() + STOP_S
        self._stop_sources.set()
        self._queue.close()
        for thread in first:
            thread.join(max(0.1, until - 1.0 - time.monotonic()))
        while self.outbox.unsent and time.monotonic() < until:
            time.sleep(0.05)
        self.outbox.close()
        self._announcer.stopped(0.5)
        self._stop_link.set()
        for thread in last:
            thread.join(1.0)
        says = "stopped; %d windows cut, %d without a result yet, %d sent again"
        log.info(says, self.metrics.count("windows"), len(self.outbox), self.outbox.repeated)


def run_cutter(settings: Settings, should_stop: Callable[[], bool]) -> None:
    """Check the settings and cut. Raises EdgeError."""
    if any(part.kind != "mqtt" for part in settings.sink):
        raise ConfigError("a cutter's windows go to the broker of [mqtt]; it takes no other sink", key="sink")
    Cutter(settings).run(should_stop)
