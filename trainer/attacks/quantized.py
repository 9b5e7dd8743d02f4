"""PGD on a twin that rounds as the int8 file does: a transfer source that knows where rounding takes a change away.

The twin is made of the float twin by straight-through rounding (``trainer.models.fake_quant``), calibrated on the
windows under attack: an attacker who has the file could read its ranges and does at least as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.attacks.norms import Ball
from trainer.attacks.pgd import PGD
from trainer.models.fake_quant import quantized
from trainer.models.wrap import AttackModel

SAMPLE = 64


class Quantized(PGD):
    """PGD, keeping the worst iterate, on the quantization-aware twin. Settings as ``PGD``."""

    name = "quantized"

    def __init__(self, *, epsilon: float | np.ndarray, keep: str = "worst", **settings: Any) -> None:
        super().__init__(epsilon=epsilon, keep=keep, **settings)

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        # made once a model, on the first windows
        twin = model.kept("quantized", lambda: quantized(model, x[:SAMPLE], ball.valid[:SAMPLE]))
        with twin.surrogate(model.current_surrogate):
            return super().perturb(twin, x, y, ball, rng)
