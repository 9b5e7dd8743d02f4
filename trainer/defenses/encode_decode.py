"""The first stage of paper 1's two-stage reading: the encode-decode alone learns to give back the series.

Noise is added to the input and the clean series is the target (section 4: "add some random noise").
"""

from __future__ import annotations

from typing import Any

import keras

from trainer.defenses.base import Batch, reconstruction_error


class Reconstruction:
    """Reconstruction loss alone; the model gives the series itself, so there are no logits."""

    def __init__(self, *, noise: float, unit: float, power: int) -> None:
        self.noise, self.unit, self.power = noise, unit, power

    def loss(self, model: keras.Model, batch: Batch) -> tuple[Any, Any]:
        x = batch.x + self.noise * batch.noise * batch.valid if self.noise else batch.x
        return reconstruction_error(
            batch.x, model(x, training=True), batch.valid, self.unit, self.power
        ), None
