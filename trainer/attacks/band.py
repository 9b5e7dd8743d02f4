"""PGD with a perturbation that holds nothing but a band of frequencies.

What lies between 0.5 and 40 Hz passes an ECG front end, a resampler and the removal of the mean, so no filter in the
device's path can take it out. The perturbation is filtered after every step and scaled, not cut, into the ball: a cut
would put other frequencies back. (Padding is cut off; its edge is the one thing that is not in the band.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer import gradients
from trainer.attacks.apgd import look_at
from trainer.attacks.base import Attack
from trainer.attacks.norms import Ball
from trainer.models.wrap import BATCH, AttackModel, batches, padded

ECG_HZ, ECG_RATE_HZ = (0.5, 40.0), 300.0


class Band(Attack):
    """``steps`` sign steps of the filtered gradient, from the window itself.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        steps: how many.
        step_share: step size as a share of epsilon.
        low, high: the band, as shares of the sampling rate; 0.5 to 40 Hz at 300 Hz.
    """

    name = "band"
    gradient = "exact"

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        steps: int = 50,
        step_share: float = 0.1,
        low: float = ECG_HZ[0] / ECG_RATE_HZ,
        high: float = ECG_HZ[1] / ECG_RATE_HZ,
        **common: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, **common)
        if steps < 1 or step_share <= 0 or not 0 <= low < high <= 0.5:
            raise ValueError("steps must be at least 1, step_share above 0, and 0 <= low < high <= 0.5")
        self.steps, self.step_share, self.low, self.high = steps, step_share, low, high

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        classes = int(model.model.outputs[0].shape[-1])
        true = np.eye(classes, dtype=np.float32)[y]
        look, out, size = look_at(model, "margin"), x.copy(), min(BATCH, len(x))
        for index in batches(len(x), size):
            window, used, target, *limits = padded(index, size, x, ball.mask, true, ball.epsilon, ball.low, ball.high)
            around = Ball(limits[0], limits[1], limits[2], used, ball.norm)
            fixed = [gradients.tensor(a) for a in (window, used, target, target)]
            delta, best = np.zeros_like(window), np.zeros_like(window)
            largest = np.full(len(window), -np.inf, np.float32)
            for _ in range(self.steps + 1):
                found = look(*fixed, gradients.tensor(delta), gradients.tensor(np.ones(len(window))))
                _, margin, gradient, _ = (np.asarray(a) for a in found)
                better = margin > largest
                best, largest = np.where(better[:, None, None], delta, best), np.where(better, margin, largest)
                step = around.step(self.filtered(gradient) * used, self.step_share)
                delta = self._into_ball(self.filtered(delta + step) * used, around)
            out[index] = (window + best)[: len(index)]
        return out

    def filtered(self, wave: np.ndarray) -> np.ndarray:
        """``wave`` (n, time, channel) without what lies outside of the band."""
        share = np.fft.rfftfreq(wave.shape[1])
        keep = ((share >= self.low) & (share <= self.high)).astype(np.float32)
        return np.fft.irfft(np.fft.rfft(wave, axis=1) * keep[:, None], wave.shape[1], axis=1).astype(np.float32)

    @staticmethod
    def _into_ball(delta: np.ndarray, around: Ball) -> np.ndarray:
        delta = np.where(around.epsilon > 0, delta, 0.0)
        return np.asarray(delta / np.maximum(around.length(delta), 1.0), np.float32)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "step_size": self.step_share * float(np.max(self.epsilon))}
