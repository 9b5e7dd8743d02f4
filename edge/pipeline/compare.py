"""What an attack turned: the same stream judged clean and attacked, side by side. Pure counting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from edge.events import Event
from edge.types import Result

__all__ = ["Turned", "compare", "spans"]


@dataclass(frozen=True, slots=True)
class Turned:
    """Counts over `hours` of signal; those of several streams add up.

    A verdict is turned when its label is another one under attack, and noticed when it is then suspect. `clean_events`
    are label events without attack; an event is lost when none of its label overlaps it under attack, false when it
    is there under attack alone, and noticed when a tamper event overlaps it under attack. `tampers` counts tamper
    events under attack, `false_tampers` those without.
    """

    hours: float = 0.0
    windows: int = 0
    turned: int = 0
    turned_noticed: int = 0
    suspect: int = 0
    clean_events: int = 0
    lost: int = 0
    false: int = 0
    events_noticed: int = 0
    tampers: int = 0
    false_tampers: int = 0

    @property
    def events_turned(self) -> int:
        """Lost and false ones."""
        return self.lost + self.false

    @property
    def events_per_hour(self) -> float:
        """Events turned for each hour of signal."""
        return self.events_turned / self.hours if self.hours else 0.0

    def __add__(self, other: Turned) -> Turned:
        return Turned(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Span:
    """One event from its first to its last message."""

    label: str
    start: float
    end: float

    def meets(self, other: Span) -> bool:
        return self.start < other.end and other.start < self.end


def spans(events: Iterable[Event], kind: str) -> list[Span]:
    """Each event of a kind once, as its last message has it."""
    last = {event.id: event for event in events if event.kind == kind}
    return [Span(event.label or "", event.start, event.end) for event in last.values()]


def compare(
    clean: Sequence[Result],
    attacked: Sequence[Result],
    clean_events: Iterable[Event],
    attacked_events: Sequence[Event],
    hours: float,
) -> Turned:
    """Counts for one stream. Both lists hold the results of the same windows in order."""
    pairs = list(zip(clean, attacked, strict=True))
    turned = [b for a, b in pairs if a.label != b.label]
    clean_events = list(clean_events)
    before, after = spans(clean_events, "label"), spans(attacked_events, "label")
    tampers = spans(attacked_events, "tamper")
    lost = [span for span in before if not _met(span, after)]
    false = [span for span in after if not _met(span, before)]
    return Turned(
        hours=hours,
        windows=len(pairs),
        turned=len(turned),
        turned_noticed=sum(b.status == "suspect" for b in turned),
        suspect=sum(b.status == "suspect" for _, b in pairs),
        clean_events=len(before),
        lost=len(lost),
        false=len(false),
        events_noticed=sum(any(span.meets(tamper) for tamper in tampers) for span in (*lost, *false)),
        tampers=len(tampers),
        false_tampers=len(spans(clean_events, "tamper")),
    )


def _met(span: Span, others: Iterable[Span]) -> bool:
    return any(other.label == span.label and span.meets(other) for other in others)
