"""The fully convolutional network of paper 1: 128, 256 and 128 filters, kernels 8, 5 and 3.

Source: Z. Wang, W. Yan and T. Oates, "Time series classification from scratch with deep neural networks: a
strong baseline", IJCNN 2017, in the reading of H. I. Fawaz and others 2019 (see ``resnet``): stride 1, zero
padding, batch normalisation and ReLU after every convolution, global average pooling. The paper uses it
beside ResNet to measure how attacks transfer (Table 1).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from trainer.data.base import DataSpec
from trainer.models.layers import BatchNormalization

KERNELS = (8, 5, 3)


def build(spec: DataSpec, *, width: int = 128, momentum: float = 0.99, seed: int = 0) -> keras.Model:
    """Input (time, channel) in raw units -> logits (class,). Layers ``features``, ``embedding``, ``logits``.

    Args:
        width: filters of the first and last convolution; the middle one has twice as many. 128 is the
            paper's.
        momentum: of the batch statistics' running average; less than the usual 0.99 for short trainings.
    """
    keras.utils.set_random_seed(seed)
    x: Any = keras.Input((spec.window_samples, len(spec.channels)), name="window")
    inputs = x
    for i, (filters, kernel) in enumerate(zip((width, 2 * width, width), KERNELS, strict=True), 1):
        x = layers.Conv1D(filters, kernel, padding="same", name=f"conv{i}")(x)
        x = BatchNormalization(momentum=momentum, name=f"bn{i}")(x)
        x = layers.ReLU(name="features" if i == len(KERNELS) else f"relu{i}")(x)
    x = layers.GlobalAveragePooling1D(name="embedding")(x)
    return keras.Model(inputs, layers.Dense(len(spec.labels), name="logits")(x), name="fcn")
