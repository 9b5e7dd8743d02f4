"""A compact strided residual net for long single-lead windows: trains on a CPU, runs on a gateway.

Conv1D 21 stride 5 (or four times another stride and one), then residual stages of kernel 7 and stride 2, then
mean and max pooling together. Plain strided convolutions, because depthwise and dilated ones of the same size train
several times slower on a CPU.
With the defaults on 9,000 samples: 241,000 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from trainer.data.base import DataSpec
from trainer.models.forest import Forest
from trainer.models.layers import BatchNormalization
from trainer.models.rhythm import Rhythm


def _conv_bn(x: Any, width: int, kernel: int, stride: int, name: str) -> Any:
    x = layers.Conv1D(width, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return BatchNormalization(momentum=0.95, epsilon=1e-3, name=f"{name}_bn")(x)


def _stage(x: Any, width: int, name: str) -> Any:
    shortcut = _conv_bn(x, width, 1, 2, f"{name}_short")
    x = layers.ReLU(name=f"{name}_relu1")(_conv_bn(x, width, 7, 2, f"{name}_a"))
    x = _conv_bn(x, width, 7, 1, f"{name}_b")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, shortcut]))


def build(
    spec: DataSpec,
    *,
    stem: int = 16,
    stride: int = 5,
    widths: Sequence[int] = (32, 48, 64, 64, 80),
    input_scale: float = 200.0,
    dropout: float = 0.1,
    trees: int = 0,
    beats: int = 96,
    seed: int = 0,
) -> keras.Model:
    """Input (time, channel) in raw units -> logits (class,). Layers ``features``, ``embedding``, ``logits``.

    Args:
        input_scale: raw units are divided by it, so that weights see values near 1.
        trees: of ECG, so many trees a class look at the rhythm and shape of the first ``beats`` heart beats, and their
            scores stand beside the pooled features; 0 for none. ``trainer.forest`` grows them.
    """
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((spec.window_samples, len(spec.channels)), name="window")
    x = layers.Rescaling(1.0 / input_scale, name="unit")(x)
    x = layers.ReLU(name="stem_relu")(_conv_bn(x, stem, 4 * stride + 1, stride, "stem"))
    for i, width in enumerate(widths):
        x = _stage(x, width, f"stage{i + 1}")
    x = layers.Activation("linear", name="features")(x)
    pooled = [layers.GlobalAveragePooling1D(name="mean")(x), layers.GlobalMaxPooling1D(name="max")(x)]
    if trees:
        rhythm = Rhythm(beats, rate_hz=spec.rate_hz, name="rhythm")(inputs)
        pooled.append(Forest(trees, len(spec.labels), name="forest")(rhythm))
    x = layers.Concatenate(name="embedding")(pooled)
    x = layers.Dropout(dropout, seed=seed, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(len(spec.labels), name="logits")(x), name="compact")
