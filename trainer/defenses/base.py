"""What a defence is: a loss for one batch, built from a model and a few settings, in backend-neutral ops.

A model gives logits, or ``[logits, reconstruction]`` when it has an encode-decode in front.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import keras
from keras import ops

from trainer.gradients import in_full


@dataclass(frozen=True)
class Batch:
    """One training batch as tensors.

    Shapes: ``x`` (n, time, channel), ``valid`` (n, time, 1) 0/1 floats, ``target`` (n, class) soft labels, ``start``
    (n, time, channel) uniform in [-1, 1] (the random start of an attack), ``epsilon`` (n, 1 or time, 1) in input units,
    ``noise`` (n, time, channel) standard normal, ``epoch`` a scalar counted from 1, ``teacher`` (n, class) the soft
    labels of the records, or None where there is no teacher.
    """

    x: Any
    valid: Any
    target: Any
    start: Any
    epsilon: Any
    noise: Any
    epoch: Any = 1.0
    teacher: Any | None = None


@runtime_checkable
class Reconstructs(Protocol):
    """A defence with a reconstruction loss, whose settings also train the encode-decode alone."""

    noise: float
    reconstruction_unit: float
    reconstruction_power: int


class Defense(Protocol):
    """A defence's training loss. ``loss`` runs inside a compiled step."""

    def loss(self, model: keras.Model, batch: Batch) -> tuple[Any, Any]:
        """(scalar loss, logits of the batch as trained on, for the progress bar)."""
        ...


def logits_of(outputs: Any) -> Any:
    return in_full(outputs[0] if isinstance(outputs, (list, tuple)) else outputs)


def reconstruction_of(outputs: Any) -> Any | None:
    return in_full(outputs[1]) if isinstance(outputs, (list, tuple)) and len(outputs) > 1 else None


def cross_entropy(target: Any, logits: Any) -> Any:
    """Cross-entropy of soft labels, one value a record: -sum_i target_i log softmax(logits)_i."""
    return -ops.sum(target * ops.log_softmax(logits, axis=-1), axis=-1)


def reconstruction_error(x: Any, reconstruction: Any, valid: Any, unit: float, power: int) -> Any:
    """Mean over valid samples of |x - reconstruction|^power in units of ``unit``; a scalar."""
    error = ops.abs(x - reconstruction) / unit
    error = error if power == 1 else ops.square(error)
    return ops.sum(error * valid) / (ops.sum(valid) + 1.0)
