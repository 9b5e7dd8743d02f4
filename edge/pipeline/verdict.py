"""Scores to verdict by the bundle's thresholds."""

from __future__ import annotations

import math

from edge.bundle import Manifest
from edge.types import Scores, Status, Verdict, Window

__all__ = ["REASONS", "Judge"]

# Every reason there is, in order of precedence; two measures that both say suspect are joined by "+".
REASONS = ("missing", "lead_off", "flat", "failed", "overload", "not_finite", "residual", "disagreement", "low_score")


class Judge:
    """Holds one bundle's labels and thresholds; the same window and scores always give the same verdict.

    abstain: too many samples missing (`missing`, or `lead_off` when an electrode was off for most of them), a
    constant window (`flat`), a model that could not take it (`failed`), was not asked (`overload`) or answers NaN
    (`not_finite`), a top score too low (`low_score`).
    suspect: `residual` or `disagreement` above its threshold. A suspect window stays suspect when its score
    is low, since tampering is what lowers it.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._labels = manifest.labels
        self._decision = manifest.decision

    def push(self, window: Window, scores: Scores) -> Verdict:
        """The verdict on one window."""
        # A handful of numbers: plain Python is faster than numpy here.
        values: list[float] = scores.probabilities.tolist()
        finite = all(map(math.isfinite, values))
        if not finite:
            values = [0.0] * len(values)
        score = max(values)
        best = values.index(score)
        status, reason = self._status(window, scores, score, finite)
        return Verdict(
            label=self._labels[best],
            score=score,
            probabilities=dict(zip(self._labels, values, strict=True)),
            status=status,
            reason=reason,
            residual=_finite(scores.residual),
            disagreement=_finite(scores.disagreement),
        )

    def _status(self, window: Window, scores: Scores, score: float, finite: bool) -> tuple[Status, str]:
        limits = self._decision
        real = window.valid.shape[0] - window.padded
        if window.missing > limits.max_missing * real or window.missing >= real:
            return "abstain", "lead_off" if 2 * window.lead_off > window.missing else "missing"
        if _is_flat(window):
            return "abstain", "flat"
        if not finite:
            return "abstain", scores.failed or "not_finite"
        suspicions = [
            name
            for name, value, limit in (
                ("residual", scores.residual, limits.suspect_residual),
                ("disagreement", scores.disagreement, limits.suspect_disagreement),
            )
            # "not <=" so that a NaN is suspect
            if limit is not None and value is not None and not value <= limit
        ]
        if suspicions:
            return "suspect", "+".join(suspicions)
        if limits.abstain_score is not None and score < limits.abstain_score:
            return "abstain", "low_score"
        return "ok", ""


def _is_flat(window: Window) -> bool:
    used = window.values if window.missing + window.padded == 0 else window.values[window.valid]
    return bool((used == used[:1]).all())


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
