"""A stream's recent verdicts in a few numbers each: an hour of a thousand streams must not be a gigabyte."""

from __future__ import annotations

import math

import numpy as np

from edge.types import Result, Status

CAP = 360  # an hour at a hop of 10 s
_FIRST = 16
_STATUS: tuple[Status, ...] = ("ok", "suspect", "abstain")
_FIXED = 9  # columns before the probabilities
_MAX_REASONS = 64


class Answers:
    """The last CAP results as rows of float64, grown as needed."""

    __slots__ = ("_at", "_count", "_labels", "_reasons", "_rows")

    def __init__(self) -> None:
        self._labels: tuple[str, ...] = ()
        self._reasons: list[str] = []
        self._rows = np.zeros((0, 0))
        self._at = self._count = 0

    def add(self, result: Result) -> None:
        labels = tuple(result.probabilities)
        if labels != self._labels:  # another model: its probabilities mean something else
            self._labels, self._at, self._count = labels, 0, 0
            self._rows = np.full((_FIRST, _FIXED + len(labels)), np.nan)
        elif self._at == len(self._rows) and self._at < CAP:
            grown = np.full((min(CAP, 2 * len(self._rows)), self._rows.shape[1]), np.nan)
            grown[: self._at] = self._rows
            self._rows = grown
        at = self._at % len(self._rows)
        window = result.window
        self._rows[at] = (
            result.seq,
            window.t0,
            window.n / window.rate_hz,
            labels.index(result.label) if result.label in result.probabilities else -1,
            _STATUS.index(result.status),
            self._reason(result.reason),
            np.nan if result.residual is None else result.residual,
            np.nan if result.disagreement is None else result.disagreement,
            result.latency_ms,
            *result.probabilities.values(),
        )
        self._at = at + 1
        self._count = min(self._count + 1, CAP)

    def rows(self, after_seq: int = -1) -> list[dict[str, object]]:
        """Plain objects, oldest first, of the results with a `seq` above `after_seq`."""
        held = self._rows[: self._at]
        if self._count > self._at:
            held = np.concatenate((self._rows[self._at :], held))
        return [self._row(row.tolist()) for row in held if row[0] > after_seq]

    def _row(self, row: list[float]) -> dict[str, object]:
        seq, t0, seconds, label, status, reason, residual, disagreement, latency = row[:_FIXED]
        probabilities = row[_FIXED:]
        return {
            "seq": int(seq),
            "t0": t0,
            "s": seconds,
            "label": self._labels[int(label)] if label >= 0 else "",
            "score": round(max(probabilities, default=0.0), 4),
            "status": _STATUS[int(status)],
            "reason": self._reasons[int(reason)],
            "residual": _number(residual, 3),
            "disagreement": _number(disagreement, 5),
            "latency_ms": round(latency, 3),
            "p": [round(p, 4) for p in probabilities],
        }

    def _reason(self, reason: str) -> int:
        if reason not in self._reasons:
            if len(self._reasons) >= _MAX_REASONS:
                return self._reasons.index("…")
            self._reasons.append(reason if len(self._reasons) < _MAX_REASONS - 1 else "…")
            return len(self._reasons) - 1
        return self._reasons.index(reason)


def _number(value: float, digits: int) -> float | None:
    return None if math.isnan(value) else round(value, digits)
