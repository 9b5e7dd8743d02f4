"""A float model that rounds as its int8 file does, with a gradient that passes the rounding straight through.

Weights are rounded to 8 bits for each output channel, what every layer gives to 8 bits a tensor over the range seen
on calibration windows (B. Jacob and others 2018, "Quantization and training of neural networks for efficient
integer-arithmetic-only inference"); the thermometer compares in float32, as the file does.

It is not the file: ranges are those of the windows given and not of the export, and batch normalisation is not folded.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from trainer.models.layers import Thermometer
from trainer.models.wrap import AttackModel, preprocess

# These give on what they get, or bits.
_EXACT = (layers.InputLayer, layers.Reshape, layers.Flatten, layers.Cropping1D, layers.ZeroPadding1D, layers.Dropout,
          Thermometer)  # fmt: skip
_LEVELS = 255.0


class _Range:
    """Lowest and highest value seen of one tensor; 0 is always inside, as int8 needs it."""

    def __init__(self) -> None:
        self.low, self.high = 0.0, 0.0

    def see(self, values: np.ndarray) -> None:
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def rounded(self, x: Any) -> Any:
        step = max((self.high - self.low) / _LEVELS, 1e-12)
        low = np.round(self.low / step) * step
        inside = ops.clip(x, low, low + _LEVELS * step)
        # the value of the rounded, the gradient of the clipped
        return inside + ops.stop_gradient(ops.round(inside / step) * step - inside)


class _Rounded(layers.Layer):
    """Notes its input's range until ``watching`` is off, then rounds to 8 bits over it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.range, self.watching = _Range(), True

    def call(self, x: Any) -> Any:
        if not self.watching:
            return self.range.rounded(x)
        if not isinstance(x, keras.KerasTensor):
            self.range.see(ops.convert_to_numpy(x))
        return x

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def quantized(model: AttackModel, x: np.ndarray, valid: np.ndarray) -> AttackModel:
    """The quantization-aware twin of ``model``, calibrated on raw windows x (n, time, channel), valid (n, time)."""
    watchers: list[_Rounded] = []

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        out = layer(*args, **kwargs)
        if isinstance(layer, (*_EXACT, keras.Model)) or isinstance(out, (list, tuple)):
            return out
        watchers.append(_Rounded())
        return watchers[-1](out)

    twin = keras.models.clone_model(model.model, call_function=call, recursive=True)
    twin.set_weights([_rounded(np.asarray(weight)) for weight in model.model.weights])
    mask = valid[..., None].astype(np.float32)
    twin(preprocess(ops.convert_to_tensor(x), ops.convert_to_tensor(mask), model.steps), training=False)
    for watcher in watchers:
        watcher.watching = False
    return AttackModel(twin, model.steps, name=f"{model.name} (rounded)")


def _rounded(weight: np.ndarray) -> np.ndarray:
    if weight.ndim < 2:  # biases are 32 bits
        return weight
    step = np.abs(weight).max(tuple(range(weight.ndim - 1)), keepdims=True) / 127.0
    step[step == 0] = 1.0
    return np.round(weight / step) * step
