"""Gradients and compiled steps: the only file that knows the backend (TensorFlow).

Everything else is backend-neutral Keras 3. Steps are compiled once and looped in Python, which is faster to
start than a compiled loop and as fast to run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as one graph; arguments are tensors or arrays, retraced only when a shape changes."""
    return tf.function(function, reduce_retracing=True)


def input_gradient(function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    """(value, d sum(value) / dx) of a function of ``x`` that gives one value a record."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value = function(x)
        total = tf.reduce_sum(value)
    gradient = tape.gradient(total, x)
    return value, tf.zeros_like(x) if gradient is None else gradient


def train_step(model: Any, optimizer: Any, loss: Callable[[], tuple[Any, Any]]) -> Any:
    """One optimizer step on ``loss() -> (scalar, aux)``; gives aux. Call it inside :func:`compiled`."""
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        value, aux = loss()
    optimizer.apply(tape.gradient(value, variables), variables)
    return aux


def averaged(model: Any) -> list[Any]:
    """Variables that will hold the running average of every weight of ``model``, normalisation included."""
    return [tf.Variable(w, trainable=False, dtype=w.dtype) for w in model.weights]


def average_step(model: Any, average: Sequence[Any], decay: Any) -> None:
    """``average = decay * average + (1 - decay) * weight`` for floats, a copy for the rest."""
    for mean, weight in zip(average, model.weights, strict=True):
        value = tf.convert_to_tensor(weight)
        if mean.dtype.is_floating:
            mean.assign(decay * mean + (1.0 - decay) * value)
        else:
            mean.assign(value)


def tensor(x: Any, dtype: str = "float32") -> Any:
    return tf.convert_to_tensor(x, dtype=dtype)
