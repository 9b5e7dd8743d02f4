"""Projected gradient descent (Madry and others 2018) in the L-infinity ball."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.attacks.base import Attack
from trainer.attacks.gradient import LOSSES, Ascent, ascend
from trainer.models.wrap import AttackModel


class PGD(Attack):
    """``steps`` sign steps, cut to the ball around the original after each.

    Args:
        epsilon: L-infinity budget, window units.
        steps: how many.
        step_share: step size as a share of epsilon (paper 2 steps by 1 uV at 10 uV: 0.1).
        restarts: runs; the first from the window itself, further ones from uniform random starts. The worst
            window of each record counts.
        loss: "cross_entropy" or "margin".
        keep: "last" iterate, as in the papers, or the "worst" one on the way.
        random_start: the first run starts at a random point too.
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
    ) -> None:
        super().__init__(epsilon=epsilon)
        if steps < 1 or restarts < 1 or step_share <= 0:
            raise ValueError("steps and restarts must be at least 1 and step_share above 0")
        if loss not in LOSSES or keep not in ("last", "worst"):
            raise ValueError(f"loss is one of {LOSSES}, keep 'last' or 'worst'")
        self.steps, self.step_share, self.restarts = steps, step_share, restarts
        self.loss, self.keep, self.random_start = loss, keep, random_start

    def perturb(
        self,
        model: AttackModel,
        x: np.ndarray,
        y: np.ndarray,
        mask: np.ndarray,
        epsilon: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        phase = Ascent(self.steps, self.step_share * epsilon, self.loss, keep=self.keep)
        worst, worst_margin = x, np.full(len(x), -np.inf)
        for restart in range(self.restarts):
            start = (
                np.zeros_like(x)
                if restart == 0 and not self.random_start
                else rng.uniform(-1, 1, x.shape).astype(np.float32) * epsilon * mask
            )
            candidate = ascend(model, x, y, mask, epsilon, start, [phase])
            if self.restarts == 1:
                return candidate
            margin = wrong_margin(model.predict(candidate, mask[..., 0] > 0), y)
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
