"""Random signs of full budget: what an attack must beat to be called one."""

from __future__ import annotations

import numpy as np

from trainer.attacks.base import Attack
from trainer.attacks.norms import Ball
from trainer.models.wrap import AttackModel


class Noise(Attack):
    """``x`` plus or minus epsilon at every sample, at random; in L2 the same signs, scaled.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
    """

    name = "noise"

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        return x + ball.project(rng.choice(np.float32([-1, 1]), x.shape) * ball.epsilon)
