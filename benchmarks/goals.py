"""Figures beside their goals, for people and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured number. `goal` is the most that it should be (the least, with `at_least`); None: for context."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    note: str = ""
    at_least: bool = False

    @property
    def missed(self) -> bool:
        if self.goal is None:
            return False
        return not (self.value >= self.goal if self.at_least else self.value <= self.goal)


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def table(figures: Sequence[Figure]) -> str:
    """Aligned lines: name, value, goal, whether it was met."""
    lines = []
    for figure in figures:
        goal = "" if figure.goal is None else f"goal {figure.goal:g} {figure.unit}"
        state = "" if figure.goal is None else ("MISSED" if figure.missed else "met")
        value = f"{figure.value:,.3g}" if figure.value < 100 else f"{figure.value:,.0f}"
        lines.append(
            f"{figure.name:<28} {value:>8} {figure.unit:<4} {goal:<14} {state:<7} {figure.note}".rstrip()
        )
    return "\n".join(lines)


def report(figures: Sequence[Figure], context: Mapping[str, object], out: Path | None) -> int:
    """Print the table, write the JSON; the exit code: 1 when a goal was missed."""
    print(table(figures))
    if out is not None:
        rows = [asdict(figure) | {"missed": figure.missed} for figure in figures]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(
            json.dumps({**context, **machine(), "figures": rows}, indent=2) + "\n", encoding="utf-8"
        )
    missed = [figure.name for figure in figures if figure.missed]
    print(f"missed: {', '.join(missed)}" if missed else "every goal met")
    return int(bool(missed))
