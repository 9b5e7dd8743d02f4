"""Square attack on time series: random search over segments, from outputs alone (Andriushchenko and others 2020).

The image's squares become segments of time: a query replaces one random segment of the perturbation by plus or
minus epsilon, one sign a channel, and keeps it where the margin rose. It starts from random signs that alternate in
runs, as the source's vertical stripes do in one dimension. The share of the series that a segment covers falls with
the queries by the source's schedule. All records of a batch are asked about at once; one that is wrong already is
left alone.

Departures: none but the dimension; the margin loss is that of the source. In L2, where the source moves mass between
squares, a segment gets twice the level of an even change and all is scaled to the budget.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.attacks.base import Attack
from trainer.attacks.norms import Ball
from trainer.attacks.pgd import wrong_margin
from trainer.models.wrap import AttackModel

# share of queries done -> divisor of the first share (source, appendix)
HALVINGS = ((0.001, 1), (0.005, 2), (0.02, 4), (0.05, 8), (0.1, 16), (0.2, 32), (0.4, 64), (0.6, 128), (0.8, 256))


def segment_share(first: float, query: int, queries: int) -> float:
    """The share of the series that the segment of query ``query`` covers."""
    done = query / queries
    for until, divisor in HALVINGS:
        if done <= until:
            return first / divisor
    return first / 512


class Square(Attack):
    """``queries`` segments, each kept where it raises the margin.

    Args:
        epsilon: budget, window units; ``common``: norm, bounds and quantum of ``Attack``.
        queries: forward passes a record, the first look included.
        segment: share of the series that the first segments cover.
    """

    name = "square"
    queries_model = True

    def __init__(self, *, epsilon: float | np.ndarray, queries: int = 500, segment: float = 0.8, **common: Any) -> None:
        super().__init__(epsilon=epsilon, **common)
        if queries < 1 or not 0 < segment <= 1:
            raise ValueError("queries must be at least 1 and segment above 0 and at most 1")
        self.queries, self.segment = queries, segment
        self.steps = queries

    def perturb(
        self, model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
    ) -> np.ndarray:
        n, time, channels = x.shape
        valid = ball.valid
        best = x + _filled(ball, _runs(n, time, channels, rng) * ball.epsilon)
        margin = wrong_margin(model.predict(best, valid), y)
        for query in range(1, self.queries):
            rows = np.flatnonzero(margin <= 0)
            if not len(rows):
                break
            length = max(1, round(time * segment_share(self.segment, query, self.queries)))
            # a segment never falls into the padding alone: it starts where a sample is valid
            starts = np.array([rng.choice(np.flatnonzero(valid[i])) for i in rows])
            inside = (np.arange(time) >= starts[:, None]) & (np.arange(time) < starts[:, None] + length)
            signs = rng.choice(np.float32([-1, 1]), (len(rows), 1, channels))
            part, now = ball.rows(rows), best[rows] - x[rows]
            high = signs * part.epsilon * _height(part)
            tried = x[rows] + _filled(part, np.where(inside[..., None], high, now))
            found = wrong_margin(model.predict(tried, valid[rows]), y[rows])
            better = found > margin[rows]
            best[rows[better]], margin[rows[better]] = tried[better], found[better]
        return best


def _height(ball: Ball) -> Any:
    """Of a segment, as a share of epsilon: all of it, or in L2 twice the level of an even change."""
    return 1.0 if ball.norm == "linf" else 2.0 / np.sqrt(ball.mask.sum((1, 2), keepdims=True))


def _filled(ball: Ball, delta: np.ndarray) -> np.ndarray:
    """``delta`` in the ball; in L2 all of its length is used, whatever a segment took or left."""
    inside = ball.project(delta)
    if ball.norm == "l2":
        inside = ball.project(inside / np.maximum(ball.length(inside), 1e-6))
    return inside


def _runs(n: int, time: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """(n, time, channel) signs of which each holds for a run of some twentieth of the series."""
    run = max(1, time // 20)
    signs = rng.choice(np.float32([-1, 1]), (n, -(-time // run), channels))
    return np.repeat(signs, run, axis=1)[:, :time]
