"""Smooth adversarial perturbation (Han and others 2020; paper 2, eq. 7 to 11).

PGD steps first, then sign steps on a perturbation that is smoothed by 25 Gaussian kernels (sizes 5, 7, 11, 15,
19 by sigmas 1, 3, 5, 7, 10) before it is added. The 25 kernels average to one symmetric kernel of 19 taps,
exactly, so one convolution does.

Departures from the paper's print: eq. 7 and 11 cut around the previous iterate, so that with steps of 1 uV a
budget of 10 uV would never bind; the method's own code cuts around the original and clears the perturbation
in the padding, and so does this.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.attacks.base import Attack
from trainer.attacks.gradient import Ascent, ascend
from trainer.attacks.norms import Ball
from trainer.models.wrap import AttackModel

SIZES = (5, 7, 11, 15, 19)
SIGMAS = (1.0, 3.0, 5.0, 7.0, 10.0)


def gaussian(size: int, sigma: float) -> np.ndarray:
    """Eq. 10: ``size`` taps, odd, of a Gaussian that sum to 1."""
    m = np.arange(size) - size // 2
    taps = np.exp(-(m**2) / (2.0 * sigma**2))
    return np.asarray(taps / taps.sum())


def average_kernel() -> np.ndarray:
    """The mean of the 25 kernels of eq. 8, each centred in 19 taps."""
    taps = np.zeros(max(SIZES))
    for size in SIZES:
        for sigma in SIGMAS:
            left = (max(SIZES) - size) // 2
            taps[left : left + size] += gaussian(size, sigma)
    return taps / (len(SIZES) * len(SIGMAS))


class SAP(Attack):
    """``steps`` of PGD, then ``smooth_steps`` on the smoothed perturbation.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        steps: t of the paper (training 5, attack 20).
        smooth_steps: t' of the paper (training 5, attack 40); 0 is PGD.
        step_share: step size as a share of epsilon (alpha 1 at epsilon 10: 0.1).
    """

    name = "sap"
    gradient = "exact"

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        steps: int = 20,
        smooth_steps: int = 40,
        step_share: float = 0.1,
        **common: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, **common)
        if steps < 1 or smooth_steps < 0 or step_share <= 0:
            raise ValueError("steps must be at least 1, smooth_steps at least 0 and step_share above 0")
        self.pgd_steps, self.smooth_steps, self.step_share = steps, smooth_steps, step_share
        self.steps = steps + smooth_steps

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        phases = [Ascent(self.pgd_steps, self.step_share)]
        if self.smooth_steps:
            phases.append(Ascent(self.smooth_steps, self.step_share, taps=average_kernel()))
        return ascend(model, x, y, ball, np.zeros_like(x), phases)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "step_size": self.step_share * float(np.max(self.epsilon))}
