"""Sample blocks in, results out: the one path that live sources, replay and bench all take. No threads, no IO.

For each stream: windows -> classify -> verdict -> Result. All streams share one interpreter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np

from edge.bundle import Bundle
from edge.clock import SYSTEM_CLOCK, Clock
from edge.errors import BlockError
from edge.metrics import Metrics
from edge.overload import Overload, Priority
from edge.pipeline.classify import Classifier
from edge.pipeline.identity import result_id
from edge.pipeline.verdict import Judge
from edge.pipeline.windows import WindowCounters, Windower
from edge.rescue import Rescue
from edge.streamtable import StreamTable
from edge.types import Result, ResultWindow, SampleBlock, Scores, Window
from edge.warnings_once import WarnOnce

log = logging.getLogger("edge.engine")


# What the windowing counts of each stream and the agent adds up, in samples but for the gaps.
_COUNTED = ("samples", "gaps", "missing", "not_finite", "lead_off", "late")

_READ_COUNTS: Callable[[WindowCounters], tuple[int, ...]] = attrgetter(*_COUNTED)


@dataclass
class _Stream:
    windower: Windower
    seq: int = 0
    priority: Priority = Priority.NORMAL
    counted: tuple[int, ...] = (0,) * len(_COUNTED)


@dataclass(frozen=True, slots=True)
class _Serving:
    """What answers: taken as a whole for each window, so that a change falls between two windows."""

    bundle: Bundle
    classifier: Classifier
    judge: Judge
    model: str


def _serving(bundle: Bundle, classifier: Classifier) -> _Serving:
    return _Serving(bundle.checked(), classifier, Judge(bundle.manifest), bundle.manifest.ref)


class Engine:
    """One bundle over many streams. Used by one thread; the counters may be read from others.

    `on_verdict` sees each window with its result; it must return at once. `rescue` takes over where the model fails on
    a window; without it, that is the caller's.
    """

    def __init__(
        self,
        bundle: Bundle,
        classifier: Classifier,
        *,
        node: str,
        boot_id: str,
        metrics: Metrics,
        max_streams: int = 256,
        idle_s: float = 3600.0,
        clock: Clock = SYSTEM_CLOCK,
        on_verdict: Callable[[Window, Result], None] | None = None,
        rescue: Rescue | None = None,
        overload: Overload | None = None,
    ) -> None:
        self._serving = _serving(bundle, classifier)
        self._fallback: _Serving | None = None
        self._failure = ""
        self._rescue, self._overload = rescue, overload
        nothing = np.full(len(bundle.manifest.labels), np.nan, np.float32)
        self._left_out = Scores(nothing, failed="overload")
        self._on_verdict = on_verdict
        self._spec = bundle.manifest.input
        self._node, self._boot_id = node, boot_id
        self._metrics = metrics
        self._max_streams = max_streams
        self._clock = clock
        self._warn = WarnOnce(log)
        self._aligned = False
        self._streams: StreamTable[_Stream] = StreamTable(
            self._new_stream,
            max_streams,
            idle_s,
            clock.monotonic,
        )

    @property
    def bundle(self) -> Bundle:
        """The bundle that answers now."""
        return self._serving.bundle

    @property
    def classifier(self) -> Classifier:
        """The classifier of that bundle."""
        return self._serving.classifier

    def swap(self, bundle: Bundle, classifier: Classifier) -> None:
        """From the next window on this bundle answers; any thread. Its input must be that of the one before, which is
        kept for the case that the new one fails.
        """
        self._fallback, self._serving = self._serving, _serving(bundle, classifier)

    def forget_fallback(self) -> None:
        """The new bundle has proved itself: let go of the old one."""
        self._fallback = None

    def take_failure(self) -> str:
        """Why the bundle of the last swap was given up, once; "" while it was not."""
        failure, self._failure = self._failure, ""
        return failure

    @property
    def streams(self) -> int:
        """How many streams have state."""
        return len(self._streams)

    def push(self, block: SampleBlock, *, aligned: bool = False, origin: int | None = None) -> list[Result]:
        """Take a block; give the results of the windows that it completes. What cannot be used is dropped and counted.

        `aligned` (see Windower) counts when the stream is new; `origin` (see Windower.push) for recorded blocks.
        """
        self._aligned = aligned
        stream = self._streams.get(block.stream)
        if stream is None:
            self._metrics.add_by("dropped", "too_many_streams")
            self._warn.warn(
                "cap",
                "stream %s dropped: %d streams are active; raise pipeline.max_streams",
                block.stream,
                self._max_streams,
            )
            return []
        try:
            windows = stream.windower.push(block, origin)
        except BlockError as error:
            self._metrics.add_by("dropped", "bad_block")
            self._warn.warn(f"block {block.stream}", "block dropped: %s", error)
            return []
        self._count(stream)
        if block.end:
            self._streams.done(block.stream)
        return [self._classify(stream, window) for window in windows]

    def answer(self, window: Window) -> Result:
        """The result of one window that was cut elsewhere; its id, seq and boot_id are the caller's to set."""
        return self._classify(_Stream(Windower(self._spec)), window)

    def warm(self, block: SampleBlock, *, aligned: bool = False, origin: int | None = None) -> None:
        """Take a recorded block whose windows are answered, so that those after it are as they would have been."""
        self._aligned = aligned
        stream = self._streams.get(block.stream)
        if stream is None:
            return
        try:
            stream.windower.push(block, origin)
        except BlockError:
            return  # as when it came first
        stream.counted = _READ_COUNTS(stream.windower.counters)
        if block.end:
            self._streams.done(block.stream)

    def flush(self, stream_id: str) -> list[Result]:
        """The stream ends here, as if its last block had said so."""
        stream = self._streams.peek(stream_id)
        if stream is None:
            return []
        self._streams.done(stream_id)
        return [self._classify(stream, window) for window in stream.windower.flush()]

    def _new_stream(self, stream: str) -> _Stream:
        priority = Priority.NORMAL if self._overload is None else self._overload.priority(stream)
        return _Stream(Windower(self._spec, aligned=self._aligned), priority=priority)

    def drop(self, stream_id: str) -> None:
        """Forget a stream's state, whatever it is in."""
        self._streams.drop(stream_id)

    def _count(self, stream: _Stream) -> None:
        now, before = _READ_COUNTS(stream.windower.counters), stream.counted
        stream.counted = now
        if now[1:] == before[1:]:  # nearly always: samples came, and all is well
            self._metrics.add(_COUNTED[0], now[0] - before[0])
            return
        for name, new, old in zip(_COUNTED, now, before, strict=True):
            if new != old:
                self._metrics.add(name, new - old)

    def _classify(self, stream: _Stream, window: Window) -> Result:
        if self._overload is not None and self._overload.skips(stream.priority, stream.seq):
            self._metrics.add("skipped")
            serving, scores = self._serving, self._left_out
        else:
            serving, scores = self._scores(window)
        verdict = serving.judge.push(window, scores)
        seq, stream.seq = stream.seq, stream.seq + 1
        self._metrics.add("windows")
        if verdict.status != "ok":
            self._metrics.add_by("verdicts", verdict.status)
        result = Result(
            id=result_id(self._node, window.stream, window.epoch, window.first_index),
            t=self._clock.utc(),
            boot_id=self._boot_id,
            seq=seq,
            stream=window.stream,
            label=verdict.label,
            score=verdict.score,
            probabilities=verdict.probabilities,
            status=verdict.status,
            reason=verdict.reason,
            model=serving.model,
            window=ResultWindow(
                t0=window.t0,
                n=window.values.shape[0],
                rate_hz=window.rate_hz,
                missing=window.missing,
                crc_errors=window.crc_errors,
            ),
            disagreement=verdict.disagreement,
            residual=verdict.residual,
            latency_ms=scores.latency_ms,
        )
        if self._on_verdict is not None:
            self._on_verdict(window, result)
        return result

    def _scores(self, window: Window) -> tuple[_Serving, Scores]:
        serving = self._serving
        try:
            return serving, serving.classifier.classify(window)
        except Exception as error:
            fallback = self._fallback
            if fallback is not None:
                # The window that a new bundle fails on is answered by the old one.
                log.exception("model %s failed on a window of stream %s", serving.model, window.stream)
                self._serving, self._fallback = fallback, None
                self._failure = f"failed on a live window: {error!r}"[:300]
                return self._scores(window)
            if self._rescue is None:
                raise
            classifier, scores = self._rescue.again(serving.bundle, serving.classifier, window, error)
            if classifier is not serving.classifier and self._serving is serving:
                self._serving = replace(serving, classifier=classifier)
            return serving, scores
