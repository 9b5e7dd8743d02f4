"""Adversarial distillation training (paper 2, Algorithm 1) and the methods that are settings of it.

Both stages train on clean and on SAP windows together, with the mixed loss

    c L(x_adv, y) + (1 - c) L(x, y),   c = 0.5                            (6)

where L is the cross-entropy at temperature T and y the label in the first stage, the first network's
probabilities in the second (``distillation``). SAP takes t = t' = 5 steps of alpha = 1 within epsilon = 10 uV
(eq. 7 to 11) and raises the cross-entropy of the same y.

=========  ============  ============
method     first stage   second stage
=========  ============  ============
AT         adt
DD         distillation  distillation
Init-ADT   adt           distillation
Dist-ADT   distillation  adt
ADT        adt           adt
=========  ============  ============

("distillation" is c = 0). Methods with the same first stage can share its run.

Departures: SAP attacks the network in inference mode and leaves the padding alone at every step (the paper's code
attacks it in training mode, with dropout, and clears the padding once at the end); eq. 7 and 11 cut around the
original, as that code does (see ``attacks.sap``). The attack is made at T = 1 whatever T the loss has, also as in
that code. With an encode-decode in front, its reconstruction loss is added for both parts of the batch, the
clean window being the target of both (paper 1).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from trainer.attacks import unrolled
from trainer.defenses.adversarial_training import AdversarialTraining
from trainer.defenses.base import Batch, logits_of, reconstruction_error, reconstruction_of
from trainer.defenses.distillation import distillation_loss

# defences of the first and, where there is one, the second stage
METHODS: dict[str, tuple[str, ...]] = {
    "at": ("adt",),
    "dd": ("distillation", "distillation"),
    "init_adt": ("adt", "distillation"),
    "dist_adt": ("distillation", "adt"),
    "adt": ("adt", "adt"),
}


class AdversarialDistillation(AdversarialTraining):
    """One stage: clean and SAP windows in every batch, cross-entropy at a temperature.

    Args:
        steps: t; smooth_steps: t'; both 5 in the paper.
        step_share: alpha as a share of each record's epsilon (1 of 10 uV: 0.1).
        c: weight of the attacked part; 0 trains on clean windows only, 1 on attacked ones only.
        temperature: T of the loss; the recipe's ``[distillation]`` sets it.
        noise, reconstruction_weight, reconstruction_unit, reconstruction_power: as in adversarial training.
    """

    def __init__(
        self,
        *,
        steps: int = 5,
        smooth_steps: int = 5,
        step_share: float = 0.1,
        c: float = 0.5,
        temperature: float = 1.0,
        noise: float = 0.0,
        reconstruction_weight: float = 1.0,
        reconstruction_unit: float = 100.0,
        reconstruction_power: int = 1,
    ) -> None:
        super().__init__(
            steps=steps,
            step_share=step_share,
            share=c,
            noise=noise,
            reconstruction_weight=reconstruction_weight,
            reconstruction_unit=reconstruction_unit,
            reconstruction_power=reconstruction_power,
        )
        if not 0 <= c <= 1 or temperature <= 0 or smooth_steps < 0:
            raise TypeError("c lies in 0 to 1, temperature is above 0 and smooth_steps at least 0")
        self.smooth_steps, self.c, self.temperature = smooth_steps, c, temperature

    def attack(self, model: keras.Model, x: Any, valid: Any, target: Any, start: Any, epsilon: Any) -> Any:
        """SAP windows around ``x``; ``start`` is not used, the paper starts at the window itself."""
        return unrolled.sap(
            model,
            x,
            valid,
            target,
            epsilon,
            steps=self.steps,
            smooth_steps=self.smooth_steps,
            step_share=self.step_share,
        )

    def loss(self, model: keras.Model, batch: Batch) -> tuple[Any, Any]:
        x = batch.x + self.noise * batch.noise * batch.valid if self.noise else batch.x
        target = batch.target if batch.teacher is None else batch.teacher
        total, logits = 0.0, None
        if self.c:
            adversarial = self.attack(model, x, batch.valid, target, batch.start, batch.epsilon)
            value, logits = self._part(model, adversarial, target, batch)
            total = self.c * value
        if self.c < 1:
            value, logits = self._part(model, x, target, batch)
            total = total + (1.0 - self.c) * value
        return total, logits

    def _part(self, model: keras.Model, x: Any, target: Any, batch: Batch) -> tuple[Any, Any]:
        outputs = model(x, training=True)
        logits = logits_of(outputs)
        value = ops.mean(distillation_loss(target, logits, self.temperature))
        reconstruction = reconstruction_of(outputs)
        if reconstruction is not None:
            value = value + self.reconstruction_weight * reconstruction_error(
                batch.x, reconstruction, batch.valid, self.reconstruction_unit, self.reconstruction_power
            )
        return value, logits
