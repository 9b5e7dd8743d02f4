"""``trainer.gradients`` on TensorFlow: ``tf.function`` and ``GradientTape``. No XLA: it hurts dilated nets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

_BFLOAT16 = "auto_mixed_precision_onednn_bfloat16"
_reduced = False


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


def reduced() -> bool:
    return _reduced


def fused_normalization(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """(normalised x, mean, variance) of x (n, time, channel) over n and time."""
    rows = tf.expand_dims(x, 1)
    scale, offset = tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta)
    out, mean, variance = tf.compat.v1.nn.fused_batch_norm(rows, scale, offset, epsilon=epsilon, is_training=True)
    return tf.squeeze(out, 1), mean, variance


def in_full(x: Any) -> Any:
    # a product's neighbours take its precision up to the first operation that cannot: a cast to float64
    return tf.cast(tf.cast(x, tf.float64), tf.float32)


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 faster than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextmanager
def bfloat16() -> Iterator[None]:
    if not has_bfloat16():
        yield
        return
    before = _reduced
    _set_reduced(True)
    try:
        yield
    finally:
        _set_reduced(before)


def _set_reduced(on: bool) -> None:
    global _reduced
    _reduced = on
    tf.config.optimizer.set_experimental_options({_BFLOAT16: on})
