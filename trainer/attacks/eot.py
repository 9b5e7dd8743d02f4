"""Expectation over transformation (Athalye and others 2018), here of what happens to a signal before it is judged.

Where the window starts, the gain of the front end and its noise are not the attacker's to choose, and a defence may
draw at random itself. Each step follows the mean gradient over several draws of all that; a network that draws gets
its own draw in each. H. Chen and others (ECGadv, 2020, type II) do so for ECG.
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


class EOT(Attack):
    """``steps`` along the mean gradient of ``draws`` transformed windows.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        steps: how many; each costs ``draws`` forward and backward passes.
        step_share: step size as a share of epsilon.
        draws: transformed windows a step.
        shift: most that a window starts too early or late, as a share of its length.
        gain: most that the gain is off, as a share.
        noise: standard deviation of added noise, as a share of epsilon.
    """

    name = "eot"
    gradient = "exact"

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        steps: int = 20,
        step_share: float = 0.1,
        draws: int = 8,
        shift: float = 0.02,
        gain: float = 0.05,
        noise: float = 0.1,
        **common: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, **common)
        if steps < 1 or draws < 1 or step_share <= 0 or not 0 <= shift < 1 or not 0 <= gain < 1 or noise < 0:
            raise ValueError("steps and draws must be at least 1, step_share above 0, shift and gain within 0 to 1")
        self.steps, self.step_share, self.draws = steps, step_share, draws
        self.shift, self.gain, self.noise = shift, gain, noise

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        time, channels = x.shape[1:]
        most = round(self.shift * time)

        def draw(n: int) -> tuple[np.ndarray, ...]:
            return (
                rng.integers(-most, most + 1, (n, 1, 1)),
                1 + self.gain * rng.uniform(-1, 1, (n, 1, 1)),
                self.noise * rng.standard_normal((n, time, channels), np.float32),
            )

        plan = Climb(("eot",), _raised, self.steps, self.step_share, draws=self.draws, draw=draw)
        return climb(model, x, y, ball, plan)

    def describe(self) -> dict[str, Any]:
        about = super().describe()
        return {**about, "steps": self.steps * self.draws, "step_size": self.step_share * float(np.max(self.epsilon))}


def _raised(model: AttackModel, at: At) -> tuple[Any, Any]:
    shift, gain, noise = at.drawn
    time = at.window.shape[1]
    from_where = ops.arange(time)[None, :, None] + ops.cast(shift, "int32")
    inside = ops.cast((from_where >= 0) & (from_where < time), "float32")
    from_where = ops.clip(from_where, 0, time - 1)
    mask = ops.take_along_axis(at.mask, from_where, axis=1) * inside
    # times one, so that what comes back is a plain tensor
    window = ops.take_along_axis(at.window * 1.0, ops.broadcast_to(from_where, ops.shape(at.window)), axis=1)
    logits = model.logits((gain * window + noise * at.epsilon) * mask, mask)
    margin = objective("margin", logits, at.true)  # a softmax may saturate in some draws and not in others
    return margin, margin
