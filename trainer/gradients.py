"""Gradients and compiled steps by the backend that Keras runs on: TensorFlow, or JAX where there is no TensorFlow.

Only this module and the two behind it know the backend; everything else is backend-neutral Keras 3. Steps are
compiled once and looped in Python, which is faster to start than a compiled loop and as fast to run.

``compiled(function)``: ``function`` as one graph; arguments are tensors or arrays, retraced only when a shape changes.

``input_gradient(function, x)``: (value, d sum(value) / dx) of a function of ``x`` that gives one value a record;
with ``has_aux`` the function gives (value, aux) and the answer is ((value, aux), gradient). What the function
computes leaves it by its return value alone: JAX allows no other way.

``bfloat16()``: inside, compiled steps multiply (convolutions, dense layers) in bfloat16 and add in float32, where the
processor has units for it; elsewhere nothing changes. Weights and normalisation's statistics stay float32, and so does
what comes after ``in_full(x)``: a loss in bfloat16 is exactly zero from a probability of .996 on.

``reduced()``: whether that is so now, while a step is traced; then ``fused_normalization(x, gamma, beta, epsilon)``
gives (normalised, mean, variance) as one operation.

``train_step(model, optimizer, loss)``: one optimizer step on ``loss() -> (scalar, aux)``; gives aux. Call it inside
``compiled``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from trainer.errors import TrainingError

if keras.backend.backend() == "tensorflow":
    from trainer.gradients_tensorflow import (
        bfloat16,
        compiled,
        fused_normalization,
        has_bfloat16,
        in_full,
        input_gradient,
        reduced,
        train_step,
    )
elif keras.backend.backend() == "jax":
    from trainer.gradients_jax import (
        bfloat16,
        compiled,
        fused_normalization,
        has_bfloat16,
        in_full,
        input_gradient,
        reduced,
        train_step,
    )
else:
    raise TrainingError(
        f"Keras runs on {keras.backend.backend()!r}; set KERAS_BACKEND to tensorflow or jax (export needs tensorflow)"
    )

__all__ = [
    "average_step",
    "averaged",
    "bfloat16",
    "compiled",
    "fused_normalization",
    "has_bfloat16",
    "in_bfloat16",
    "in_full",
    "input_gradient",
    "reduced",
    "tensor",
    "train_step",
]


def averaged(model: Any) -> list[Any]:
    """Variables that will hold the running average of every weight of ``model``, normalisation included."""
    # a copy: keras.Variable takes the backend's own variable as it is, and would average a weight with itself
    return [keras.Variable(ops.convert_to_numpy(w).copy(), trainable=False, dtype=w.dtype) for w in model.weights]


def average_step(model: Any, average: Sequence[Any], decay: Any) -> None:
    """``average = decay * average + (1 - decay) * weight`` for floats, a copy for the rest."""
    for mean, weight in zip(average, model.weights, strict=True):
        if "float" in str(mean.dtype):
            mean.assign(decay * mean.value + (1.0 - decay) * weight.value)
        else:
            mean.assign(weight.value)


def in_bfloat16(step: Callable[..., Any]) -> Callable[..., Any]:
    """``step`` as it is, called inside :func:`bfloat16`."""

    def call(*args: Any) -> Any:
        with bfloat16():
            return step(*args)

    return call


def tensor(x: Any, dtype: str = "float32") -> Any:
    return ops.convert_to_tensor(x, dtype=dtype)
