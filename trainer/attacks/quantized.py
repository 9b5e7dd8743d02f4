"""PGD on a twin that rounds as the int8 file does: a transfer source that knows where rounding takes a change away.

The twin is made of the float twin by straight-through rounding (``trainer.models.fake_quant``), calibrated on windows
under attack: an attacker who has the file could read its ranges and does at least as well.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from trainer.attacks.norms import Ball
from trainer.attacks.pgd import PGD
from trainer.models.fake_quant import quantized
from trainer.models.wrap import AttackModel

SAMPLE = 64


class Quantized(PGD):
    """PGD, keeping the worst iterate, on the quantization-aware twin. Settings as ``PGD``.

    Args:
        sample: windows (n, time, channel) and valid (n, time) to calibrate on; the first attacked ones if None.
    """

    name = "quantized"

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        keep: str = "worst",
        sample: tuple[np.ndarray, np.ndarray] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, keep=keep, **settings)
        self.sample = sample

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        key, seen, valid = "quantized", x[:SAMPLE], ball.valid[:SAMPLE]
        if self.sample is not None:
            seen, valid = self.sample
            key += hashlib.sha256(np.ascontiguousarray(seen)).hexdigest()
        twin = model.kept(key, lambda: quantized(model, seen, valid))  # made once a model and sample
        with twin.surrogate(model.current_surrogate):
            return super().perturb(twin, x, y, ball, rng)
