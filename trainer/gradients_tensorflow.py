"""``trainer.gradients`` on TensorFlow: ``tf.function`` and ``GradientTape``. No XLA: it hurts dilated nets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return tf.function(function, reduce_retracing=True)


def input_gradient(function: Callable[[Any], Any], x: Any, *, has_aux: bool = False) -> tuple[Any, Any]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        out = function(x)
        total = tf.reduce_sum(out[0] if has_aux else out)
    gradient = tape.gradient(total, x)
    return out, tf.zeros_like(x) if gradient is None else gradient


def train_step(model: Any, optimizer: Any, loss: Callable[[], tuple[Any, Any]]) -> Any:
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        value, aux = loss()
    optimizer.apply(tape.gradient(value, variables), variables)
    return aux
