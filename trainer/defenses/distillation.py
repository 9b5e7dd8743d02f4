"""Defensive distillation (Papernot and others 2016; paper 2, eq. 1 to 4): temperature softmax and soft labels.

    F_i(X) = exp(z_i(X) / T) / sum_j exp(z_j(X) / T)                      (1)
    first stage:   -1/|chi| sum_X sum_i Y_i(X) log F_i(X)                 (2), (3)
    second stage:  -1/|chi| sum_X sum_i F_i(X) log F^d_i(X)               (4)

The second network F^d is of the same kind as the first, starts from new weights, and learns from the first
one's probabilities on the clean training records, computed once. At test time T is 1.

Departures: the paper's own code computes soft labels with dropout on (the network is never put into inference
mode) and keeps the checkpoint that is best on its test set; here labels come from inference mode and the
teacher is the last epoch's. With augmentation, a record's soft label is that of its whole, unaugmented window.
As in the paper, the loss is not multiplied by T^2.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from trainer.defenses.base import cross_entropy


def temperature_softmax(logits: Any, temperature: float) -> Any:
    """Eq. 1: (n, class) probabilities of ``logits`` at T; flatter the larger T, uniform in the limit."""
    return ops.softmax(logits / temperature, axis=-1)


def distillation_loss(target: Any, logits: Any, temperature: float) -> Any:
    """Eq. 2 to 4, one value a record: cross-entropy of ``target`` (labels or soft labels) at T."""
    return cross_entropy(target, logits / temperature)
