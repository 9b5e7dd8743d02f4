"""HopSkipJump for series, from decisions alone (J. Chen, M. Jordan and M. Wainwright 2020).

From a misclassified window far away: back to the boundary by halving, an estimate of the boundary's normal from random
changes and what is answered to them, a step along it that is halved until the answer is wrong again, and so on. The
normal needs no score, so a file that gives nothing but a label can be attacked.

Departures: changes are smooth over time (``waves``), distances are in budgets, and a record is left alone once it is
inside of its ball; what ends outside is cut to it, which may undo the attack.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.attacks.base import Attack
from trainer.attacks.decision import START_QUERIES, starts, to_boundary, wrong
from trainer.attacks.norms import Ball
from trainer.attacks.waves import KNOTS, waves
from trainer.models.wrap import AttackModel

HALVINGS, STEP_TRIES, LEAST = 8, 8, 20
INSIDE = 0.999  # of the budget, so that rounding to float32 does not undo a window on the edge


class HopSkipJump(Attack):
    """Rounds of halving, estimating and stepping until the queries are spent.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        queries: forward passes a record, the starts included.
        draws: changes in the first estimate; the k-th has the square root of k times as many.
        radius: size of the changes as a share of the distance.
        knots: values that draw one change over a window.
    """

    name = "hopskipjump"
    queries_model = True

    def __init__(
        self,
        *,
        epsilon: float | np.ndarray,
        queries: int = 1000,
        draws: int = 40,
        radius: float = 0.05,
        knots: int = KNOTS,
        **common: Any,
    ) -> None:
        super().__init__(epsilon=epsilon, **common)
        if queries < LEAST or draws < 2 or radius <= 0 or knots < 2:
            raise ValueError(f"queries must be at least {LEAST}, draws and knots at least 2, radius above 0")
        self.queries, self.draws, self.radius, self.knots, self.steps = queries, draws, radius, knots, queries

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        at, found = starts(model, x, y, ball, rng)
        movable = ball.epsilon.reshape(len(x), -1).max(1) > 0
        at[~found | ~movable] = x[~found | ~movable]
        asked, turn = START_QUERIES + HALVINGS, 0
        rows = np.flatnonzero(found & movable & (ball.length(at - x)[:, 0, 0] > INSIDE))
        at[rows] = to_boundary(model, x[rows], at[rows], y[rows], ball.rows(rows), HALVINGS)
        while True:
            turn += 1
            rows = rows[ball.length(at - x)[rows, 0, 0] > INSIDE]
            draws = round(self.draws * np.sqrt(turn))
            if not len(rows) or asked + draws + STEP_TRIES + HALVINGS > self.queries:
                return at
            part = ball.rows(rows)
            normal = self._normal(model, at[rows], x[rows], y[rows], part, draws, rng)
            ahead = self._step(model, at[rows], x[rows], y[rows], part, normal, turn)
            nearer = to_boundary(model, x[rows], ahead, y[rows], part, HALVINGS)
            better = part.length(nearer - x[rows]) < part.length(at[rows] - x[rows])
            at[rows] = np.where(better, nearer, at[rows])
            asked += draws + STEP_TRIES + HALVINGS

    def _normal(
        self, model: Any, at: np.ndarray, x: np.ndarray, y: np.ndarray, ball: Ball, draws: int, rng: Any
    ) -> np.ndarray:
        """The boundary's normal at ``at``, towards what is misclassified, up to its length."""
        size = self.radius * ball.length(at - x)
        told, tried = [], []
        for _ in range(draws):
            wave = waves(rng, *at.shape, knots=self.knots) * ball.mask * (ball.epsilon > 0)
            wave = wave / np.maximum(ball.length(wave * ball.epsilon), 1e-30)
            bad = wrong(model, (at + size * ball.epsilon * wave).astype(np.float32), y, ball)
            told.append(np.where(bad, 1.0, -1.0))
            tried.append(wave)
        sign = np.array(told)
        # the mean as a baseline (source, section 3.3), unless all answers agree
        mean = sign.mean(0)
        weight = np.where(np.abs(mean) == 1, sign, sign - mean)[..., None, None]
        slope = (weight * np.array(tried)).sum(0)  # by changes in budgets
        return np.divide(slope, ball.epsilon, out=np.zeros_like(slope), where=ball.epsilon > 0).astype(np.float32)

    def _step(
        self, model: Any, at: np.ndarray, x: np.ndarray, y: np.ndarray, ball: Ball, normal: np.ndarray, turn: int
    ) -> np.ndarray:
        """Along ``normal`` as far as it stays misclassified; ``at`` where no step does."""
        share = ball.length(at - x) / np.sqrt(turn)
        ahead, open_ = at.copy(), np.ones(len(at), bool)
        for _ in range(STEP_TRIES):
            tried = (at + ball.step(normal, share) * ball.mask).astype(np.float32)
            good = open_ & wrong(model, tried, y, ball)
            ahead[good] = tried[good]
            open_ &= ~good
            if not open_.any():
                break
            share = np.where(open_[:, None, None], share / 2, share)
        return ahead
