"""Auto-PGD: momentum and a step size that halves by itself (Croce and Hein 2020, Algorithm 1).

No step size has to be chosen, so a weak choice cannot flatter a model. At its checkpoints a record whose loss rose in
too few steps, or that found nothing new, halves its step and goes on from its best point.

Departures: the first run starts from the window itself, further ones from random points; steps are signs of the
gradient times the record's own epsilon, which may differ by sample; of all points on the way the one of the largest
margin is given, not the last. A record without gradient by the loss goes on with the margin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from trainer import gradients
from trainer.attacks import losses
from trainer.attacks.base import Attack
from trainer.attacks.gradient import objective
from trainer.attacks.norms import Ball
from trainer.attacks.pgd import wrong_margin
from trainer.errors import ZeroGradientError
from trainer.models.wrap import BATCH, AttackModel, batches, padded

MOMENTUM, RISING = 0.75, 0.75


class APGD(Attack):
    """``steps`` of Auto-PGD on ``loss``.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        steps: how many; forward and backward passes of one run.
        loss: of ``losses.LOSSES``; "targeted" runs once for each of the ``targets`` likeliest wrong classes.
        restarts: runs of an untargeted loss, the first from the window itself.
        targets: classes aimed at; all wrong ones when there are fewer.
    """

    name = "apgd"
    gradient = "exact"

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        steps: int = 50,
        loss: str = "cross_entropy",
        restarts: int = 1,
        targets: int = 3,
        **common: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, **common)
        if steps < 2 or restarts < 1 or targets < 1:
            raise ValueError("steps must be at least 2, restarts and targets at least 1")
        if loss not in losses.LOSSES:
            raise ValueError(f"loss is one of {', '.join(losses.LOSSES)}")
        self.steps, self.loss, self.restarts, self.targets = steps, loss, restarts, targets

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        logits = model.predict(x, ball.valid)
        classes = logits.shape[1]
        true = np.eye(classes, dtype=np.float32)[y]
        ranked = np.argsort(-(logits - 1e9 * true), axis=1)  # likeliest wrong class first
        runs = min(self.targets, classes - 1) if self.loss == "targeted" else self.restarts
        worst, worst_margin = x.copy(), wrong_margin(logits, y)
        for run in range(runs):
            aim = np.eye(classes, dtype=np.float32)[ranked[:, run if self.loss == "targeted" else 0]]
            start = np.zeros_like(x)
            if run and self.loss != "targeted":
                start = ball.random(rng)
            size = min(BATCH, len(x))
            for index in batches(len(x), size):
                arrays = padded(index, size, x, true, aim, start, *ball.arrays)
                found, margin = self._climb(model, arrays, index, ball.norm)
                better = margin > worst_margin[index]
                worst[index[better]], worst_margin[index[better]] = found[better], margin[better]
        return worst

    def _climb(
        self, model: AttackModel, arrays: list[np.ndarray], index: np.ndarray, norm: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """(windows, margins) of the records of ``index``, the first rows of the padded ``arrays``."""
        x, true, aim, delta, epsilon, low, high, mask = arrays
        ball = Ball(epsilon, low, high, mask, norm)
        look = look_at(model, self.loss)
        fixed = [gradients.tensor(a) for a in (x, mask, true, aim)]
        by_margin = np.zeros(len(x), np.float32)

        def at(delta: np.ndarray) -> tuple[np.ndarray, ...]:
            return tuple(
                np.asarray(a) for a in look(*fixed, gradients.tensor(delta), gradients.tensor(by_margin))
            )

        value, margin, gradient, zero = at(delta)
        stuck = zero & (margin < 0)
        if stuck.any():
            by_margin[stuck] = 1.0
            value, margin, gradient, zero = at(delta)
            hidden = np.flatnonzero((zero & stuck)[: len(index)])
            if len(hidden):
                raise ZeroGradientError(
                    f"{model.name}: the gradient of {len(hidden)} of {len(index)} windows is exactly zero by "
                    f"{self.loss} and by margin; the model hides its gradient",
                    tuple(int(i) for i in index[hidden]),
                )
        size = np.full((len(x), 1, 1), 2.0, np.float32)  # of epsilon
        before = delta
        best, best_value, best_gradient = delta, value, gradient
        worst, worst_margin = delta, margin
        rising, halved, seen = np.zeros(len(x), int), np.zeros(len(x), bool), best_value
        checkpoints = _checkpoints(self.steps)
        last = 0
        for k in range(self.steps):
            ahead = ball.project(delta + ball.step(gradient, size))
            share = MOMENTUM if k else 1.0
            moved = ball.project(delta + share * (ahead - delta) + (1 - share) * (delta - before))
            before, delta = delta, moved
            earlier = value
            value, margin, gradient, _ = at(delta)
            rising += value > earlier
            better = value > best_value
            best = np.where(better[:, None, None], delta, best)
            best_gradient = np.where(better[:, None, None], gradient, best_gradient)
            best_value = np.where(better, value, best_value)
            further = margin > worst_margin
            worst = np.where(further[:, None, None], delta, worst)
            worst_margin = np.where(further, margin, worst_margin)
            if k + 1 in checkpoints:
                few = rising < RISING * (k + 1 - last)
                idle = ~halved & (best_value <= seen)
                halved, seen, last = few | idle, best_value, k + 1
                rising = np.zeros(len(x), int)
                size = np.where(halved[:, None, None], size / 2, size)
                delta = np.where(halved[:, None, None], best, delta)
                gradient = np.where(halved[:, None, None], best_gradient, gradient)
                value = np.where(halved, best_value, value)
        n = len(index)
        return (x + worst * mask)[:n], worst_margin[:n]

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "step_size": None}


def _checkpoints(steps: int) -> set[int]:
    """Steps at which the step size is looked at: shares 0.22 and then ever closer, 0.06 at least (source, 3.2)."""
    before, share = 0.0, 0.22
    found = set()
    while share <= 1.0:
        found.add(int(np.ceil(share * steps)))
        before, share = share, share + max(share - before - 0.03, 0.06)
    return found


def look_at(model: AttackModel, name: str) -> Any:
    """A compiled look at perturbed windows: (loss, margin, gradient, gradient is zero), one row a record."""

    def look(x: Any, mask: Any, true: Any, aim: Any, delta: Any, by_margin: Any) -> tuple[Any, ...]:
        def value(d: Any) -> tuple[Any, tuple[Any, Any]]:
            logits = model.logits(x + d * mask, mask)
            margin = objective("margin", logits, true)
            wanted = losses.loss(name, logits, true, aim)
            mixed = by_margin * margin + (1.0 - by_margin) * wanted
            return mixed, (mixed, margin)

        (_, (mixed, margin)), gradient = gradients.input_gradient(value, delta, has_aux=True)
        gradient = gradient * mask
        return mixed, margin, gradient, ops.max(ops.abs(gradient), axis=(1, 2)) == 0

    return model.compiled(("apgd", name), look)
