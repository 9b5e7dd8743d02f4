"""Multidimensional scaling by SMACOF, with the stress of paper 1's eq. 2, and how well two dimensions tell classes.

Stress_D(X_1, ..., X_N) = (sum_ij (d_ij - ||x_i - x_j||)^2 / sum_ij d_ij^2)^(1/2), with d_ij the Euclidean distance of
the pooled features and x_i the points in the plane (eq. 2; the print loses the norm).
Source of the iteration: I. Borg and P. Groenen, "Modern multidimensional scaling", 2005, chapter 8.
"""

from __future__ import annotations

import numpy as np


def distances(points: np.ndarray) -> np.ndarray:
    """(n, n) Euclidean distances of (n, d) points."""
    squared = (points**2).sum(1)
    gram = squared[:, None] + squared[None] - 2 * points @ points.T
    return np.asarray(np.sqrt(np.maximum(gram, 0.0)))


def stress(d: np.ndarray, points: np.ndarray) -> float:
    """Eq. 2; 0 where every distance is kept, and where there is no distance at all."""
    total = float((d**2).sum())
    return float(np.sqrt(((d - distances(points)) ** 2).sum() / total)) if total > 0 else 0.0


def embed(features: np.ndarray, *, iterations: int = 300, tolerance: float = 1e-7) -> tuple[np.ndarray, float]:
    """((n, 2) points, stress) of (n, d) features; from classical scaling on, so the same every time."""
    d = distances(np.asarray(features, np.float64))
    n = len(d)
    centre = np.eye(n) - 1.0 / n
    values, vectors = np.linalg.eigh(-0.5 * centre @ d**2 @ centre)
    points = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0.0))
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    before = stress(d, points)
    for _ in range(iterations):
        now = distances(points)
        ratio = np.divide(d, now, out=np.zeros_like(d), where=now > 1e-12)
        b = -ratio
        b[np.arange(n), np.arange(n)] += ratio.sum(1)
        points = b @ points / n  # the Guttman transform
        after = stress(d, points)
        if before - after < tolerance:
            return points, after
        before = after
    return points, before


def separability(points: np.ndarray, y: np.ndarray) -> float:
    """Share of points that a linear rule names rightly when it is fitted to all others (leave one out).

    The rule is least squares on one-hot labels; its leave-one-out answers come from the hat matrix, exactly.
    """
    a = np.column_stack([np.ones(len(points)), points])
    target = (y[:, None] == np.unique(y)[None]).astype(float)
    hat = a @ np.linalg.pinv(a)
    leverage = np.clip(np.diag(hat), 0.0, 1.0 - 1e-9)[:, None]
    answer = target - (target - hat @ target) / (1.0 - leverage)
    return float(np.mean(answer.argmax(1) == target.argmax(1)))
