"""The loop under attacks with an objective or a step of their own: a compiled look at the gradient, the rest in numpy.

An attack says what is raised (``Objective``) and gets its windows back; the loop stays in the ball, keeps the best
window on the way and tells when a gradient was zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from trainer import gradients
from trainer.attacks.norms import Ball
from trainer.errors import ZeroGradientError
from trainer.models.wrap import BATCH, AttackModel, batches, padded

_BETAS = (0.9, 0.999)
_FLOOR = 1e-20
_WRONG = 1e6  # above any objective: of two windows the one that is misclassified is the better


@dataclass(frozen=True)
class At:
    """Where a look is taken, as tensors: windows and their change (n, time, channel), ``mask`` (n, time, 1), the
    budget ``epsilon``, the true classes ``true`` (n, class) and what was drawn for this look.
    """

    window: Any
    delta: Any
    mask: Any
    epsilon: Any
    true: Any
    drawn: tuple[Any, ...]


# what is raised (n,), and the margin (n,)
Objective = Callable[[AttackModel, At], tuple[Any, Any]]


@dataclass(frozen=True)
class Climb:
    """How to climb.

    Args:
        key: names the objective; one compiled step is kept for each.
        step_share: step size as a share of epsilon.
        adam: steps by Adam (Kingma and Ba 2015) instead of steepest ones of equal size.
        by_value: of misclassified windows keep that of the largest objective, not of the largest margin.
        draws: looks a step, whose gradients are averaged.
        draw: gives the arrays of one look for n records; none if None.
    """

    key: tuple[Any, ...]
    objective: Objective
    steps: int
    step_share: float
    adam: bool = False
    by_value: bool = False
    draws: int = 1
    draw: Callable[[int], tuple[np.ndarray, ...]] | None = None


def climb(model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, plan: Climb) -> np.ndarray:
    """Windows around ``x`` from a climb that starts at ``x`` itself.

    Raises:
        ZeroGradientError: windows that are classified rightly and give no gradient to start with.
    """
    true = np.eye(int(model.model.outputs[0].shape[-1]), dtype=np.float32)[y]
    out, size = np.empty_like(x), min(BATCH, len(x))
    for index in batches(len(x), size):
        window, target, *limits = padded(index, size, x, true, *ball.arrays)
        around = Ball(*limits, norm=ball.norm)
        out[index] = (window + _climb(model, window, target, around, plan, index))[: len(index)]
    return out


def _climb(
    model: AttackModel, x: np.ndarray, true: np.ndarray, ball: Ball, plan: Climb, index: np.ndarray
) -> np.ndarray:
    look = model.compiled(("climb", *plan.key), _look(model, plan.objective))
    fixed = [gradients.tensor(a) for a in (x, ball.mask, ball.epsilon, true)]
    move = _Adam(ball, plan.step_share) if plan.adam else lambda gradient: ball.step(gradient, plan.step_share)
    delta = best = np.zeros_like(x)
    highest = np.full(len(x), -np.inf, np.float32)
    for k in range(plan.steps + 1):
        found = []
        for _ in range(plan.draws):
            drawn = tuple(gradients.tensor(a) for a in plan.draw(len(x))) if plan.draw else ()
            found.append([np.asarray(a) for a in look(*fixed, gradients.tensor(delta), drawn)])
        value, margin, gradient = (np.mean([f[i] for f in found], axis=0) for i in range(3))
        if k == 0:
            _refuse_zero(model, (~gradient.any((1, 2)) & (margin < 0))[: len(index)], index)
        score = np.where(margin > 0, _WRONG + value, margin) if plan.by_value else margin
        better = score > highest
        best, highest = np.where(better[:, None, None], delta, best), np.where(better, score, highest)
        delta = ball.project(delta + move(gradient))
    return best


def _look(model: AttackModel, objective: Objective) -> Any:
    def look(x: Any, mask: Any, epsilon: Any, true: Any, delta: Any, drawn: tuple[Any, ...]) -> tuple[Any, ...]:
        def value(d: Any) -> tuple[Any, tuple[Any, Any]]:
            raised, margin = objective(model, At(x + d * mask, d * mask, mask, epsilon, true, drawn))
            return raised, (raised, margin)

        (_, (raised, margin)), gradient = gradients.input_gradient(value, delta, has_aux=True)
        return raised, margin, ops.where(ops.isfinite(gradient), gradient, 0.0) * mask

    return look


def _refuse_zero(model: AttackModel, stuck: np.ndarray, index: np.ndarray) -> None:
    if stuck.any():
        raise ZeroGradientError(
            f"{model.name}: the gradient of {int(stuck.sum())} of {len(stuck)} windows is exactly zero; the model "
            "hides its gradient: try another surrogate, or attack it without gradients",
            tuple(int(i) for i in index[stuck]),
        )


class _Adam:
    """Steps in units of the budget, so that every sample moves by its own measure."""

    def __init__(self, ball: Ball, share: float) -> None:
        self._ball, self._share, self._count = ball, share, 0
        self._mean: Any = 0.0
        self._square: Any = 0.0
        if ball.norm == "l2":  # a step as long as one of equal size: all samples move at once
            self._share = share / np.sqrt(np.maximum(ball.mask.sum((1, 2), keepdims=True), 1.0))

    def __call__(self, gradient: np.ndarray) -> np.ndarray:
        self._count += 1
        scaled = gradient * self._ball.epsilon
        self._mean = _BETAS[0] * self._mean + (1 - _BETAS[0]) * scaled
        self._square = _BETAS[1] * self._square + (1 - _BETAS[1]) * np.square(scaled)
        mean = self._mean / (1 - _BETAS[0] ** self._count)
        spread = np.sqrt(self._square / (1 - _BETAS[1] ** self._count))
        return np.asarray(self._share * self._ball.epsilon * mean / (spread + _FLOOR), np.float32)
