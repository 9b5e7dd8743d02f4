"""TRADES: clean accuracy and the distance between clean and attacked answers, weighed by beta.

Source: H. Zhang and others, "Theoretically principled trade-off between robustness and accuracy", ICML 2019:
loss = cross-entropy(f(x), y) + beta * KL(f(x) || f(x')), where x' raises the KL inside the ball. The attack starts
from a random point instead of their small Gaussian, since a thermometer's surrogate sees nothing of small steps.
With an encode-decode in front the reconstruction of the attacked window is compared with the clean series as well.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from trainer.defenses.base import Batch, cross_entropy, logits_of, reconstruction_error, reconstruction_of
from trainer.gradients import input_gradient


class Trades:
    """Every window counts twice, clean and attacked.

    Args:
        beta: weight of the KL term.
        steps: sign steps of the inner attack.
        step_share: step size as a share of each record's epsilon.
        noise: standard deviation of Gaussian noise added to the input, in input units (paper 1, section 4).
        reconstruction_weight, reconstruction_unit, reconstruction_power: as in ``adversarial_training``.
    """

    def __init__(
        self,
        *,
        beta: float = 6.0,
        steps: int = 4,
        step_share: float = 0.5,
        noise: float = 0.0,
        reconstruction_weight: float = 1.0,
        reconstruction_unit: float = 1.0,
        reconstruction_power: int = 2,
    ) -> None:
        self.beta, self.steps, self.step_share, self.noise = beta, steps, step_share, noise
        self.reconstruction_weight = reconstruction_weight
        self.reconstruction_unit = reconstruction_unit
        self.reconstruction_power = reconstruction_power

    def attack(self, model: keras.Model, batch: Batch, x: Any) -> Any:
        """Windows (n, time, channel) around ``x`` that raise the KL from the clean answers."""
        clean = ops.softmax(ops.stop_gradient(logits_of(model(x, training=False))))
        delta = batch.start * batch.epsilon * batch.valid
        for _ in range(self.steps):
            # KL and cross-entropy from fixed clean answers differ by a constant
            _, gradient = input_gradient(
                lambda d: cross_entropy(clean, logits_of(model(x + d, training=False))), delta
            )
            moved = delta + self.step_share * batch.epsilon * ops.sign(gradient)
            delta = ops.clip(moved, -batch.epsilon, batch.epsilon) * batch.valid
        return x + ops.stop_gradient(delta)

    def loss(self, model: keras.Model, batch: Batch) -> tuple[Any, Any]:
        n = batch.x.shape[0]
        x = batch.x + self.noise * batch.noise * batch.valid if self.noise else batch.x
        both = ops.concatenate([x, self.attack(model, batch, x)], axis=0)
        outputs = model(both, training=True)
        logits = logits_of(outputs)
        clean, attacked = logits[:n], logits[n:]
        answers = ops.softmax(clean)
        divergence = ops.sum(answers * (ops.log_softmax(clean) - ops.log_softmax(attacked)), axis=-1)
        total = ops.mean(cross_entropy(batch.target, clean)) + self.beta * ops.mean(divergence)
        reconstruction = reconstruction_of(outputs)
        if reconstruction is not None:
            total = total + self.reconstruction_weight * reconstruction_error(
                ops.concatenate([batch.x, batch.x], axis=0),
                reconstruction,
                ops.concatenate([batch.valid, batch.valid], axis=0),
                self.reconstruction_unit,
                self.reconstruction_power,
            )
        return total, clean
