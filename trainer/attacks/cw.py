"""The margin attack of Carlini and Wagner 2017, "Towards evaluating the robustness of neural networks".

Their objective f6: the best wrong logit less the true one, no further than ``confidence``; raised by Adam, as theirs.

Departures: the budget is given, not searched for, so a projection into the ball takes the place of the distance term
and of the change of variables (tanh) that kept images in [0, 1].
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


class CW(Attack):
    """``steps`` of Adam on the margin.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        steps: how many.
        step_share: Adam's step as a share of epsilon.
        confidence: logits past the boundary at which a window is left alone.
    """

    name = "cw"
    gradient = "exact"

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        steps: int = 50,
        step_share: float = 0.1,
        confidence: float = 5.0,
        **common: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, **common)
        if steps < 1 or step_share <= 0 or confidence < 0:
            raise ValueError("steps must be at least 1, step_share above 0 and confidence at least 0")
        self.steps, self.step_share, self.confidence = steps, step_share, confidence

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        def raised(model: AttackModel, at: At) -> tuple[Any, Any]:
            margin = objective("margin", model.logits(at.window, at.mask), at.true)
            return ops.minimum(margin, self.confidence), margin

        plan = Climb(("cw", self.confidence), raised, self.steps, self.step_share, adam=True)
        return climb(model, x, y, ball, plan)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "step_size": self.step_share * float(np.max(self.epsilon))}
