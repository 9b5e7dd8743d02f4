"""The new bundle beside the one in service, on the same live windows: agreement, latency, share of answers withheld.

A plain object: it is given windows with what the old one said of them, and says when it has seen enough and whether
the new one may take over. No threads, no IO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge.bundle import Bundle
from edge.pipeline.classify import Classifier
from edge.pipeline.verdict import Judge
from edge.types import Result, Window

__all__ = ["Canary", "Limits", "incompatible"]

# These say something about the signal, which is the same for both, and nothing about a model.
_OF_THE_SIGNAL: Final = frozenset({"missing", "lead_off", "flat", "overload"})
# Below this a ratio of latencies measures the clock.
_LATENCY_FLOOR_MS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a new bundle must keep to. `withheld` are windows answered suspect or abstain; shares are 0 to 1."""

    windows: int
    min_agreement: float
    max_latency_ratio: float
    max_withheld_rise: float


class Canary:
    """Judges one candidate. `push` runs its model, so it belongs to the thread that owns the classifier."""

    def __init__(self, bundle: Bundle, classifier: Classifier, limits: Limits) -> None:
        self._classifier, self._judge, self._limits = classifier, Judge(bundle.manifest), limits
        self._agreed = self._withheld_old = self._withheld_new = 0
        self._old_ms: list[float] = []
        self._new_ms: list[float] = []
        self.seen = 0

    @property
    def enough(self) -> bool:
        return self.seen >= self._limits.windows

    def push(self, window: Window, result: Result) -> None:
        """A live window and the published answer. Raises what the new model raises."""
        if result.reason in _OF_THE_SIGNAL:
            return
        scores = self._classifier.classify(window)
        verdict = self._judge.push(window, scores)
        self.seen += 1
        self._agreed += verdict.label == result.label
        self._withheld_old += result.status != "ok"
        self._withheld_new += verdict.status != "ok"
        self._old_ms.append(result.latency_ms)
        self._new_ms.append(scores.latency_ms)

    def figures(self) -> dict[str, float]:
        """What was measured, for the event and the history."""
        if not self.seen:
            return {"windows": 0}
        return {
            "windows": self.seen,
            "agreement": round(self._agreed / self.seen, 4),
            "withheld_old": round(self._withheld_old / self.seen, 4),
            "withheld_new": round(self._withheld_new / self.seen, 4),
            "latency_old_ms": _middle(self._old_ms),
            "latency_new_ms": _middle(self._new_ms),
        }

    def objection(self) -> str:
        """Why the candidate must not take over, "" where it may."""
        limits, facts = self._limits, self.figures()
        if not self.seen:
            return "no live window came to compare on; wait for streams, or activate with --skip-canary"
        if facts["agreement"] < limits.min_agreement:
            agreed = facts["agreement"]
            return f"agrees on {agreed:.3f} of {self.seen} live windows, at least {limits.min_agreement} is set"
        rise = facts["withheld_new"] - facts["withheld_old"]
        if rise > limits.max_withheld_rise:
            return (
                f"withholds its answer on {facts['withheld_new']:.3f} of {self.seen} live windows, "
                f"{rise:.3f} more than before; at most {limits.max_withheld_rise} is set"
            )
        old, new = facts["latency_old_ms"], facts["latency_new_ms"]
        if new > max(_LATENCY_FLOOR_MS, old * limits.max_latency_ratio):
            most = limits.max_latency_ratio
            return f"takes {new:.2f} ms a window instead of {old:.2f}; at most {most:g} times is set"
        return ""


def incompatible(old: Bundle, new: Bundle) -> str:
    """Why a bundle cannot take over without a restart, "" where it can: windows under way must serve both."""
    a, b = old.manifest, new.manifest
    if a.input != b.input:
        wants = [
            f"{name} {getattr(b.input, name)} instead of {getattr(a.input, name)}"
            for name in ("channels", "units", "rate_hz", "window_samples", "hop_samples", "pad")
            if getattr(a.input, name) != getattr(b.input, name)
        ]
        return f"{b.ref} takes {', '.join(wants)}: set it in the configuration and restart the agent"
    if set(a.labels) != set(b.labels):
        return (
            f"{b.ref} has the labels {', '.join(b.labels)}, {a.ref} {', '.join(a.labels)}: "
            "set it in the configuration and restart the agent"
        )
    return ""


def _middle(values: Sequence[float]) -> float:
    """The median to three digits. (The module statistics costs every agent the memory of its imports.)"""
    ranked = sorted(values)
    return round((ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2, 3)
