"""The residual network of paper 1: three blocks of three convolutions, kernels 8, 5 and 3.

Source: Z. Wang, W. Yan and T. Oates, "Time series classification from scratch with deep neural networks: a
strong baseline", IJCNN 2017, in the reading of H. I. Fawaz and others, "Adversarial attacks on deep neural
networks for time series classification", IJCNN 2019, which paper 1 attacks: 64, 128 and 128 filters, stride
1, zero padding, batch normalisation after every convolution, a shortcut around each block, global average
pooling.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from trainer.data.base import DataSpec
from trainer.models.layers import BatchNormalization

KERNELS = (8, 5, 3)


def _conv_bn(x: Any, filters: int, kernel: int, momentum: float, name: str, stride: int = 1) -> Any:
    x = layers.Conv1D(filters, kernel, strides=stride, padding="same", name=f"{name}_conv")(x)
    return BatchNormalization(momentum=momentum, name=f"{name}_bn")(x)


def _block(x: Any, filters: int, momentum: float, name: str, output: str, stride: int = 1) -> Any:
    y = x
    for i, kernel in enumerate(KERNELS, 1):
        y = _conv_bn(y, filters, kernel, momentum, f"{name}_{i}", stride if i == 1 else 1)
        if i < len(KERNELS):
            y = layers.ReLU(name=f"{name}_{i}_relu")(y)
    if x.shape[-1] == filters and stride == 1:  # as many channels already: only normalised, as in the source
        shortcut = BatchNormalization(momentum=momentum, name=f"{name}_short_bn")(x)
    else:
        shortcut = _conv_bn(x, filters, 1, momentum, f"{name}_short", stride)
    return layers.ReLU(name=output)(layers.Add(name=f"{name}_add")([y, shortcut]))


def build(
    spec: DataSpec, *, width: int = 64, momentum: float = 0.99, stride: int = 1, dropout: float = 0.0, seed: int = 0
) -> keras.Model:
    """Input (time, channel) in raw units -> logits (class,). Layers ``features``, ``embedding``, ``logits``.

    Args:
        width: filters of the first block; the others have twice as many. 64 is the paper's.
        momentum: of the batch statistics' running average; less than the usual 0.99 for short trainings.
        stride: of the first block, and dropout before the last layer; 1 and 0 are the paper's.

    Departures from the paper: none in the network; its softmax is left to the loss, since attacks need
    logits.
    """
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((spec.window_samples, len(spec.channels)), name="window")
    x = _block(inputs, width, momentum, "block1", "block1_out", stride)
    x = _block(x, 2 * width, momentum, "block2", "block2_out")
    x = _block(x, 2 * width, momentum, "block3", "features")
    x = layers.GlobalAveragePooling1D(name="embedding")(x)
    if dropout:
        x = layers.Dropout(dropout, seed=seed, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(len(spec.labels), name="logits")(x), name="resnet")
