"""The engine under FGSM, PGD and SAP: one compiled step, looped in Python.

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
from trainer.attacks.norms import Ball
from trainer.defenses.base import cross_entropy
from trainer.errors import AttackError, ZeroGradientError
from trainer.models.wrap import BATCH, AttackModel, batches, padded

LOSSES = ("cross_entropy", "margin")
SCHEDULES = ("constant", "linear", "cosine")
LEAST_STEP = 0.01  # of the first one, where a schedule ends
_TINY = 1e-30


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
        step_size: as a share of epsilon.
        loss: "cross_entropy" or "margin".
        taps: smoothing of the perturbation before it is added (SAP), or None.
        keep: "last" gives the last iterate, as the papers do; "worst" the iterate of the largest margin.
        schedule: of the step size, of ``SCHEDULES``.
        momentum: share of the sum of earlier gradients that is kept.
    """

    steps: int
    step_size: float
    loss: str = "cross_entropy"
    taps: np.ndarray | None = None
    keep: str = "last"
    schedule: str = "constant"
    momentum: float = 0.0

    def size(self, step: int) -> float:
        """Size of step number ``step``, counted from 0, as a share of epsilon."""
        done = step / max(self.steps - 1, 1)
        left = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 + 0.5 * float(np.cos(np.pi * done))}
        return self.step_size * max(left[self.schedule], LEAST_STEP)


def ascend(
    model: AttackModel,
    x: np.ndarray,
    y: np.ndarray,
    ball: Ball,
    start: np.ndarray,
    phases: list[Ascent],
) -> np.ndarray:
    """Gradient ascent (signs, or in L2 unit length) through ``phases`` from perturbation ``start``, within ``ball``.

    Records whose cross-entropy gradient is exactly zero (a softmax that saturated) go on with the margin.

    Raises:
        AttackError: windows that are classified rightly and whose gradient is zero by either loss: such a model
            hides its gradient, and an accuracy measured with it would say nothing.
    """
    classes = int(model.model.outputs[0].shape[-1])
    if y.min() < 0 or y.max() >= classes:
        raise AttackError(f"{model.name}: labels reach {int(y.max())}, but the model has {classes} classes")
    target = np.eye(classes, dtype=np.float32)[y]
    out = np.empty_like(x)
    size = min(BATCH, len(x))
    for index in batches(len(x), size):
        arrays = padded(index, size, x, target, start, *ball.arrays)
        out[index] = _ascend_batch(model, arrays, ball.norm, phases, index)[: len(index)]
    return out


def _ascend_batch(
    model: AttackModel, arrays: list[np.ndarray], norm: str, phases: list[Ascent], index: np.ndarray
) -> np.ndarray:
    x, target, delta, epsilon, low, high, mask = (gradients.tensor(a) for a in arrays)
    window, still = x, ops.zeros_like(x)
    for phase in phases:
        by_margin = np.full(len(arrays[0]), phase.loss == "margin", np.float32)
        advance, speed = _compiled_step(model, phase.taps, norm, phase.momentum), still

        def step(
            delta: Any, k: int, speed: Any, by_margin: Any = by_margin, advance: Any = advance, phase: Any = phase
        ) -> Any:
            ball = (epsilon, low, high, mask)
            size = gradients.tensor(phase.size(k))
            return advance(x, target, ball, delta, speed, size, gradients.tensor(by_margin))

        worst, worst_margin = x, np.full(len(arrays[0]), -np.inf, np.float32)
        for k in range(phase.steps):
            moved, faster, window, margin, zero = step(delta, k, speed)
            stuck = np.asarray(zero) & (np.asarray(margin) < 0)
            if k == 0 and stuck.any():
                by_margin[stuck] = 1.0
                moved, faster, window, margin, zero = step(delta, k, speed)
                _refuse_zero(model, np.asarray(zero) & stuck, index)
            if phase.keep == "worst":
                worst, worst_margin = _worse(worst, worst_margin, window, np.asarray(margin))
            delta, speed = moved, faster
        window = x + smooth(delta, phase.taps) * mask
        if phase.keep == "worst":
            margin = np.asarray(step(delta, phase.steps - 1, speed)[3])
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


def _compiled_step(model: AttackModel, taps: np.ndarray | None, norm: str, momentum: float) -> Any:
    def step(x: Any, target: Any, ball: Any, delta: Any, speed: Any, size: Any, by_margin: Any) -> tuple[Any, ...]:
        epsilon, low, high, mask = ball

        def loss(d: Any) -> tuple[Any, tuple[Any, Any]]:
            window = x + smooth(d, taps) * mask
            logits = model.logits(window, mask)
            margin = objective("margin", logits, target)
            by_entropy = objective("cross_entropy", logits, target)
            return by_margin * margin + (1.0 - by_margin) * by_entropy, (window, margin)

        (_, (window, margin)), gradient = gradients.input_gradient(loss, delta, has_aux=True)
        gradient = gradient * mask
        zero = ops.max(ops.abs(gradient), axis=(1, 2)) == 0
        if momentum:
            speed = momentum * speed + gradient / (ops.mean(ops.abs(gradient), axis=(1, 2), keepdims=True) + _TINY)
            gradient = speed
        if norm == "linf":
            moved = ops.clip(delta + size * epsilon * ops.sign(gradient), low, high) * mask
        else:
            scaled = gradient * epsilon
            ahead = delta + size * epsilon * scaled / (_length(scaled) + _TINY)
            moved = ops.clip(ahead, low, high) * mask
            moved = moved / ops.maximum(_length(moved / ops.maximum(epsilon, _TINY)), 1.0)
        return moved, speed, window, margin, zero

    return model.compiled(("ascend", None if taps is None else taps.tobytes(), norm, momentum), step)


def _length(x: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(x), axis=(1, 2), keepdims=True))
