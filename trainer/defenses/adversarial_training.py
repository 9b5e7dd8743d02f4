"""Adversarial training: part of every batch is replaced by its PGD windows (Madry and others 2018).

With an encode-decode in front (a model that gives a reconstruction) this is the joint training of paper 1
(section 4, Fig. 9: reconstruction loss and cross-entropy together), and the attack passes the thermometer by
its surrogate gradient. ``steps = 0`` trains on clean windows only. With a teacher, the label is mixed with its
soft label, for the attack and for the loss.

Departures from the paper: L1 or squared error by choice, and the reconstruction of an attacked window is
compared with the clean one, so that the decoder learns to remove the attack.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from trainer.defenses.base import Batch, cross_entropy, logits_of, reconstruction_error, reconstruction_of
from trainer.gradients import input_gradient


class AdversarialTraining:
    """Clean first part, attacked rest.

    Args:
        steps: PGD steps inside training; 0 for none.
        step_share: step size as a share of each record's epsilon.
        share: share of the batch that is attacked.
        noise: standard deviation of Gaussian noise added to the input, in input units (paper 1, section 4).
        reconstruction_weight: weight of the reconstruction loss, where the model has one.
        reconstruction_unit: input units that count as an error of 1.
        reconstruction_power: 1 for L1, 2 for mean squared error (paper 1).
        teacher_share: weight of the teacher's soft label in the label, where a recipe names a teacher.
    """

    def __init__(
        self,
        *,
        steps: int = 4,
        step_share: float = 0.5,
        share: float = 0.5,
        noise: float = 0.0,
        reconstruction_weight: float = 1.0,
        reconstruction_unit: float = 100.0,
        reconstruction_power: int = 1,
        teacher_share: float = 0.5,
    ) -> None:
        if not 0 <= teacher_share <= 1:
            raise TypeError("teacher_share lies in 0 to 1")
        self.steps = steps
        self.step_share = step_share
        self.share = share if steps else 0.0
        self.noise = noise
        self.reconstruction_weight = reconstruction_weight
        self.reconstruction_unit = reconstruction_unit
        self.reconstruction_power = reconstruction_power
        self.teacher_share = teacher_share

    def attack(self, model: keras.Model, x: Any, valid: Any, target: Any, start: Any, epsilon: Any) -> Any:
        """PGD windows around ``x`` from a random start; the model in inference mode, padding untouched."""
        delta = start * epsilon * valid
        for _ in range(self.steps):
            _, gradient = input_gradient(
                lambda d: cross_entropy(target, logits_of(model(x + d, training=False))), delta
            )
            delta = (
                ops.clip(delta + self.step_share * epsilon * ops.sign(gradient), -epsilon, epsilon) * valid
            )
        return x + ops.stop_gradient(delta)

    def loss(self, model: keras.Model, batch: Batch) -> tuple[Any, Any]:
        x = batch.x + self.noise * batch.noise * batch.valid if self.noise else batch.x
        target = batch.target
        if batch.teacher is not None:
            target = (1.0 - self.teacher_share) * target + self.teacher_share * batch.teacher
        attacked = round(self.share * x.shape[0])
        if attacked:
            k = x.shape[0] - attacked
            adversarial = self.attack(
                model, x[k:], batch.valid[k:], target[k:], batch.start[k:], batch.epsilon[k:]
            )
            x = ops.concatenate([x[:k], adversarial], axis=0)
        outputs = model(x, training=True)
        logits = logits_of(outputs)
        total = ops.mean(cross_entropy(target, logits))
        reconstruction = reconstruction_of(outputs)
        if reconstruction is not None:
            total = total + self.reconstruction_weight * reconstruction_error(
                batch.x, reconstruction, batch.valid, self.reconstruction_unit, self.reconstruction_power
            )
        return total, logits
