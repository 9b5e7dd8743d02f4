"""A result on one line, for people."""

from __future__ import annotations

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
