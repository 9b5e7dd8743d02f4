"""Registered Keras layers that models of this project use (``.keras`` files load without Lambda layers)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

SURROGATES = ("tent", "ramp", "sigmoid", "straight_through")
PACKAGE = "wavewall"


def surrogate_slope(u: Any, thresholds: Any, spacing: float, name: str) -> Any:
    """Derivative that stands in for that of ``u >= threshold``; shapes broadcast.

    ``tent``: a triangle of half-width ``spacing`` (the code as linear interpolation between levels);
    ``ramp``: a box of half-width 2 ``spacing``; ``sigmoid``: the logistic of scale ``spacing``;
    ``straight_through``: a box over the whole range. All have area 1 over u except the last, scaled alike.
    """
    distance = (u - thresholds) / spacing
    if name == "tent":
        return ops.maximum(1.0 - ops.abs(distance), 0.0) / spacing
    if name == "ramp":
        return ops.cast(ops.abs(distance) <= 2.0, u.dtype) / (4.0 * spacing)
    if name == "sigmoid":
        s = ops.sigmoid(distance)
        return s * (1.0 - s) / spacing
    if name == "straight_through":
        return ops.cast(ops.abs(distance) <= 8.0, u.dtype) / (16.0 * spacing)
    raise ValueError(f"unknown surrogate {name!r}; choose one of {', '.join(SURROGATES)}")


@keras.saving.register_keras_serializable(PACKAGE)
class Thermometer(keras.layers.Layer):
    """Thermometer code of each sample: (n, time, 1) -> (n, time, level), 1.0 where ``x >= threshold``.

    Paper 1, eq. 6 and 7, read as: level l is lit when the value has reached the l-th threshold, so codes grow
    with the value and the distance between two codes is the number of levels between them. The comparison is
    float32, as in ``edge.bundle.thermometer``. Forward is always the hard code; the gradient is a surrogate
    (BPDA, Athalye and others 2018) taken in u, where thresholds are evenly spaced: u = x, or
    u = asinh(x / ``asinh_scale``) when the levels are spaced by a sinh.

    Args:
        thresholds: increasing, in input units.
        asinh_scale: the scale of the sinh spacing in input units, or None for even spacing.
        surrogate: one of ``SURROGATES``; attacks try more than one (:meth:`with_surrogate`).
    """

    def __init__(
        self,
        thresholds: Sequence[float],
        *,
        asinh_scale: float | None = None,
        surrogate: str = "tent",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.thresholds = np.asarray(thresholds, np.float32)
        if self.thresholds.ndim != 1 or len(self.thresholds) < 2 or np.any(np.diff(self.thresholds) <= 0):
            raise ValueError("thresholds must be at least two increasing numbers")
        if surrogate not in SURROGATES:
            raise ValueError(f"unknown surrogate {surrogate!r}; choose one of {', '.join(SURROGATES)}")
        self.asinh_scale = asinh_scale
        self.surrogate = surrogate
        spaced = np.arcsinh(self.thresholds / asinh_scale) if asinh_scale else self.thresholds
        self._spaced = np.asarray(spaced, np.float32)
        self._spacing = float((self._spaced[-1] - self._spaced[0]) / (len(self._spaced) - 1))

    def call(self, x: Any) -> Any:
        @ops.custom_gradient
        def code(x: Any) -> tuple[Any, Any]:
            def backward(*args: Any, upstream: Any = None) -> Any:
                upstream = args[0] if upstream is None else upstream
                u = ops.arcsinh(x / self.asinh_scale) if self.asinh_scale else x
                slope = surrogate_slope(u, self._spaced, self._spacing, self.surrogate)
                by_u = ops.sum(upstream * slope, axis=-1, keepdims=True)
                if not self.asinh_scale:
                    return by_u
                return by_u / ops.sqrt(ops.square(x) + self.asinh_scale**2)  # du/dx

            return ops.cast(x >= self.thresholds, "float32"), backward

        return code(x)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], len(self.thresholds))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "thresholds": [float(t) for t in self.thresholds],
            "asinh_scale": self.asinh_scale,
            "surrogate": self.surrogate,
        }


def sinh_thresholds(levels: int, scale: float, reach: float) -> np.ndarray:
    """``levels`` thresholds at ``scale * sinh(u)``, u evenly in [-reach, reach]; fine near zero, wide outside."""
    return np.asarray(scale * np.sinh(np.linspace(-reach, reach, levels)), np.float32)


def even_thresholds(levels: int, low: float, high: float) -> np.ndarray:
    """``levels`` evenly spaced thresholds strictly inside (low, high): the paper's evenly spaced levels."""
    return np.asarray(np.linspace(low, high, levels + 2)[1:-1], np.float32)


@keras.saving.register_keras_serializable(PACKAGE)
class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation over (n, time, channel); in training with products in bfloat16 one fused operation.

    Keras composes it of a dozen elementwise passes, which then cost as much as the convolution before them. Same
    numbers up to rounding; the variance that is averaged has Bessel's correction, n / (n - 1), as fused kernels have.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        from trainer import gradients

        if not (training and self.trainable and mask is None and gradients.reduced()):
            return super().call(inputs, training=training, mask=mask)
        out, mean, variance = gradients.fused_normalization(inputs, self.gamma, self.beta, self.epsilon)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(self.momentum * moving.value + (1.0 - self.momentum) * value)
        return out
