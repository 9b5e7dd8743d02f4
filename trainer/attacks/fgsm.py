"""Fast gradient sign method (Goodfellow and others 2014; paper 1, eq. 1): one step of epsilon.

Paper 1's eq. 1 takes the true label, its Fig. 3 the predicted one; the true one is the default.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.attacks.base import Attack
from trainer.attacks.gradient import Ascent, ascend
from trainer.attacks.norms import Ball
from trainer.models.wrap import AttackModel


class FGSM(Attack):
    """``x + epsilon * sign(grad_x loss(x, y))``; in L2 the gradient at unit length in place of its signs.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        label: "true" (eq. 1) or "predicted" (Fig. 3).
    """

    name = "fgsm"
    gradient = "exact"
    steps = 1

    def __init__(self, *, epsilon: float | np.ndarray, label: str = "true", **common: Any) -> None:
        super().__init__(epsilon=epsilon, **common)
        if label not in ("true", "predicted"):
            raise ValueError(f"label must be 'true' or 'predicted', not {label!r}")
        self.label = label

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        if self.label == "predicted":
            y = model.predict(x, ball.valid).argmax(-1)
        return ascend(model, x, y, ball, np.zeros_like(x), [Ascent(1, 1.0)])
