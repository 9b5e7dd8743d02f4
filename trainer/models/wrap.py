"""A model as an attacker sees it: raw-unit windows in, logits out, differentiable all the way.

The bundle's preprocessing (``edge.bundle.preprocess``, numpy) is repeated here in differentiable ops and checked
against it by a test, so that budgets are in physical units and padding that the agent adds is never attacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from trainer import gradients
from trainer.defenses.base import logits_of
from trainer.errors import AttackError
from trainer.models.forest import Forest
from trainer.models.layers import SURROGATES, Thermometer

BATCH = 64


def preprocess(x: Any, valid: Any, steps: Sequence[Mapping[str, Any]]) -> Any:
    """Differentiable twin of ``edge.bundle.preprocess`` over a batch: x (n, time, channel), valid (n, time, 1)."""
    x = x * valid
    for step in steps:
        operation = step["op"]
        count = ops.maximum(ops.sum(valid, axis=1, keepdims=True), 1.0)
        if operation == "remove_dc":
            x = x - ops.sum(x * valid, axis=1, keepdims=True) / count
        elif operation == "znorm":
            mean = ops.sum(x * valid, axis=1, keepdims=True) / count
            variance = ops.sum(ops.square(x - mean) * valid, axis=1, keepdims=True) / count
            # a constant channel stays 0, as in the numpy twin; the floor keeps the gradient finite
            safe = ops.where(variance > 0, variance, ops.ones_like(variance))
            x = (x - mean) / ops.sqrt(safe)
        elif operation == "scale":
            x = x * float(step["factor"])
        elif operation == "asinh":
            x = ops.arcsinh(x / float(step["scale"]))
        elif operation == "clip":
            x = ops.clip(x, step["low"], step["high"])
        else:
            raise AttackError(
                f"preprocessing step {operation!r} has no differentiable twin; add it to trainer.models.wrap"
            )
    return x * valid


def thermometers(model: keras.Model) -> list[Thermometer]:
    """Every thermometer layer of a model, nested models included."""
    return [layer for layer in comparing(model) if isinstance(layer, Thermometer)]


def comparing(model: keras.Model) -> list[Any]:
    """Every layer whose gradient is a surrogate's, nested models included."""
    found: list[Any] = []
    for layer in model.layers:
        if isinstance(layer, (Thermometer, Forest)):
            found.append(layer)
        elif isinstance(layer, keras.Model):
            found.extend(comparing(layer))
    return found


class AttackModel:
    """A float twin with its preprocessing.

    Args:
        model: gives logits, or [logits, reconstruction, ...].
        steps: the bundle's preprocessing steps.
        name: for messages.
        precision: "bfloat16" multiplies so on the way to an attack (its gradients and which of its windows it
            keeps), where the processor has units for it; answers (:meth:`predict`) are always float32.
    """

    def __init__(
        self,
        model: keras.Model,
        steps: Sequence[Mapping[str, Any]] = (),
        *,
        name: str = "model",
        precision: str = "float32",
    ) -> None:
        self.model, self.steps, self.name, self.precision = model, list(steps), name, precision
        self._comparing = comparing(model)
        self._compiled: dict[Any, Any] = {}
        self._derived: dict[str, AttackModel] = {}

    @property
    def surrogates(self) -> tuple[str | None, ...]:
        """Gradient surrogates worth trying: all of them through comparisons, else one that is exact."""
        return ("tent", "sigmoid", "straight_through") if self._comparing else (None,)

    @contextmanager
    def surrogate(self, name: str | None) -> Iterator[AttackModel]:
        """The same model with another backward pass through its comparisons (BPDA)."""
        if name is not None and name not in SURROGATES:
            raise AttackError(f"unknown surrogate {name!r}; choose one of {', '.join(SURROGATES)}")
        before = [layer.surrogate for layer in self._comparing]
        for layer in self._comparing:
            layer.surrogate = name or layer.surrogate
        try:
            yield self
        finally:
            for layer, old in zip(self._comparing, before, strict=True):
                layer.surrogate = old

    @property
    def current_surrogate(self) -> str | None:
        """The backward pass of its comparisons as they stand; None without one."""
        return self._comparing[0].surrogate if self._comparing else None

    def kept(self, key: str, make: Callable[[], AttackModel]) -> AttackModel:
        """A model made of this one, made once: the first call's."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def logits(self, x: Any, valid: Any) -> Any:
        """(n, class) logits of raw-unit windows, as tensors, inside a compiled step."""
        return logits_of(self.model(preprocess(x, valid, self.steps), training=False))

    def compiled(self, key: Any, function: Any, precision: str | None = None) -> Any:
        """A compiled step kept per key and per surrogate, since a surrogate is fixed when a graph is traced.

        ``precision``: of its products; that of the model if None.
        """
        full = (key, tuple(layer.surrogate for layer in self._comparing))
        if full not in self._compiled:
            step = gradients.compiled(function)
            half = (precision or self.precision) == "bfloat16"
            self._compiled[full] = gradients.in_bfloat16(step) if half else step
        return self._compiled[full]

    def predict(self, x: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
        """(n, class) logits as numpy, batched; x (n, time, channel), valid (n, time)."""
        valid = np.ones(x.shape[:2], bool) if valid is None else valid
        step = self.compiled("predict", self.logits, "float32")
        out = []
        # few windows (the last ones standing in an attack) take a smaller batch; powers of two, for few traces
        size = min(BATCH, max(8, 1 << (max(1, len(x)) - 1).bit_length()))
        for part in batches(len(x), size):
            tensors = (gradients.tensor(a) for a in padded(part, size, x, valid[..., None]))
            out.append(np.asarray(step(*tensors))[: len(part)])
        return np.concatenate(out) if out else np.zeros((0, self.model.outputs[0].shape[-1]), np.float32)


def batches(n: int, size: int) -> Iterator[np.ndarray]:
    """Index blocks of at most ``size``."""
    for start in range(0, n, size):
        yield np.arange(start, min(n, start + size))


def padded(index: np.ndarray, size: int, *arrays: np.ndarray) -> list[np.ndarray]:
    """The rows of ``index``, the last one repeated up to ``size``: one shape, so one trace. Small sets keep theirs."""
    full = index if len(index) == size else np.concatenate([index, np.repeat(index[-1:], size - len(index))])
    return [np.asarray(a[full], np.float32) for a in arrays]
