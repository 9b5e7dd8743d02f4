"""Events of all streams: a decider for each, within the cap on streams. Used by the pipeline's thread alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from edge.clock import SYSTEM_CLOCK, Clock
from edge.config import EventSettings
from edge.events import Event
from edge.metrics import Metrics
from edge.pipeline.attack_rate import AttackRate, HourOfWindows, RateRule
from edge.pipeline.decide import Rule, StreamDecider
from edge.settings import ConfigError, suggestion
from edge.streamtable import StreamTable
from edge.types import Result, rfc3339

ATTACK_RATE_SCHEMA = "wavewall.attack-rate/1"


def label_rules(settings: EventSettings, labels: Sequence[str]) -> dict[str, Rule]:
    """A rule for each configured label. Raises ConfigError for one that the bundle does not have."""
    rules = {}
    for label in settings.labels:
        if label not in labels:
            raise ConfigError(
                f"events.labels: the bundle has no label {label!r}{suggestion(label, labels)}",
                key="events.labels",
            )
        on = settings.thresholds.get(label, settings.threshold)
        rules[label] = Rule(
            on=on,
            off=max(0.0, on - settings.hysteresis),
            k=settings.k,
            n=settings.n,
            min_s=settings.min_s,
            cooldown_s=settings.cooldown_s,
            gap_s=settings.gap_s,
            update_s=settings.update_s,
        )
    return rules


def tamper_rule(settings: EventSettings) -> Rule:
    """Suspect windows score 1, others 0."""
    return Rule(
        on=1.0,
        off=1.0,
        k=settings.tamper_k,
        n=settings.tamper_n,
        gap_s=settings.gap_s,
        update_s=settings.update_s,
    )


class Decisions:
    """Results in, events out. `on_hour` sees each stream's share of suspect windows as an hour of it is over."""

    def __init__(
        self,
        settings: EventSettings,
        labels: Sequence[str],
        *,
        max_streams: int,
        idle_s: float,
        metrics: Metrics,
        clock: Clock = SYSTEM_CLOCK,
        on_hour: Callable[[HourOfWindows], None] | None = None,
    ) -> None:
        self._rules = label_rules(settings, labels)
        self._tamper = tamper_rule(settings) if settings.tamper else None
        self._rate = RateRule(settings.clean_rate, settings.attacked_rate, settings.false_alarm_days)
        self._metrics, self._clock, self._on_hour = metrics, clock, on_hour
        self._gone: list[StreamDecider] = []
        self._streams: StreamTable[StreamDecider] = StreamTable(
            self._make, max_streams, idle_s, clock.monotonic, on_drop=self._gone.append
        )

    @property
    def wanted(self) -> bool:
        """Whether there is anything to decide."""
        return bool(self._rules) or self._tamper is not None

    def push(self, result: Result) -> list[Event]:
        """The events that this window begins, goes on with or ends. Of streams beyond the cap there are none."""
        decider = self._streams.get(result.stream)
        events = self._forgotten() if self._gone else []
        if decider is None:
            self._metrics.add_by("dropped", "events_of_too_many_streams")
            return events
        events += self._counted(decider.push(result))
        if decider.hours:
            for hour in decider.hours:
                if self._on_hour is not None:
                    self._on_hour(hour)
            decider.hours.clear()
        return events

    def end(self, stream: str) -> list[Event]:
        """The stream has come to its end."""
        decider = self._streams.peek(stream)
        if decider is None:
            return []
        self._streams.done(stream)
        return self._counted(decider.stop(self._clock.utc(), "stream_end"))

    def drop(self, stream: str) -> None:
        """Forget a stream's state, whatever it is in; what was open is told as forgotten with the next result."""
        self._streams.drop(stream)

    def stop(self) -> list[Event]:
        """The agent stops: nothing stays open."""
        now = self._clock.utc()
        return self._counted(
            [event for _, decider in self._streams for event in decider.stop(now, "stopped")]
        )

    def _make(self, stream: str) -> StreamDecider:
        rate = AttackRate(stream, self._rate) if self._tamper is not None else None
        return StreamDecider(stream, self._rules, self._tamper, rate)

    def _forgotten(self) -> list[Event]:
        now = self._clock.utc()
        events = [event for decider in self._gone for event in decider.stop(now, "forgotten")]
        self._gone.clear()
        return self._counted(events)

    def _counted(self, events: list[Event]) -> list[Event]:
        for event in events:
            if event.type != "update":
                self._metrics.add_by("events", f"{event.kind}_{event.type}")
        return events


def hour_json(hour: HourOfWindows) -> str:
    """The payload of `stream/<id>/attack_rate`."""
    facts = {
        "schema": ATTACK_RATE_SCHEMA,
        "stream": hour.stream,
        "hour": rfc3339(hour.t0),
        "windows": hour.windows,
        "suspect": hour.suspect,
        "share": round(hour.share, 6),
        "alarm": hour.alarm,
    }
    return json.dumps(facts, separators=(",", ":"))
