"""Gradient estimates from scores alone: natural evolution strategies (A. Ilyas and others 2018, "Black-box adversarial
attacks with limited queries and information").

Pairs of opposite random changes are put to the model; the margins weigh them into an estimate of the gradient, whose
momentum is followed as in PGD. Asked of the int8 file itself it follows what rounding leaves of the file's own slope:
the changes are as large as half of the budget, since smaller ones drown in one int8 step of the answer.

Departures: changes are smooth over time (``waves``) and added in the ball; the largest margin that any query met
counts, those of the estimate included; the score is the margin, not the cross-entropy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.attacks.base import Attack
from trainer.attacks.norms import Ball
from trainer.attacks.pgd import wrong_margin
from trainer.attacks.waves import KNOTS, waves
from trainer.models.wrap import AttackModel

MOMENTUM = 0.9


class NES(Attack):
    """Steps along estimated gradients until the queries are spent.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        queries: forward passes a record, the first look included.
        pairs: opposite changes in one estimate.
        sigma: their size as a share of epsilon.
        step_share: step size as a share of epsilon.
        knots: values that draw one change over a window.
    """

    name = "nes"
    queries_model = True

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        queries: int = 500,
        pairs: int = 10,
        sigma: float = 0.5,
        step_share: float = 0.2,
        knots: int = KNOTS,
        **common: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, **common)
        if queries < 1 or pairs < 1 or knots < 2 or sigma <= 0 or step_share <= 0:
            raise ValueError("queries and pairs must be at least 1, knots at least 2, sigma and step_share above 0")
        self.queries, self.pairs, self.sigma, self.step_share = queries, pairs, sigma, step_share
        self.knots, self.steps = knots, queries

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        best, delta = x.copy(), np.zeros_like(x)
        margin, speed = wrong_margin(model.predict(x, ball.valid), y), np.zeros_like(x)
        left = self.queries - 1

        def ask(rows: np.ndarray, change: np.ndarray, around: Ball) -> np.ndarray:
            tried = x[rows] + around.project(change)
            found = wrong_margin(model.predict(tried, around.valid), y[rows])
            better = found > margin[rows]
            best[rows[better]], margin[rows[better]] = tried[better], found[better]
            return found

        while left >= 2 * self.pairs + 1 and len(rows := np.flatnonzero(margin <= 0)):
            around = ball.rows(rows)
            slope = np.zeros_like(x[rows])
            for _ in range(self.pairs):
                wave = waves(rng, len(rows), *x.shape[1:], knots=self.knots)
                change = around.step(wave, self.sigma) if ball.norm == "l2" else self.sigma * around.epsilon * wave
                up, down = ask(rows, delta[rows] + change, around), ask(rows, delta[rows] - change, around)
                slope += (up - down)[:, None, None] * wave
            size = np.abs(slope).mean((1, 2), keepdims=True)
            speed[rows] = MOMENTUM * speed[rows] + slope / np.maximum(size, 1e-30)
            delta[rows] = around.project(delta[rows] + around.step(speed[rows], self.step_share))
            ask(rows, delta[rows], around)
            left -= 2 * self.pairs + 1
        return best

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "step_size": self.step_share * float(np.max(self.epsilon))}
