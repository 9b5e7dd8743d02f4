"""The thermometer encode-decode of paper 1 (section 4, Fig. 9 and 10), and its join with a classifier.

Thermometer code -> encoder -> semantic code -> decoder -> the series again, which the classifier reads. The
decoder gives several values a step (Conv1D, then reshape) instead of a transposed convolution, because a
quantized Conv1DTranspose does not run on tflite-runtime 2.14.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from trainer.data.base import DataSpec
from trainer.models.layers import Thermometer, even_thresholds, sinh_thresholds


def build(
    spec: DataSpec,
    *,
    levels: int = 32,
    scale: float = 150.0,
    reach: float = 3.2,
    low: float | None = None,
    high: float | None = None,
    stride: int = 5,
    kernel: int = 15,
    width: int = 24,
    surrogate: str = "tent",
    seed: int = 0,
) -> keras.Model:
    """Input (time, 1) in raw units -> reconstruction (time, 1) in the same units.

    Levels are spaced by a sinh (``scale``, ``reach``) unless ``low`` and ``high`` are given, which space them
    evenly (paper 1). ``surrogate`` is the gradient that training's attacks take through the thermometer. A window
    that is no multiple of ``stride`` is padded inside and cut again.
    """
    extra = -spec.window_samples % stride
    keras.utils.set_random_seed(seed)
    if low is not None and high is not None:
        thresholds, asinh_scale, unit = even_thresholds(levels, low, high), None, (high - low) / 2
    else:
        thresholds, asinh_scale, unit = sinh_thresholds(levels, scale, reach), scale, scale
    thermometer = Thermometer(thresholds, asinh_scale=asinh_scale, surrogate=surrogate, name="thermometer")
    inputs = keras.Input((spec.window_samples, 1), name="window")
    x: Any = thermometer(inputs)
    if extra:
        x = layers.ZeroPadding1D((0, extra), name="pad")(x)
    x = layers.Conv1D(width, kernel, strides=stride, padding="same", activation="relu", name="encode1")(x)
    x = layers.Conv1D(width, 5, padding="same", activation="relu", name="encode2")(x)
    x = layers.Conv1D(stride, 5, padding="same", name="decode")(x)
    x = layers.Reshape((spec.window_samples + extra, 1), name="interleave")(x)
    if extra:
        x = layers.Cropping1D((0, extra), name="crop")(x)
    return keras.Model(inputs, layers.Rescaling(unit, name="reconstruction")(x), name="encode_decode")


def join(encode_decode: keras.Model, classifier: keras.Model) -> keras.Model:
    """Window -> (logits, reconstruction): the defended pipeline in one differentiable model."""
    inputs = keras.Input(encode_decode.input_shape[1:], name="window")
    reconstruction = encode_decode(inputs)
    return keras.Model(inputs, [classifier(reconstruction), reconstruction], name="defended")
