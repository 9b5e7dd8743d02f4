"""What attacks from decisions alone share: a place to start from, and the way back to the boundary.

Distances are those of the ball: the change over the budget, so 1 is its edge.
"""

from __future__ import annotations

import numpy as np

from trainer.attacks.norms import Ball
from trainer.models.wrap import AttackModel

GROWING = (1.0, 3.0, 10.0, 30.0, 100.0)  # noise to start from, in budgets
START_QUERIES = 2 + len(GROWING)  # what ``starts`` asks for one record at most


def wrong(model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball) -> np.ndarray:
    """(n,) whether the answer to ``x`` is another than ``y``."""
    return np.asarray(model.predict(x, ball.valid).argmax(-1) != y)


def starts(
    model: AttackModel, x: np.ndarray, y: np.ndarray, ball: Ball, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(windows that are answered otherwise than ``y``, (n,) whether one was found) for each of ``x``.

    The window itself where it is misclassified; else the nearest other window of the batch whose answer differs, put
    into this one's samples; else noise that grows. What may not change is that of ``x``.
    """
    answers = model.predict(x, ball.valid).argmax(-1)
    found, at = answers != y, x.copy()
    for i in np.flatnonzero(~found):
        others = np.flatnonzero(answers != y[i])
        if len(others):
            apart = ball.rows(np.full(len(others), i)).length((x[others] - x[i]) * ball.mask[i])
            at[i] = np.where(ball.mask[i] > 0, x[others[apart[:, 0, 0].argmin()]], x[i])
    fresh = ~found
    found |= wrong(model, at, y, ball)
    at[fresh & ~found] = x[fresh & ~found]
    for size in GROWING:
        rows = np.flatnonzero(~found)
        if not len(rows):
            break
        part = ball.rows(rows)
        noise = rng.choice(np.float32([-1, 1]), x[rows].shape) * part.epsilon * part.mask
        at[rows] = x[rows] + size * noise / np.maximum(part.length(noise), 1e-30)
        found[rows] = wrong(model, at[rows], y[rows], part)
    return at, found


def blend(x: np.ndarray, far: np.ndarray, share: np.ndarray, ball: Ball) -> np.ndarray:
    """Between ``x`` (share 0) and ``far`` (1): on the line in L2; in L-infinity every change cut to the same size."""
    share = share[:, None, None]
    delta = far - x
    if ball.norm == "l2":
        return np.asarray(x + share * delta, np.float32)
    limit = share * ball.length(delta) * ball.epsilon
    return np.asarray(x + np.clip(delta, -limit, limit), np.float32)


def to_boundary(
    model: AttackModel, x: np.ndarray, far: np.ndarray, y: np.ndarray, ball: Ball, looks: int
) -> np.ndarray:
    """The nearest misclassified window between ``x`` and ``far``, which is one, by ``looks`` halvings."""
    low, high = np.zeros(len(x)), np.ones(len(x))
    for _ in range(looks):
        middle = (low + high) / 2
        bad = wrong(model, blend(x, far, middle, ball), y, ball)
        high, low = np.where(bad, middle, high), np.where(bad, low, middle)
    return blend(x, far, high, ball)
