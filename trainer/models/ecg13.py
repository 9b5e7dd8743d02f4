"""The 13-layer convolutional network of paper 2 (its section 3.2), for single-lead windows of 9,000 samples.

Source: S. D. Goodfellow and others, "Towards understanding ECG rhythm classification using convolutional neural
networks and attention mappings", MLHC 2018, and their published layer table (github.com/Seb-Good/deepecg). Every
convolution has stride 1, zero padding, a bias, batch normalisation, ReLU, where marked max pooling by 2, and
dropout 0.3:

======  =======  ======  ========  ====  ==================
layer   filters  kernel  dilation  pool  length of 9,000
======  =======  ======  ========  ====  ==================
1       320      24      1         2     9,000 -> 4,500
2       256      16      2               4,500
3 to 5  256      16      4               4,500
6       128      8       4         2     4,500 -> 2,250
7 - 10  128      8       6               2,250
11      128      8       8         2     2,250 -> 1,125
12, 13  64       8       8               1,125
======  =======  ======  ========  ====  ==================

then global average pooling and a dense layer. That is 5,482,176 convolution weights, 4,480 of batch
normalisation and 64 x 4 + 4 of the dense layer: 5,486,916 trained parameters for four classes, and 22.9 billion
multiplications a window.

Departures: the published code has no bias in the last layer (4 parameters fewer); softmax is left to the loss.
Paper 2 feeds raw integers; so does this, and the first batch normalisation takes up the scale.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from trainer.data.base import DataSpec
from trainer.models.layers import BatchNormalization

# (filters, kernel, dilation, pooled)
TABLE = (
    (320, 24, 1, True),
    (256, 16, 2, False),
    (256, 16, 4, False),
    (256, 16, 4, False),
    (256, 16, 4, False),
    (128, 8, 4, True),
    (128, 8, 6, False),
    (128, 8, 6, False),
    (128, 8, 6, False),
    (128, 8, 6, False),
    (128, 8, 8, True),
    (64, 8, 8, False),
    (64, 8, 8, False),
)


def build(
    spec: DataSpec, *, width: float = 1.0, dropout: float = 0.3, momentum: float = 0.99, seed: int = 0
) -> keras.Model:
    """Input (time, channel) in raw units -> logits (class,). Layers ``features``, ``embedding``, ``logits``.

    Args:
        width: multiplies every layer's filters; 1 is the paper's.
        dropout: share dropped after each layer; 0.3 in the published code.
        momentum: of the batch statistics' running average.
    """
    if width <= 0:
        raise ValueError("width must be above 0")
    keras.utils.set_random_seed(seed)
    x: Any = keras.Input((spec.window_samples, len(spec.channels)), name="window")
    inputs = x
    for i, (filters, kernel, dilation, pooled) in enumerate(TABLE, 1):
        n = max(1, round(filters * width))
        x = layers.Conv1D(n, kernel, dilation_rate=dilation, padding="same", name=f"conv{i}")(x)
        x = BatchNormalization(momentum=momentum, epsilon=1e-3, name=f"bn{i}")(x)
        x = layers.ReLU(name="features" if i == len(TABLE) else f"relu{i}")(x)
        if pooled:
            x = layers.MaxPooling1D(2, padding="same", name=f"pool{i}")(x)
        x = layers.Dropout(dropout, seed=seed + i, name=f"dropout{i}")(x)
    x = layers.GlobalAveragePooling1D(name="embedding")(x)
    return keras.Model(inputs, layers.Dense(len(spec.labels), name="logits")(x), name="ecg13")
