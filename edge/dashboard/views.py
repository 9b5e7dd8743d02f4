"""What is told to the page, as plain data: overview rows, one stream's live feed, health and tamper facts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from edge.dashboard.explain import pack
from edge.dashboard.subject import Subject
from edge.live.signal import Run, runs, strip
from edge.live.store import LiveStore, Seen, Stream
from edge.types import Result, SampleBlock, Window

Explain = Callable[[Window, Result], Awaitable[Mapping[str, object]]]

SPARK_S, SPARK_COLUMNS, MAX_SPARKS = 8.0, 120, 120
# A client that is late gets the newest stretch alone, so that it sees now and not then.
LATE_S = 2.0
VITALS_S = 2.0


def row(stream: Stream, online: bool) -> list[object]:
    """One tile: [id, label, score, status, reason, online, lead off, lag s, end of its window, suspect so far]."""
    result = stream.result
    return [
        stream.name,
        "" if result is None else result.label,
        0.0 if result is None else round(result.score, 4),
        "" if result is None else result.status,
        "" if result is None else result.reason,
        online,
        stream.lead_off,
        None if stream.lag_s is None else round(stream.lag_s, 2),
        None if result is None else round(result.window.t0 + result.window.n / result.window.rate_hz, 3),
        stream.suspect,
    ]


def is_online(stream: Stream, now: float, silent_s: float) -> bool:
    return not stream.ended and stream.heard > 0 and now - stream.heard < silent_s


class Overview:
    """All streams: everything at first, then what changed."""

    period_s = 1.0

    def __init__(self, subject: Subject, hello: Mapping[str, object]) -> None:
        self._subject, self._hello = subject, hello
        self._told: dict[str, tuple[int, bool, bool]] = {}
        self._first = True
        self._events_from = 0

    async def messages(self, late: bool) -> list[tuple[str, object]]:
        store, now = self._subject.store, time.monotonic()
        serial, rows, names = store.serial, [], set()
        for stream in store.streams():
            online = is_online(stream, now, self._subject.silent_s)
            state = (stream.changed, online, stream.lead_off)
            names.add(stream.name)
            if self._told.get(stream.name) != state:
                self._told[stream.name] = state
                rows.append(row(stream, online))
        gone = [name for name in self._told if name not in names]
        for name in gone:
            del self._told[name]
        out: list[tuple[str, object]] = []
        if self._first:
            self._first = False
            out.append(("hello", {**self._hello, "now": time.time()}))
        out.append(("rows", {"now": time.time(), "rows": rows, "gone": gone, "vitals": vitals(self._subject)}))
        events = store.events(self._events_from, limit=200)
        if events:
            out.append(("events", events))
        self._events_from = serial
        return out


def vitals(subject: Subject) -> dict[str, object]:
    """The line at the top: lag, rates, drops, model, broker."""
    health = subject.health()
    counters = health.get("counters")
    counters = counters if isinstance(counters, Mapping) else {}
    dropped = counters.get("dropped", {})
    lags = [s.lag_s for s in subject.store.streams() if s.lag_s is not None and not s.ended]
    return {
        "status": health.get("status"),
        "reasons": health.get("reasons"),
        "uptime_s": health.get("uptime_s"),
        "streams": health.get("streams"),
        "online": health.get("online"),
        "windows": counters.get("windows", 0),
        "messages": counters.get("messages", 0),
        "dropped": sum(dropped.values()) if isinstance(dropped, Mapping) else 0,
        "queue": counters.get("queue_blocks", 0),
        "lag_s": round(max(lags), 2) if lags else None,
        "rss_bytes": health.get("rss_bytes"),
        "model": subject.bundle().manifest.ref,
        "sinks": health.get("sinks"),
        "sources": health.get("sources"),
    }


def sparks(store: LiveStore, names: Iterable[str]) -> dict[str, object]:
    """The last seconds of some streams as least and largest of each column, whole numbers times `k`."""
    out: dict[str, object] = {}
    for name in list(names)[:MAX_SPARKS]:
        found = runs(store.tail(name, SPARK_S + 2.0))
        columns = strip(found, SPARK_S, SPARK_COLUMNS)
        values = [v for pair in columns if pair for v in pair]
        k = max((abs(v) for v in values), default=1.0) / 10_000 or 1.0
        flat = [n for pair in columns for n in ((round(pair[0] / k), round(pair[1] / k)) if pair else (None, None))]
        out[name] = {"k": k, "v": flat, "u": found[-1].units[0] if found else ""}
    return out


def segment(run: Run) -> dict[str, object]:
    """One unbroken stretch of samples, all channels."""
    return {
        "epoch": run.epoch,
        "first": run.first_index,
        "t0": run.t0,
        "rate_hz": run.rate_hz,
        "channels": run.channels,
        "units": run.units,
        "n": len(run.values),
        "lead_off": run.lead_off,
        "data": pack(run.values.T),
    }


def segments(blocks: Iterable[SampleBlock]) -> list[dict[str, object]]:
    return [segment(run) for run in runs(blocks)]


class Live:
    """One stream: what is kept of it at first, then samples, verdicts, explanations and events as they come."""

    period_s = 0.25

    def __init__(self, subject: Subject, name: str, hello: Mapping[str, object], explain: Explain) -> None:
        self._subject, self._name, self._hello, self._explain = subject, name, hello, explain
        self._serial = 0
        self._seq = -1
        self._changed = self._events_from = 0
        self._explaining: asyncio.Task[Mapping[str, object]] | None = None
        self._explained = ""
        self._first = True
        self._online: bool | None = None
        self._vitals_at = 0.0

    async def messages(self, late: bool) -> list[tuple[str, object]]:
        store, out = self._subject.store, list[tuple[str, object]]()
        serial = store.serial
        if self._first:
            out.append(("hello", {**self._hello, "stream": self._name, "now": time.time()}))
        stream = store.get(self._name)
        if stream is not None:
            out += self._samples(store, late and not self._first)
            out += self._answers(store, stream)
            out += self._explanation(store)
            online = is_online(stream, time.monotonic(), self._subject.silent_s)
            if online != self._online:
                self._online = online
                out.append(("state", {"online": online, "now": time.time()}))
        if time.monotonic() >= self._vitals_at:
            self._vitals_at = time.monotonic() + VITALS_S
            out.append(("vitals", vitals(self._subject)))
        events = store.events(self._events_from, stream=self._name)
        if events:
            out.append(("events", events))
        self._events_from, self._first = serial, False
        return out

    def _samples(self, store: LiveStore, late: bool) -> list[tuple[str, object]]:
        seen: list[Seen] = store.blocks(self._name, self._serial)
        if not seen:
            return []
        self._serial = seen[-1].serial
        blocks, skipped = [s.block for s in seen], 0.0
        if late:
            kept, total = 0.0, sum(b.values.shape[0] / b.rate_hz for b in blocks)
            at = len(blocks)
            while at and kept < LATE_S:
                at -= 1
                kept += blocks[at].values.shape[0] / blocks[at].rate_hz
            blocks, skipped = blocks[at:], max(0.0, total - kept)
        return [("samples", {"segments": segments(blocks), "skipped_s": round(skipped, 2), "now": time.time()})]

    def _answers(self, store: LiveStore, stream: Stream) -> list[tuple[str, object]]:
        if stream.changed == self._changed:
            return []
        self._changed = stream.changed
        rows = store.answers(self._name, self._seq)
        if not rows:
            return []
        self._seq = int(str(rows[-1]["seq"]))
        labels = list(stream.result.probabilities) if stream.result is not None else []
        return [("answers", {"labels": labels, "rows": rows})]

    def _explanation(self, store: LiveStore) -> list[tuple[str, object]]:
        """Made in the worker while the feed goes on."""
        out: list[tuple[str, object]] = []
        if self._explaining is not None and self._explaining.done():
            task, self._explaining = self._explaining, None
            if task.exception() is None:
                out.append(("explain", task.result()))
        held = store.window(self._name)
        if self._explaining is None and held is not None and held[1].id != self._explained:
            self._explained = held[1].id
            self._explaining = asyncio.ensure_future(self._explain(*held))
        return out


def health_page(subject: Subject) -> dict[str, object]:
    """Attack rate by hour, the most suspected streams, chain, faults survived, last swap, and what is off."""
    health = subject.health()
    streams = sorted((s for s in subject.store.streams() if s.suspect), key=lambda s: -s.suspect)[:20]
    return {
        "now": time.time(),
        "boot_id": subject.boot_id,
        "health": health,
        "info": subject.info(),
        "hours": [
            {"t": hour * 3600, "windows": t.windows, "suspect": t.suspect, "abstain": t.abstain}
            for hour, t in subject.store.hours()
        ],
        "suspected": [
            {"stream": s.name, "suspect": s.suspect, "windows": s.result.seq + 1 if s.result else 0} for s in streams
        ],
        "chain": subject.chain(),
        "update": subject.update(),
        "events_on": subject.events,
        "recorder_on": subject.recorded is not None,
    }
