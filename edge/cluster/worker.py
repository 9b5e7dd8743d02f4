"""`edge-agent run --role classifier`: pulls windows, answers them, publishes results. Any number, anywhere.

A window is acknowledged only after the server has acknowledged its result; what a dead classifier held comes to another
one after the ack wait. A result that is stored already (the same id within `cluster.repeats_s`) is not stored again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge.build import load_bundle
from edge.clock import SYSTEM_CLOCK
from edge.cluster.admin import CONSUMER, nats_module, options, windows_stream
from edge.cluster.window import Cut, WindowError, decode
from edge.config import Settings
from edge.engine import Engine
from edge.metrics import Metrics
from edge.names import is_name
from edge.pipeline.classify import Classifier
from edge.pipeline.identity import result_id
from edge.quarantine import Quarantine
from edge.rescue import Rescue
from edge.sources.trust import state_dir
from edge.types import Result
from edge.warnings_once import WarnOnce

log = logging.getLogger("edge.cluster")

PULL_S = 1.0
PUBLISH_S = 5.0
PAUSE_S = 0.5
TELL_S = 30.0
# A window of another shape is for classifiers with another bundle: back it goes, and not at once to us again.
NOT_OURS_S = 10.0


@dataclass
class _Answer:
    """A message from the work queue with what came of it; no result: it is no window, or not for this bundle."""

    message: Any
    result: Result | None
    subject: str = ""
    ours: bool = True


class Worker:
    """One interpreter. The event loop serves the connection, a thread of its own the model."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        bundle, classifier = load_bundle(settings.bundle)
        place: Path = state_dir(settings.node) / f"quarantine-{settings.node.id}"
        rescue = Rescue(Quarantine(place), self.metrics, lambda made: Classifier(made, settings.bundle.threads))
        self._engine = Engine(
            bundle, classifier, node=settings.node.id, boot_id="", metrics=self.metrics, rescue=rescue
        )
        self._warn = WarnOnce(log)
        self._model = ThreadPoolExecutor(1, thread_name_prefix="edge-model")

    async def run(self, should_stop: Callable[[], bool]) -> None:
        """Work until `should_stop()`; what is under way is finished first. Raises ConfigError."""
        nats = nats_module()

        async def down(error: Exception) -> None:
            self._warn.warn("nats", "cluster: %s; trying again", error or type(error).__name__)

        connection = await self._connect(nats, down, should_stop)
        if connection is None:
            return
        js = connection.jetstream(timeout=PUBLISH_S)
        stream = windows_stream(self.settings.node.base)
        log.info("classifier %s: %s from %s", self._engine.bundle.manifest.ref, stream, connection.connected_url.netloc)
        pulling = await js.pull_subscribe_bind(CONSUMER, stream)
        telling = asyncio.create_task(self._tell())
        try:
            while not should_stop():
                await self._batch(nats, js, pulling)
        finally:
            telling.cancel()
            with contextlib.suppress(Exception):  # no server: what was not acknowledged comes again
                await connection.flush(timeout=2)
            await connection.close()
            self._model.shutdown()
            log.info("stopped; %d windows answered", self.metrics.count("answered"))

    async def _connect(self, nats: Any, down: Any, should_stop: Callable[[], bool]) -> Any:
        """The first connection; later ones nats-py renews by itself."""
        given = options(self.settings.cluster)
        while not should_stop():
            try:
                return await nats.connect(
                    **given, max_reconnect_attempts=-1, reconnect_time_wait=PAUSE_S, error_cb=down, allow_reconnect=True
                )
            except Exception as error:
                await down(error)
                await asyncio.sleep(PAUSE_S)
        return None

    async def _batch(self, nats: Any, js: Any, pulling: Any) -> None:
        try:
            messages = await pulling.fetch(self.settings.cluster.batch, timeout=PULL_S)
        except (nats.errors.TimeoutError, asyncio.TimeoutError):
            return
        except Exception as error:  # a server that died, a leader that is being elected
            self._warn.warn("fetch", "cluster: nothing to be had (%s); trying again", error or type(error).__name__)
            await asyncio.sleep(PAUSE_S)
            return
        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(self._model, self._answer_all, messages)
        await asyncio.gather(*(self._finish(js, answer) for answer in answers))

    def _answer_all(self, messages: list[Any]) -> list[_Answer]:
        return [self._answer(message) for message in messages]

    def _answer(self, message: Any) -> _Answer:
        parts = message.subject.split(".")
        try:
            if len(parts) != 5 or not is_name(parts[1]):
                raise WindowError("came on a subject that is none of ours")
            cut = decode(message.data)
            if cut.window.stream != parts[3]:
                raise WindowError(f"says stream {cut.window.stream!r} and came on that of {parts[3]!r}")
        except WindowError as error:
            self.metrics.add("no_window")
            self._warn.warn("window", "%s: %s; thrown away", message.subject, error)
            return _Answer(message, None)
        spec = self._engine.bundle.manifest.input
        shape = (spec.window_samples, len(spec.channels))
        if cut.window.values.shape != shape or abs(cut.window.rate_hz - spec.rate_hz) > 1e-6 * spec.rate_hz:
            self.metrics.add("not_ours")
            says = "%s: a window of %s at %g Hz, this bundle takes %s at %g Hz; left to others"
            self._warn.warn(
                "shape", says, message.subject, cut.window.values.shape, cut.window.rate_hz, shape, spec.rate_hz
            )
            return _Answer(message, None, ours=False)
        return _Answer(message, self._judge(parts[1], cut), ".".join([*parts[:4], "result"]))

    def _judge(self, node: str, cut: Cut) -> Result:
        w = cut.window
        id = result_id(node, w.stream, w.epoch, w.first_index)
        return replace(self._engine.answer(w), id=id, boot_id=cut.boot_id, seq=cut.seq)

    async def _finish(self, js: Any, answer: _Answer) -> None:
        message, result = answer.message, answer.result
        try:
            if result is None:
                await (message.term() if answer.ours else message.nak(delay=NOT_OURS_S))
                return
            headers = {"Nats-Msg-Id": result.id}
            await js.publish(answer.subject, result.to_json().encode(), timeout=PUBLISH_S, headers=headers)
            await message.ack()
            self.metrics.add("answered")
        except Exception as error:
            # Neither acknowledged nor lost: it comes again after the ack wait, to us or to another.
            self.metrics.add("to_come_again")
            self._warn.warn("result", "cluster: result not stored (%s); the window comes again", error or type(error))

    async def _tell(self) -> None:
        began, before = SYSTEM_CLOCK.monotonic(), 0
        while True:
            await asyncio.sleep(TELL_S)
            now, count = SYSTEM_CLOCK.monotonic(), self.metrics.count("answered")
            log.info("%d windows answered, %.1f a second", count, (count - before) / (now - began))
            began, before = now, count


def run_worker(settings: Settings, should_stop: Callable[[], bool]) -> None:
    """Classify until stopped. Raises EdgeError."""
    asyncio.run(Worker(settings).run(should_stop))
