"""Jacobian regularisation (Jakubovitz and Giryes 2018), as paper 2 uses it: squared input gradients.

    L = cross-entropy + lambda * mean_n sum_k sum_t (dz_k / du_t)^2,   lambda = 44, from the 11th epoch

over logits z and inputs u. lambda comes from Ma and Liang 2020, whose inputs are of unit scale: single beats,
each scaled to run from 0 to 1, so that one unit is a beat's own height. Windows here are in uV, x = s u with s uV
a unit, and

    dz / du = s dz / dx,   so   lambda (dz/du)^2 = lambda s^2 (dz/dx)^2.

``unit`` is s. Two readings:

- ``unit = 1``: the constant as printed on raw integers, which is what paper 2's own code does. It weighs
  gradients a millionfold less than the source of the constant, and so hardly binds.
- ``unit = 1000``: one unit is 1 mV, the height of a beat: over the training records of CinC 2017 the median
  peak-to-peak of a second of signal is 0.94 mV (10th and 90th percentile .52 and 1.44).

Departures: Jakubovitz and Giryes take the Frobenius norm, its root that is; paper 2's text and code the squares,
as here. Gradients are those of inference mode, which is what an attacker meets (the paper's code draws dropout
again and moves the batch statistics twice), and padding, that no attacker reaches, does not count.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from trainer.defenses.base import Batch, cross_entropy, logits_of
from trainer.gradients import input_gradient


def jacobian_penalty(model: keras.Model, x: Any, valid: Any, classes: int, unit: float) -> Any:
    """mean_n sum_k sum_t (unit * dz_k/dx_t)^2 over valid samples; a scalar that can be differentiated again."""
    # one copy of the batch for each logit: one backward pass gives the whole Jacobian
    copies = ops.tile(x, (classes, 1, 1))
    choice = ops.repeat(ops.eye(classes, dtype=x.dtype), x.shape[0], axis=0)
    _, gradient = input_gradient(
        lambda u: ops.sum(choice * logits_of(model(u, training=False)), axis=-1), copies
    )
    squares = ops.square(unit * gradient) * ops.tile(valid, (classes, 1, 1))
    return ops.sum(squares) / x.shape[0]


class JacobianRegularization:
    """Cross-entropy on clean windows, plus the penalty once the network has started to converge.

    Args:
        weight: lambda.
        unit: input units (uV) that count as 1; see above.
        from_epoch: first epoch with the penalty, counted from 1.
    """

    def __init__(self, *, weight: float = 44.0, unit: float = 1.0, from_epoch: int = 11) -> None:
        if weight < 0 or unit <= 0:
            raise TypeError("weight is at least 0 and unit above 0")
        self.weight, self.unit, self.from_epoch = weight, unit, from_epoch

    def loss(self, model: keras.Model, batch: Batch) -> tuple[Any, Any]:
        logits = logits_of(model(batch.x, training=True))
        total = ops.mean(cross_entropy(batch.target, logits))
        penalty = ops.cond(
            batch.epoch >= self.from_epoch,
            lambda: jacobian_penalty(model, batch.x, batch.valid, logits.shape[-1], self.unit),
            lambda: ops.zeros((), dtype=total.dtype),
        )
        return total + self.weight * penalty, logits
