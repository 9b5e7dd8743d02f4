"""The smoothness-penalised attack on ECG of H. Chen and others, "ECGadv", AAAI 2020.

Physicians overlook what is smooth, so beside the margin the attack keeps small the variance of the differences of
neighbouring samples of the perturbation (the source's smoothness metric). Unlike SAP it does not filter: where the
margin needs a rough change it pays for one.

Departures: the metric is taken relative to the budget (1 for a change by epsilon from sample to sample), and the
budget is given, where the source searches for the smallest sum of distance and objective.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from trainer.attacks.base import Attack
from trainer.attacks.climb import At, Climb, climb
from trainer.attacks.gradient import objective
from trainer.attacks.norms import Ball
from trainer.models.wrap import AttackModel


class Smooth(Attack):
    """``steps`` of Adam on the margin less ``penalty`` times the roughness.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        steps: how many.
        step_share: Adam's step as a share of epsilon.
        penalty: logits that a unit of roughness costs.
        confidence: logits past the boundary at which only smoothness counts.
    """

    name = "smooth"
    gradient = "exact"

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        steps: int = 50,
        step_share: float = 0.1,
        penalty: float = 1.0,
        confidence: float = 1.0,
        **common: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, **common)
        if steps < 1 or step_share <= 0 or penalty < 0 or confidence < 0:
            raise ValueError("steps must be at least 1, step_share above 0, penalty and confidence at least 0")
        self.steps, self.step_share, self.penalty, self.confidence = steps, step_share, penalty, confidence

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        def raised(model: AttackModel, at: At) -> tuple[Any, Any]:
            margin = objective("margin", model.logits(at.window, at.mask), at.true)
            return ops.minimum(margin, self.confidence) - self.penalty * roughness(at, self.norm), margin

        key = ("smooth", self.penalty, self.confidence, self.norm)
        return climb(model, x, y, ball, Climb(key, raised, self.steps, self.step_share, adam=True, by_value=True))

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "step_size": self.step_share * float(np.max(self.epsilon))}


def roughness(at: At, norm: str = "linf") -> Any:
    """(n,) variance over time of the change from sample to sample, in squared budgets; the mean of all channels.

    In L2 the budget of a sample is that of a change spread evenly.
    """
    change = at.delta / ops.maximum(at.epsilon, 1e-20)
    if norm == "l2":
        change = change * ops.sqrt(ops.sum(at.mask, axis=(1, 2), keepdims=True))
    return ops.mean(ops.var(change[:, 1:] - change[:, :-1], axis=1), axis=-1)
