"""Projected gradient descent (Madry and others 2018), with schedules and momentum.

Momentum is that of Dong and others 2018 (MI-FGSM): the gradient, at a mean absolute value of 1, is added to
``momentum`` times the sum so far.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.attacks.base import Attack
from trainer.attacks.gradient import LOSSES, SCHEDULES, Ascent, ascend
from trainer.attacks.norms import Ball
from trainer.models.wrap import AttackModel


class PGD(Attack):
    """``steps`` sign steps, cut to the ball around the original after each.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        steps: how many.
        step_share: step size as a share of epsilon (paper 2 steps by 1 uV at 10 uV: 0.1).
        restarts: runs; the first from the window itself, further ones from uniform random starts. The worst
            window of each record counts.
        loss: "cross_entropy" or "margin".
        keep: "last" iterate, as in the papers, or the "worst" one on the way.
        random_start: the first run starts at a random point too.
        schedule: of the step size: "constant", "linear" or "cosine", both down to a hundredth.
        momentum: share of the sum of earlier gradients that is kept; 0 for none.
    """

    name = "pgd"
    gradient = "exact"

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        steps: int = 20,
        step_share: float = 0.1,
        restarts: int = 1,
        loss: str = "cross_entropy",
        keep: str = "last",
        random_start: bool = False,
        schedule: str = "constant",
        momentum: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, **common)
        if steps < 1 or restarts < 1 or step_share <= 0:
            raise ValueError("steps and restarts must be at least 1 and step_share above 0")
        if loss not in LOSSES or keep not in ("last", "worst"):
            raise ValueError(f"loss is one of {LOSSES}, keep 'last' or 'worst'")
        if schedule not in SCHEDULES or not 0 <= momentum <= 1:
            raise ValueError(f"schedule is one of {', '.join(SCHEDULES)}, momentum from 0 to 1")
        self.steps, self.step_share, self.restarts = steps, step_share, restarts
        self.loss, self.keep, self.random_start = loss, keep, random_start
        self.schedule, self.momentum = schedule, momentum

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        phase = Ascent(
            self.steps, self.step_share, self.loss, keep=self.keep, schedule=self.schedule, momentum=self.momentum
        )
        worst, worst_margin = x, np.full(len(x), -np.inf)
        for restart in range(self.restarts):
            start = np.zeros_like(x) if restart == 0 and not self.random_start else ball.random(rng)
            candidate = ascend(model, x, y, ball, start, [phase])
            if self.restarts == 1:
                return candidate
            margin = wrong_margin(model.predict(candidate, ball.valid), y)
            better = margin > worst_margin
            worst = np.where(better[:, None, None], candidate, worst)
            worst_margin = np.maximum(margin, worst_margin)
        return worst

    def describe(self) -> dict[str, Any]:
        size = self.step_share * float(np.max(self.epsilon))
        return {**super().describe(), "step_size": size}


def wrong_margin(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n,) best wrong logit minus the true one: above 0 is misclassified."""
    rows = np.arange(len(y))
    true = logits[rows, y]
    others = logits.copy()
    others[rows, y] = -np.inf
    return np.asarray(others.max(-1) - true)
