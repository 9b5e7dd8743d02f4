"""Noise-to-signal ratio regularisation (Ma and Liang 2020 and 2022), with its margin loss.

Near a window the logit of the true class is w_y . u + b; noise of at most epsilon_max a sample moves it by at most
||w_y||_1 epsilon_max, w_y = dz_y / du, and

    R = ||w_y||_1 epsilon_max / z_y
    L = (z_y - 1)^2 + sum_{i != y} z_i^2
        + [from the 11th epoch, rightly classified records]
          sum_{i != y} max(0, 1 - z_y + z_i) + beta log(1 + R),   epsilon_max = beta = 1

So logits are trained towards the one-hot label by squared error, not by cross-entropy, from the first epoch on.
The source's inputs u are of unit scale (beats scaled to 0 to 1). With x = s u in uV, ||dz/du||_1 = s ||dz/dx||_1:
``unit`` is s, and the same two readings as in ``jacobian`` hold:

- ``unit = 1``: epsilon_max is 1 uV, the constant as printed on raw integers (paper 2's own code);
- ``unit = 1000``: epsilon_max is the height of a beat, as in the source. The paper's budget of 10 uV then is
  0.01 of it; log(1 + R) keeps the larger ratio in hand.

Departures: R's denominator is max(z_y, 0) + 0.01, as in the authors' code, and records whose z_y is not positive
give no ratio. That code averages the margin over the terms above 0 only; here, as printed, terms are added over
classes and averaged over rightly classified records. Gradients are those of inference mode and padding does not
count, as in ``jacobian``.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from trainer.defenses.base import Batch, logits_of
from trainer.gradients import input_gradient

FLOOR = 0.01


def squared_error(target: Any, logits: Any) -> Any:
    """(n,) sum_i (z_i - target_i)^2."""
    return ops.sum(ops.square(logits - target), axis=-1)


def margin_loss(one_hot: Any, logits: Any) -> Any:
    """(n,) sum over wrong classes of max(0, 1 - z_y + z_i)."""
    true = ops.sum(one_hot * logits, axis=-1, keepdims=True)
    return ops.sum((1.0 - one_hot) * ops.relu(1.0 - true + logits), axis=-1)


def noise_to_signal(
    model: keras.Model, x: Any, valid: Any, one_hot: Any, epsilon_max: float, unit: float
) -> Any:
    """(n,) R of each record; 0 where the true logit is not positive. Can be differentiated again."""
    true, gradient = input_gradient(
        lambda u: ops.sum(one_hot * logits_of(model(u, training=False)), axis=-1), x
    )
    signal = ops.relu(true)
    noise = epsilon_max * ops.sum(ops.abs(unit * gradient) * valid, axis=(1, 2))
    return ops.cast(true > 0, noise.dtype) * noise / (signal + FLOOR)


class NoiseToSignal:
    """Squared error on clean windows, plus margin and ratio once the network has started to converge.

    Args:
        beta: weight of the ratio; epsilon_max: noise in units of ``unit``; both 1 in paper 2.
        unit: input units (uV) that count as 1; see above.
        from_epoch: first epoch with margin and ratio, counted from 1.
    """

    def __init__(
        self, *, beta: float = 1.0, epsilon_max: float = 1.0, unit: float = 1.0, from_epoch: int = 11
    ) -> None:
        if beta < 0 or epsilon_max < 0 or unit <= 0:
            raise TypeError("beta and epsilon_max are at least 0 and unit above 0")
        self.beta, self.epsilon_max, self.unit, self.from_epoch = beta, epsilon_max, unit, from_epoch

    def loss(self, model: keras.Model, batch: Batch) -> tuple[Any, Any]:
        logits = logits_of(model(batch.x, training=True))
        total = ops.mean(squared_error(batch.target, logits))
        label = ops.argmax(batch.target, axis=-1)
        one_hot = ops.one_hot(label, logits.shape[-1], dtype=logits.dtype)
        right = ops.cast(ops.equal(ops.argmax(logits, axis=-1), label), logits.dtype)

        def regularization() -> Any:
            ratio = noise_to_signal(model, batch.x, batch.valid, one_hot, self.epsilon_max, self.unit)
            each = margin_loss(one_hot, logits) + self.beta * ops.log1p(ratio)
            return ops.sum(right * each) / ops.maximum(ops.sum(right), 1.0)

        added = ops.cond(
            batch.epoch >= self.from_epoch, regularization, lambda: ops.zeros((), dtype=total.dtype)
        )
        return total + added, logits
