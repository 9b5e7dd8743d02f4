"""A result or an event on one line, for people."""

from __future__ import annotations

from edge.events import Event
from edge.types import Result, rfc3339


def line(result: Result, truth: str | None = None) -> str:
    """`2026-01-31T08:00:00Z  A00001  30.0 s  N 0.931  ok`, with the known label where there is one."""
    window = result.window
    parts = [
        rfc3339(window.t0)[:19] + "Z",
        f"{result.stream:<16}",
        f"{window.n / window.rate_hz:6.1f} s",
        f"{result.label:<8} {result.score:.3f}",
        result.status if result.status == "ok" else f"{result.status}: {result.reason}",
    ]
    if window.missing:
        parts.append(f"missing {window.missing}")
    if result.historical:
        parts.append("historical")
    if truth is not None:
        parts.append(f"(recorded as {truth})")
    return "  ".join(parts)


def event_line(event: Event) -> str:
    """`2026-01-31T08:00:00Z  bed-1  new  af  2 windows, 40 s, peak 0.931`; an end says why."""
    parts = [
        rfc3339(event.start)[:19] + "Z",
        f"{event.stream:<16}",
        f"{event.type:<6}",
        f"{event.label or event.kind:<11}",
        f"{event.windows} windows, {event.end - event.start:.0f} s",
    ]
    if event.peak_score is not None:
        parts.append(f"peak {event.peak_score:.3f}")
    parts += [
        f"{name} {'no number' if value is None else f'{value:.4g}'}" for name, value in event.measures.items()
    ]
    if event.reason:
        parts.append(f"({event.reason})")
    if event.historical:
        parts.append("historical")
    return "  ".join(parts)
