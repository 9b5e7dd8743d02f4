"""The engine under every L-infinity gradient attack: one compiled step, looped in Python.

An attack gives the engine its start, its step size and, for SAP, a smoothing of the perturbation; the engine
ascends a loss, keeps for each record the first window that is misclassified, else the one of highest loss, and
tells when a gradient was zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from trainer import gradients
from trainer.defenses.base import cross_entropy
from trainer.errors import AttackError, ZeroGradientError
from trainer.models.wrap import BATCH, AttackModel, batches, padded

LOSSES = ("cross_entropy", "margin")


def smooth(delta: Any, taps: np.ndarray | None) -> Any:
    """``delta`` (n, time, channel) convolved over time with symmetric ``taps``, zeros outside; None leaves it."""
    if taps is None:
        return delta
    channels = delta.shape[-1]
    kernel = np.asarray(taps, np.float32)[:, None, None] * np.eye(channels, dtype=np.float32)
    return ops.conv(delta, kernel, padding="same")


def objective(loss: str, logits: Any, target: Any) -> Any:
    """(n,) loss to ascend: cross-entropy, or the margin of the best wrong class over the true one."""
    if loss == "cross_entropy":
        return cross_entropy(target, logits)
    wrong = ops.max(logits - 1e9 * target, axis=-1)
    return wrong - ops.sum(logits * target, axis=-1)


@dataclass(frozen=True)
class Ascent:
    """One phase of an attack.

    Args:
        steps: how many.
        step_size: window units; broadcasts to the windows.
        loss: "cross_entropy" or "margin".
        taps: smoothing of the perturbation before it is added (SAP), or None.
        keep: "last" gives the last iterate, as the papers do; "worst" the iterate of the largest margin.
    """

    steps: int
    step_size: np.ndarray
    loss: str = "cross_entropy"
    taps: np.ndarray | None = None
    keep: str = "last"


def ascend(
    model: AttackModel,
    x: np.ndarray,
    y: np.ndarray,
    mask: np.ndarray,
    epsilon: np.ndarray,
    start: np.ndarray,
    phases: list[Ascent],
) -> np.ndarray:
    """Sign-gradient ascent through ``phases`` from perturbation ``start``, cut to the ball around ``x``.

    Records whose cross-entropy gradient is exactly zero (a softmax that saturated) go on with the margin.

    Raises:
        AttackError: windows that are classified rightly and whose gradient is zero by either loss: such a model
            hides its gradient, and an accuracy measured with it would say nothing.
    """
    classes = int(model.model.outputs[0].shape[-1])
    if y.min() < 0 or y.max() >= classes:
        raise AttackError(f"{model.name}: labels reach {int(y.max())}, but the model has {classes} classes")
    target = np.eye(classes, dtype=np.float32)[y]
    every = np.broadcast_to(epsilon, (len(x), *epsilon.shape[1:]))
    out = np.empty_like(x)
    size = min(BATCH, len(x))
    for index in batches(len(x), size):
        arrays = padded(index, size, x, mask, target, every, start)
        out[index] = _ascend_batch(model, arrays, phases, index)[: len(index)]
    return out


def _ascend_batch(
    model: AttackModel, arrays: list[np.ndarray], phases: list[Ascent], index: np.ndarray
) -> np.ndarray:
    x, mask, target, epsilon, delta = (gradients.tensor(a) for a in arrays)
    window = x
    for phase in phases:
        step_size = gradients.tensor(_rows(phase.step_size, index, len(arrays[0])))
        by_margin = np.full(len(arrays[0]), phase.loss == "margin", np.float32)
        advance = _compiled_step(model, phase.taps)

        def step(
            delta: Any, by_margin: np.ndarray = by_margin, advance: Any = advance, size: Any = step_size
        ) -> Any:
            return advance(x, mask, target, epsilon, delta, size, gradients.tensor(by_margin))

        worst, worst_margin = x, np.full(len(arrays[0]), -np.inf, np.float32)
        for k in range(phase.steps):
            moved, window, margin, zero = step(delta)
            stuck = np.asarray(zero) & (np.asarray(margin) < 0)
            if k == 0 and stuck.any():
                by_margin[stuck] = 1.0
                moved, window, margin, zero = step(delta)
                _refuse_zero(model, np.asarray(zero) & stuck, index)
            if phase.keep == "worst":
                worst, worst_margin = _worse(worst, worst_margin, window, np.asarray(margin))
            delta = moved
        window = x + smooth(delta, phase.taps) * mask
        if phase.keep == "worst":
            margin = np.asarray(step(delta)[2])
            window, _ = _worse(worst, worst_margin, window, margin)
    return np.asarray(window)


def _refuse_zero(model: AttackModel, stuck: np.ndarray, index: np.ndarray) -> None:
    stuck = stuck[: len(index)]  # the rest repeats the last window
    if stuck.any():
        raise ZeroGradientError(
            f"{model.name}: the gradient of {int(stuck.sum())} of {len(stuck)} windows is exactly zero by "
            "cross-entropy and by margin; the model hides its gradient: try another surrogate, or attack it "
            "without gradients",
            tuple(int(i) for i in index[stuck]),
        )


def _worse(worst: Any, worst_margin: np.ndarray, window: Any, margin: np.ndarray) -> tuple[Any, np.ndarray]:
    better = margin > worst_margin
    return ops.where(better[:, None, None], window, worst), np.maximum(margin, worst_margin)


def _rows(step_size: np.ndarray, index: np.ndarray, size: int) -> np.ndarray:
    """The rows of a per-record step size for one padded batch; one row serves all."""
    step = np.asarray(step_size, np.float32)
    if step.ndim == 0:
        return step.reshape(1, 1, 1)
    return step if len(step) == 1 else padded(index, size, step)[0]


def _compiled_step(model: AttackModel, taps: np.ndarray | None) -> Any:
    def step(
        x: Any, mask: Any, target: Any, epsilon: Any, delta: Any, size: Any, by_margin: Any
    ) -> tuple[Any, ...]:
        def loss(d: Any) -> tuple[Any, tuple[Any, Any]]:
            window = x + smooth(d, taps) * mask
            logits = model.logits(window, mask)
            margin = objective("margin", logits, target)
            by_entropy = objective("cross_entropy", logits, target)
            return by_margin * margin + (1.0 - by_margin) * by_entropy, (window, margin)

        (_, (window, margin)), gradient = gradients.input_gradient(loss, delta, has_aux=True)
        gradient = gradient * mask
        zero = ops.max(ops.abs(gradient), axis=(1, 2)) == 0
        moved = ops.clip(delta + size * ops.sign(gradient), -epsilon, epsilon) * mask
        return moved, window, margin, zero

    return model.compiled(("ascend", None if taps is None else taps.tobytes()), step)
