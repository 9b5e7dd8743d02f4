"""Random signs of full budget: what an attack must beat to be called one."""

from __future__ import annotations

import numpy as np

from trainer.attacks.base import Attack
from trainer.models.wrap import AttackModel


class Noise(Attack):
    """``x`` plus or minus epsilon at every sample, at random.

    Args:
        epsilon: L-infinity budget, window units.
    """

    name = "noise"

    def perturb(
        self,
        model: AttackModel,
        x: np.ndarray,
        y: np.ndarray,
        mask: np.ndarray,
        epsilon: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        return np.asarray(x + rng.choice(np.float32([-1, 1]), x.shape) * epsilon * mask, np.float32)
