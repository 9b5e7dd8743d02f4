"""Verdicts of one stream to events: plain push(result) -> events. No threads, no IO, no clock of its own.

Time is signal time, the windows' own, so that the same results always give the same events, live or replayed.
A window that could not be judged is no evidence, neither for nor against; one that is suspect is none for a label,
since a label under attack is not to be relied on (the tamper event stands in its place).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edge.errors import DecisionError
from edge.events import EndReason, Event, EventKind, EventType
from edge.pipeline.attack_rate import AttackRate, HourOfWindows
from edge.types import Result

__all__ = ["MAX_EVIDENCE", "Rule", "StreamDecider", "Tracker"]

# Ids of 32 letters: an event's message stays under 4 kB however long the event lasts.
MAX_EVIDENCE: Final = 64
# A day of windows every 10 s; more would only keep memory.
MAX_N: Final = 8640


@dataclass(frozen=True, slots=True)
class Rule:
    """When a condition becomes an event.

    It begins when `k` of the last `n` judged windows score `on` or more, is told once it has lasted `min_s`, and is
    over when fewer than `k` of the last `n` score `off` or more (hysteresis: off <= on). It ends, too, when no
    window could be judged for `gap_s` or time goes backwards. Windows that start within `cooldown_s` of its end
    count for nothing. Updates come at least `update_s` apart. All in seconds of the signal.
    """

    on: float = 0.5
    off: float = 0.4
    k: int = 2
    n: int = 3
    min_s: float = 0.0
    cooldown_s: float = 0.0
    gap_s: float = 300.0
    update_s: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.n <= MAX_N:
            raise DecisionError(f"n is {self.n}; look at 1 to {MAX_N} windows")
        if not 1 <= self.k <= self.n:
            raise DecisionError(
                f"k is {self.k} and n is {self.n}: of {self.n} windows 1 to {self.n} can agree"
            )
        if not self.off <= self.on:
            raise DecisionError(f"off is {self.off}, above on ({self.on}); hysteresis must be 0 or more")
        if min(self.min_s, self.cooldown_s, self.update_s) < 0 or self.gap_s <= 0:
            raise DecisionError("min_s, cooldown_s and update_s must be 0 or more, gap_s above 0")


@dataclass(slots=True)
class _Seen:
    """One judged window."""

    id: str
    t0: float
    t1: float
    score: float
    measures: Mapping[str, float | None]


@dataclass(slots=True)
class _Run:
    """A condition that holds; `seq` is the number of its next message, 0 before it was told."""

    id: str
    start: float
    end: float
    peak: float
    windows: int = 0
    evidence: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_EVIDENCE))
    measures: dict[str, float | None] = field(default_factory=dict)
    seq: int = 0
    told_to: float = 0.0
    boot_id: str = ""
    model: str = ""

    def add(self, seen: _Seen) -> None:
        self.end = max(self.end, seen.t1)
        self.peak = max(self.peak, seen.score)
        self.windows += 1
        self.evidence.append(seen.id)
        for name, value in seen.measures.items():
            old = self.measures.get(name)
            self.measures[name] = value if old is None else old if value is None else max(old, value)


class Tracker:
    """One condition (a label, or tampering) on one stream. At most one event is open at any time."""

    def __init__(self, stream: str, kind: EventKind, label: str | None, rule: Rule) -> None:
        self.stream, self.kind, self.label, self.rule = stream, kind, label, rule
        self._recent: deque[_Seen] = deque(maxlen=rule.n)
        self._run: _Run | None = None
        self._last: _Seen | None = None
        self._quiet_until = float("-inf")

    @property
    def open_id(self) -> str | None:
        """The id of the event that is open, told and not over."""
        return self._run.id if self._run is not None and self._run.seq else None

    def push(
        self, result: Result, score: float | None, measures: Mapping[str, float | None] | None = None
    ) -> list[Event]:
        """Take the next window; `score` is None where it is no evidence."""
        window = result.window
        t0, t1 = window.t0, window.t0 + window.n / window.rate_hz
        events: list[Event] = []
        if self._last is not None and (t0 < self._last.t0 or t0 > self._last.t1 + self.rule.gap_s):
            events += self.stop(result.t, "clock" if t0 < self._last.t0 else "silent")
            if t0 < self._last.t0:
                self._quiet_until = float("-inf")
            self._last = None
        if score is None:
            return events
        seen = self._last = _Seen(result.id, t0, t1, score, measures or {})
        if t0 < self._quiet_until:
            return events
        self._recent.append(seen)
        rule, run = self.rule, self._run
        if run is None:
            support = [w for w in self._recent if w.score >= rule.on]
            if len(support) < rule.k:
                return events
            run = self._run = self._begin(support)
        else:
            if sum(w.score >= rule.off for w in self._recent) < rule.k:
                return events + self.stop(result.t, "over")
            if score >= rule.off:
                run.add(seen)
        run.boot_id, run.model = result.boot_id, result.model
        if not run.seq:
            if run.end - run.start >= rule.min_s:
                events.append(self._tell(run, "new", result.t))
        elif run.end - run.told_to >= rule.update_s and run.end > run.told_to:
            events.append(self._tell(run, "update", result.t))
        return events

    def stop(self, t: float, reason: EndReason) -> list[Event]:
        """End what is open, for `reason`, said at `t`; what was seen so far supports nothing any more."""
        run, self._run = self._run, None
        self._recent.clear()
        if run is None or not run.seq:
            return []
        self._quiet_until = run.end + self.rule.cooldown_s
        return [self._tell(run, "end", t, reason)]

    def _begin(self, support: Sequence[_Seen]) -> _Run:
        first = support[0]
        run = _Run(self._id(first.id), first.t0, first.t1, first.score)
        for seen in support:
            run.add(seen)
        return run

    def _id(self, window_id: str) -> str:
        """Of the first window that supports it: the same samples give the same event."""
        digest = hashlib.sha256()
        for part in (window_id, self.kind, self.label or ""):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(4, "big") + data)
        return digest.hexdigest()[:32]

    def _tell(self, run: _Run, type: EventType, t: float, reason: EndReason = "") -> Event:
        seq, run.seq, run.told_to = run.seq, run.seq + 1, run.end
        return Event(
            id=run.id,
            seq=seq,
            type=type,
            kind=self.kind,
            t=t,
            boot_id=run.boot_id,
            stream=self.stream,
            model=run.model,
            label=self.label,
            start=run.start,
            end=run.end,
            peak_score=run.peak if self.kind == "label" else None,
            windows=run.windows,
            evidence=tuple(run.evidence),
            reason=reason,
            measures=dict(run.measures),
        )


class StreamDecider:
    """All conditions of one stream: `labels` by rule, tampering, and how often windows are suspect.

    `hours` yields what `AttackRate` completed; whoever wants it empties it.
    """

    def __init__(
        self,
        stream: str,
        labels: Mapping[str, Rule],
        tamper: Rule | None = None,
        rate: AttackRate | None = None,
    ) -> None:
        self._labels = [(label, Tracker(stream, "label", label, rule)) for label, rule in labels.items()]
        self._tamper = None if tamper is None else Tracker(stream, "tamper", None, tamper)
        self._rate = rate
        self.hours: list[HourOfWindows] = []

    def push(self, result: Result) -> list[Event]:
        """The events that this window begins, goes on with or ends."""
        events: list[Event] = []
        status = result.status
        probabilities = result.probabilities
        for label, tracker in self._labels:
            events += tracker.push(result, probabilities.get(label) if status == "ok" else None)
        if self._tamper is not None:
            suspect = None if _unjudged(result) else 1.0 if status == "suspect" else 0.0
            events += self._tamper.push(result, suspect, _measures(result) if suspect else None)
        if self._rate is not None and not _unjudged(result):
            told, hour = self._rate.push(result, status == "suspect")
            events += told
            if hour is not None:
                self.hours.append(hour)
        return events

    def stop(self, t: float, reason: EndReason) -> list[Event]:
        """End everything that is open."""
        events = [event for tracker in self._trackers() for event in tracker.stop(t, reason)]
        return events + ([] if self._rate is None else self._rate.stop(t, reason))

    def open_ids(self) -> list[str]:
        """Ids of the events that are open."""
        ids = [tracker.open_id for tracker in self._trackers()]
        ids += [self._rate.open_id] if self._rate is not None else []
        return [id for id in ids if id is not None]

    def _trackers(self) -> Iterable[Tracker]:
        yield from (tracker for _, tracker in self._labels)
        if self._tamper is not None:
            yield self._tamper


def _unjudged(result: Result) -> bool:
    """No word on tampering: too little signal. (A score that was merely low was looked at.)"""
    return result.status == "abstain" and result.reason != "low_score"


def _measures(result: Result) -> dict[str, float | None]:
    """The measures that made a window suspect, by name."""
    known = {"residual": result.residual, "disagreement": result.disagreement}
    return {name: known.get(name) for name in result.reason.split("+")}
