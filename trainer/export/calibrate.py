"""What validation windows decide: the temperature of the logits, and when an answer is suspect or withheld.

Nothing is fitted on the records that an evaluation reports.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge.bundle import Decision
from trainer.evaluate.calibration import calibration_error, error_interval, fit_temperature, likelihood_loss
from trainer.evaluate.intervals import Share, share_of
from trainer.export.parity import Parity

MIN_WRONG = 10  # a temperature is fitted on the wrong answers above all; fewer would set it by chance


@dataclass(frozen=True)
class Calibration:
    """``temperature`` divides the logits; 1 and not ``fitted`` where too few of ``n`` windows are answered wrongly."""

    temperature: float
    fitted: bool
    n: int
    loss_before: float
    loss_after: float


def calibrate(logits: np.ndarray, y: np.ndarray) -> Calibration:
    """The temperature of least loss of the float twin's ``logits`` (n, class) on ``y`` (n,)."""
    before = likelihood_loss(logits, y)
    if int((logits.argmax(-1) != y).sum()) < MIN_WRONG:
        return Calibration(1.0, False, len(y), before, before)
    temperature = fit_temperature(logits, y)
    return Calibration(temperature, True, len(y), before, likelihood_loss(logits, y, temperature))


def thresholds(parity: Parity, false_alarms: float, abstentions: float = 0.0) -> Decision:
    """Limits that call at most about ``false_alarms`` of clean validation windows suspect, and withhold at most about
    ``abstentions`` of them for a low score.
    """

    def upper(values: np.ndarray) -> float | None:
        return float(np.quantile(values, 1.0 - false_alarms / 2, method="higher")) if len(values) else None

    scores = parity.scores.get("file", np.zeros(0))
    return Decision(
        suspect_residual=upper(parity.residuals),
        suspect_disagreement=upper(parity.disagreements),
        abstain_score=float(np.quantile(scores, abstentions, method="lower")) if abstentions and len(scores) else None,
    )


def error_of(parity: Parity) -> dict[str, dict[str, Any]]:
    """Expected calibration error of float twin and file on validation windows, with its interval."""
    found = {}
    for name, scores in parity.scores.items():
        right = parity.right[name]
        low, high = error_interval(scores, right)
        found[name] = {"n": len(scores), "error": calibration_error(scores, right), "low": low, "high": high}
    return found


def operating_points(
    parity: Parity, decision: Decision, false_alarms: float, abstentions: float
) -> dict[str, dict[str, Any]]:
    """What the limits do to clean validation windows, from which they were chosen, with the interval of each share."""
    n = parity.n
    suspect = np.zeros(n, bool)
    for values, limit in (
        (parity.residuals, decision.suspect_residual),
        (parity.disagreements, decision.suspect_disagreement),
    ):
        if limit is not None:
            suspect |= values > limit
    scores = parity.scores.get("file", np.ones(n))
    withheld = np.zeros(n, bool) if decision.abstain_score is None else ~suspect & (scores < decision.abstain_score)

    def point(chosen: float, clean: Share, **limits: float | None) -> dict[str, Any]:
        return {"chosen": chosen, "limits": limits, "clean": asdict(clean)}

    return {
        "suspect": point(
            false_alarms, share_of(int(suspect.sum()), n),
            residual=decision.suspect_residual, disagreement=decision.suspect_disagreement,
        ),
        "abstain": point(abstentions, share_of(int(withheld.sum()), n), score=decision.abstain_score),
    }  # fmt: skip
